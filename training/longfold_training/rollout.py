"""Rollouts: attempts at problems with the agent's own fold and the served profiles, over any engine. Knows no weights,
no advantages and no prompt text.

What is trained is what is served: the prompts, the parser, the budgets and the fold are the agent's; only the sampling
is warmer. Token ids and log-probabilities are the engine's, never those of text encoded again. An unusable reply is an
action like any other: its tokens carry the attempt's advantage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from longfold_agent.chunks import Texts, chunks
from longfold_agent.drive import Rollout, batch
from longfold_agent.engines.gather import gather
from longfold_agent.errors import DirectTooLarge, EngineError, InvalidReply, Unsupported, WindowTooSmall
from longfold_agent.fold import Fold
from longfold_agent.protocols import Engine, Profile, Request, Tokens
from longfold_agent.route import MARGIN, Mode, check_step_fits, count_prompt, route
from longfold_agent.types import CallKind, Chunk, Completion, Query, Stop, UpdateKind
from longfold_training.core.trajectory import Step, Trajectory
from longfold_training.episodes import Episode
from longfold_training.errors import DataError, RecipeError, RolloutError
from longfold_training.problems import Problem
from longfold_training.rewards import Grader, MemoryRewards, Score
from longfold_training.sampled import Sampled


@dataclass(frozen=True, slots=True)
class Exploration:
    """How problems are attempted. Raises `RecipeError` for a count below 1, a temperature below 0 or a top_p that is
    no probability."""

    group: int = 8
    """Attempts at a problem: G of Eq. 3 (paper 2.1)."""
    temperature: float = 0.7
    """Paper 2.3; 0 is greedy, for evaluation."""
    top_p: float = 0.95
    """Paper 2.3. Log-probabilities are of the distribution the engine reports; vLLM's is that of the model itself
    unless it runs with `--logprobs-mode processed_logprobs`."""
    mode: Mode = Mode.AUTO
    """FOLD for memory RL, DIRECT for full-context RL, AUTO for whatever the service would take."""
    output: int | None = None
    """Most tokens of one reply; None for the profile's own."""
    tokens: int | None = None
    """Completion tokens of an attempt beyond which it stops reading and answers; None for no limit."""
    lockstep: bool = False
    """All open calls in one request to the engine, round after round: for an engine in this process, which computes
    one batch at a time. Otherwise every attempt goes on as soon as its own reply is there."""
    at_once: int = 256
    """Attempts in progress at the same time, where they do not go in lockstep."""

    def __post_init__(self) -> None:
        numbers = {"group": self.group, "at_once": self.at_once, "output": self.output, "tokens": self.tokens}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise RecipeError(f"{name} must be at least 1, not {number}")
        if not self.temperature >= 0 or not 0 < self.top_p <= 1:
            raise RecipeError("a temperature is 0 or more, a top_p above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A problem, prepared once for all its attempts."""

    group: str
    problem: Problem
    query: Query
    mode: Mode
    chunks: tuple[Chunk, ...]
    """Of the documents, for FOLD."""

    @property
    def documents(self) -> list[tuple[str, str]]:
        """Title and text of each."""
        return [(document.title, document.text) for document in self.problem.documents]


@dataclass(frozen=True, slots=True)
class _Attempt:
    reading: _Reading
    profile: Sampled


@dataclass(frozen=True, slots=True)
class _Ended:
    """What an attempt came to, before it is graded."""

    completions: tuple[Completion, ...]
    updates: tuple[UpdateKind | None, ...]
    answer: str
    failure: str
    rollout: Rollout | None = None
    """Of a fold; None for a single pass."""


class Collector:
    """Attempts problems in groups and grades the attempts.

    engine: completes with the weights under training; must tell token ids (`Request.want_ids`).
    memory: dense rewards, none by default.
    """

    def __init__(
        self,
        *,
        profile: Profile,
        engine: Engine,
        tokens: Tokens,
        grader: Grader,
        exploration: Exploration,
        memory: MemoryRewards | None = None,
    ) -> None:
        self._profile = profile
        self._engine = engine
        self._tokens = tokens
        self._grader = grader
        self._exploration = exploration
        self._memory = memory or MemoryRewards()

    async def collect(self, problems: Sequence[Problem], *, seed: str | None = None) -> list[Episode]:
        """G episodes for each problem, in the order of `problems`. A problem that is given twice makes two groups.

        seed: everything sampled follows from it, on an engine that keeps to seeds; name run and step in it. None leaves
        chance to the engine.

        Raises `DataError` for a problem that the served window cannot take, `RolloutError` for an engine that is away
        for good or tells no token ids, `JudgeError` for a judge that is away: no outage is ever a reward.
        """
        try:
            return await self._collect(problems, seed)
        except EngineError as error:
            raise RolloutError(f"the engine of the policy failed: {error}") from error

    async def check(self, problems: Sequence[Problem], sizes: Sequence[int]) -> None:
        """Whether the served window can take each of `problems`, before the first is attempted.

        sizes: tokens of each problem's texts.

        Raises `DataError` with how many it cannot take, and the first of them; `RolloutError` as `collect`.
        """
        try:
            window = await self._engine.window()
        except EngineError as error:
            raise RolloutError(f"the engine of the policy failed: {error}") from error
        await asyncio.to_thread(self._check, problems, sizes, window)

    async def _collect(self, problems: Sequence[Problem], seed: str | None) -> list[Episode]:
        window = await self._engine.window()
        attempts = []
        for group, problem in zip(_groups(problems), problems, strict=True):
            reading = await asyncio.to_thread(self._prepare, group, problem, window)
            for number in range(self._exploration.group):
                attempts.append(_Attempt(reading, self._sampled(None if seed is None else f"{seed}/{group}/{number}")))
        ended = await self._run(attempts)
        scores = await self._grader.scores(
            [(attempt.reading.problem, end.answer) for attempt, end in zip(attempts, ended, strict=True)]
        )
        return [self._episode(*parts) for parts in zip(attempts, ended, scores, strict=True)]

    def _sampled(self, seed: str | None) -> Sampled:
        how = self._exploration
        return Sampled(self._profile, how.temperature, how.top_p, how.output, seed)

    def _check(self, problems: Sequence[Problem], sizes: Sequence[int], window: int) -> None:
        """Blocks: counts what stands around each text, and once more the texts that are not clearly short enough."""
        refused: list[tuple[str, DataError]] = []
        for problem, size in zip(problems, sizes, strict=True):
            if self._clearly_fits(problem, size, window):
                continue
            try:
                self._mode(problem, window)
            except DataError as error:
                refused.append((problem.id, error))
        if refused:
            (_, why), *others = refused
            names = [repr(name) for name, _ in others[:4]] + ["..."] * (len(others) > 4)
            more = f"; then {', '.join(names)}" if names else ""
            raise DataError(f"{len(refused)} of {len(problems)} problems cannot be attempted: {why}{more}") from why

    def _clearly_fits(self, problem: Problem, size: int, window: int) -> bool:
        profile = self._sampled(None)
        if self._exploration.mode is Mode.FOLD or profile.budgets.direct is not None:
            return False
        titles = [(document.title, "") for document in problem.documents]
        frame = count_prompt(profile.render_direct(_query(problem, profile), titles), self._tokens)
        # An eighth more for tags that are broken on the way into the prompt and for the borders between texts.
        return frame + size + size // 8 + MARGIN + profile.budgets.answer_output <= window

    def _mode(self, problem: Problem, window: int) -> tuple[Query, Mode]:
        """The query as it is asked, and FOLD or DIRECT. Raises `DataError` where the window is too small for it."""
        profile, tokens = self._sampled(None), self._tokens
        query = _query(problem, profile)
        documents = [(document.title, [document.text]) for document in problem.documents]
        try:
            mode = route(
                query, documents, profile=profile, tokens=tokens, window=window, mode=self._exploration.mode
            ).mode
            if mode is Mode.FOLD:
                check_step_fits(profile, window, tokens, query)
        except (DirectTooLarge, Unsupported, WindowTooSmall) as error:
            raise DataError(f"problem {problem.id!r}: {error}") from error
        return query, mode

    def _prepare(self, group: str, problem: Problem, window: int) -> _Reading:
        """Blocks: counts and cuts the documents' text."""
        query, mode = self._mode(problem, window)
        if mode is Mode.DIRECT:
            return _Reading(group, problem, query, mode, ())
        texts = Texts([document.text for document in problem.documents])
        cut = chunks(texts, self._tokens, self._sampled(None).budgets.chunk)
        return _Reading(group, problem, query, mode, tuple(cut))

    async def _run(self, attempts: Sequence[_Attempt]) -> list[_Ended]:
        """The ends of all attempts, in order."""
        direct = [attempt for attempt in attempts if attempt.reading.mode is Mode.DIRECT]
        folded = [attempt for attempt in attempts if attempt.reading.mode is Mode.FOLD]
        if self._exploration.lockstep:
            parts = [await self._direct(direct), await self._fold(folded)]
        else:
            gate = asyncio.Semaphore(self._exploration.at_once)
            alone = [_through(gate, self._direct([attempt])) for attempt in direct]
            alone += [_through(gate, self._fold([attempt])) for attempt in folded]
            parts = await gather(alone)
        ends = dict(zip(map(id, (*direct, *folded)), (end for part in parts for end in part), strict=True))
        return [ends[id(attempt)] for attempt in attempts]

    async def _direct(self, attempts: Sequence[_Attempt]) -> list[_Ended]:
        """Single passes, in one request to the engine."""
        if not attempts:
            return []
        requests = []
        for attempt in attempts:
            prompt = attempt.profile.render_direct(attempt.reading.query, attempt.reading.documents)
            requests.append(Request(prompt, attempt.profile.sampling_direct(), want_ids=True))
        ended = []
        for attempt, completion in zip(attempts, await self._engine.complete(requests), strict=True):
            answer = failure = ""
            try:
                answer = attempt.profile.parse_direct(completion, attempt.reading.query, attempt.reading.documents)
            except InvalidReply as error:
                failure = str(error)
            ended.append(_Ended((completion,), (None,), answer, failure))
        return ended

    async def _fold(self, attempts: Sequence[_Attempt]) -> list[_Ended]:
        """Readings chunk by chunk, side by side."""
        folds = [
            Fold.start(
                attempt.reading.query,
                profile=attempt.profile.version,
                tokens=self._tokens.name,
                chunk_budget=attempt.profile.budgets.chunk,
                retries=attempt.profile.budgets.retries,
            )
            for attempt in attempts
        ]
        rollouts = await batch(
            folds,
            [attempt.reading.chunks for attempt in attempts],
            [attempt.profile for attempt in attempts],
            self._engine,
            self._tokens,
            want_ids=True,
            cut=self._cut,
        )
        return [_fold_end(rollout) for rollout in rollouts]

    def _cut(self, rollout: Rollout) -> Stop | None:
        spent = sum(len(turn.completion.token_ids) for turn in rollout.turns)
        limit = self._exploration.tokens
        return Stop.TOKENS if limit is not None and spent >= limit else None

    def _episode(self, attempt: _Attempt, ended: _Ended, score: Score) -> Episode:
        reading, rollout = attempt.reading, ended.rollout
        dense = 0.0 if rollout is None else self._memory(reading.problem, rollout, reading.chunks)
        steps = tuple(map(_step, ended.completions))
        return Episode(
            problem=reading.problem,
            trajectory=Trajectory(reading.group, reading.problem.task, steps, score.value + dense),
            answer=ended.answer,
            score=score,
            dense=dense,
            updates=ended.updates,
            memory="" if rollout is None else rollout.fold.memory,
            clipped=sum(completion.finish_reason == "length" for completion in ended.completions),
            stop=None if rollout is None else rollout.fold.stop,
            failure=ended.failure,
        )


def _groups(problems: Sequence[Problem]) -> list[str]:
    """A group for each problem: its id, numbered from its second time on."""
    seen: dict[str, int] = {}
    groups = []
    for problem in problems:
        seen[problem.id] = seen.get(problem.id, 0) + 1
        groups.append(problem.id if seen[problem.id] == 1 else f"{problem.id}#{seen[problem.id]}")
    return groups


def _query(problem: Problem, profile: Profile) -> Query:
    """The query as the data splits it, or a profile's rule; a split by the model is not part of a trajectory."""
    if problem.instructions:
        return Query(problem.question, problem.instructions)
    query = profile.decompose(problem.question)
    return query if isinstance(query, Query) else Query(problem.question)


async def _through(gate: asyncio.Semaphore, call: Coroutine[Any, Any, list[_Ended]]) -> list[_Ended]:
    async with gate:
        return await call


def _fold_end(rollout: Rollout) -> _Ended:
    answer = rollout.fold.answer
    return _Ended(
        completions=tuple(turn.completion for turn in rollout.turns),
        updates=tuple(
            turn.step.update if turn.step is not None and turn.call.kind is CallKind.READ else None
            for turn in rollout.turns
        ),
        answer="" if answer is None else answer.text,
        failure=rollout.failure,
        rollout=rollout,
    )


def _step(completion: Completion) -> Step:
    try:
        return Step(completion.prompt_ids, completion.token_ids, completion.logprobs)
    except DataError as error:
        raise RolloutError(
            f"the engine's reply cannot be trained on: {error}; it must tell the ids of prompt and reply (vLLM's "
            "return_token_ids) and the log-probability of each token"
        ) from error
