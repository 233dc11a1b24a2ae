"""The answer as it is written: streamed from the engine, shown as delta events, each fenced like every other commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from longfold_agent.drive import read_reply
from longfold_agent.errors import ContextOverflow, InvalidReply
from longfold_agent.protocols import Request
from longfold_agent.route import count_prompt
from longfold_agent.types import Answer, Call, Completion, FinalText, Query, Stop
from longfold_client.types import EventType
from longfold_server.answering.parts import Run
from longfold_server.answering.state import Reading
from longfold_server.codes import Code
from longfold_server.errors import JobFailure, OutOfTime

BATCH_SECONDS = 0.05
"""Least time between two deltas: people see no difference, the store does."""
GRACE_SECONDS = 30.0
"""Beyond the deadline for a fold's answer: the reading was cut for it, or has ended, and nothing else shows for it."""


class Deltas:
    """Shows the visible part of a growing reply. A delta is `{offset, text}`: what stands from character `offset` on is
    replaced, so a reader follows a reply that was begun again (another worker, another attempt) without a special case.
    """

    def __init__(self, run: Run, visible: Callable[[Completion], str]) -> None:
        self._run = run
        self._visible = visible
        self._sent = ""
        self._last = 0.0

    async def show(self, text: str) -> None:
        """The whole reply so far."""
        now = asyncio.get_running_loop().time()
        if now - self._last < BATCH_SECONDS:
            return
        self._last = now
        try:
            # An unfinished reply is parsed as one cut short: a model's reasoning stays hidden, its tags are taken off.
            seen = self._visible(Completion(text, "length"))
        except InvalidReply:
            return
        await self.say(seen)

    async def say(self, seen: str) -> None:
        """The visible text so far, or at its end."""
        offset = _shared(self._sent, seen)
        if seen != self._sent:
            self._sent = seen
            await self._run.commit(EventType.DELTA, {"offset": offset, "text": seen[offset:]})

    def cut(self) -> Answer:
        """The answer when its time is over: what was shown of it. Raises `JobFailure` when that is nothing."""
        if not self._sent:
            raise self._run.overdue("before there was an answer")
        return Answer(self._sent, Stop.DEADLINE)


def _shared(one: str, other: str) -> int:
    """Length of the common beginning."""
    if other.startswith(one):
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


async def write_answer(run: Run, reading: Reading) -> Answer:
    """y ~ pi(. | m_K, q_core, q_inst), Eq. 6. Raises `JobFailure` for an unusable answer, and where there is none when
    the deadline and the grace are over."""
    parts = run.parts
    until = None if run.deadline is None else max(run.deadline, asyncio.get_running_loop().time()) + GRACE_SECONDS
    while reading.fold.answer is None:
        run.check_stopping()
        [call] = reading.fold.pending()
        deltas = Deltas(run, partial(_visible, run, call))
        try:
            asked = Request(parts.profile.render(call), parts.profile.sampling(call))
            size = count_prompt(asked.prompt, parts.tokens)
            if call.attempt:
                _check_left(run, size)
            completion = await run.watch(run.calls.write(asked, deltas.show, prompt_tokens=size), until=until)
        except ContextOverflow as error:
            raise JobFailure(Code.WINDOW_TOO_SMALL, f"the engine refused the answer's call: {error}") from error
        except OutOfTime:
            return deltas.cut()
        try:
            reading.fold, _ = reading.fold.advance(
                call.id, read_reply(parts.profile, call, completion, "", parts.tokens)
            )
        except InvalidReply as error:
            raise JobFailure(Code.ANSWER_UNUSABLE, str(error)) from error
        if reading.fold.answer is not None:
            await deltas.say(reading.fold.answer.text)
    return reading.fold.answer


def _check_left(run: Run, prompt_tokens: int) -> None:
    """Raises `JobFailure` where `limits.tokens` leaves no room to ask for the answer again: it may take all it is
    allowed. Room for the first time was kept while the route was chosen and the text read."""
    if prompt_tokens + run.parts.profile.budgets.answer_output > run.tokens_left:
        raise JobFailure(
            Code.ANSWER_UNUSABLE, "the answer could not be used, and limits.tokens leaves no room to ask for it again"
        )


def _visible(run: Run, call: Call, completion: Completion) -> str:
    reply = run.parts.profile.parse(call, completion, "", run.parts.tokens)
    return reply.text if isinstance(reply, FinalText) else ""


async def write_direct(run: Run, query: Query, documents: list[tuple[str, str]], prompt_tokens: int) -> Answer:
    """The single pass over (title, text) documents. Raises `ContextOverflow`, and `JobFailure` for an unusable answer
    or none at the deadline."""
    profile = run.parts.profile
    parse = partial(profile.parse_direct, query=query, documents=documents)
    prompt = await run.in_thread(lambda: profile.render_direct(query, documents))
    failure: InvalidReply | None = None
    for attempt in range(profile.budgets.retries + 1):
        if attempt:
            _check_left(run, prompt_tokens)
        deltas = Deltas(run, parse)
        try:
            asked = Request(prompt, profile.sampling_direct(attempt))
            writing = run.calls.write(asked, deltas.show, prompt_tokens=prompt_tokens)
            completion = await run.watch(writing, until=run.deadline)
            answer = parse(completion)
        except OutOfTime:
            return deltas.cut()
        except InvalidReply as error:
            failure = error
            continue
        await deltas.say(answer)
        return Answer(answer, Stop.OUTPUT if completion.finish_reason == "length" else None)
    raise JobFailure(Code.ANSWER_UNUSABLE, str(failure)) from failure
