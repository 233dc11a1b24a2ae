"""What stages that read have in common: the policy, its data, and attempts at them. Knows no update."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from longfold_agent import VLLMEngine
from longfold_agent.errors import EngineError
from longfold_agent.protocols import Engine, Profile
from longfold_agent.route import Mode
from longfold_agent.tokens import LoadedTokens
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.engines.local.sample import LocalEngine
from longfold_training.errors import DataError, RolloutError
from longfold_training.policy_folder import weights_hash
from longfold_training.problems import Problem, load
from longfold_training.recipes import Dense, Evaluate, Judge, Lora, Reinforce, Select
from longfold_training.rewards import Grader, MemoryRewards, Verdicts, probe, validate
from longfold_training.rewards import Judge as JudgeModel
from longfold_training.rollout import Collector, Exploration
from longfold_training.served import served

ReadingRecipe = Reinforce | Evaluate | Select

LONGEST_REPLY = 7_200.0
"""Seconds that a served policy has for one: 50K tokens at seven a second."""
START = 900.0
"""Seconds that a served policy has to come up, at the beginning or after a loss."""


@dataclass(frozen=True, slots=True)
class Material:
    """A stage's inputs, checked."""

    profile: Profile
    tokens: LoadedTokens
    problems: tuple[Problem, ...]
    sizes: tuple[int, ...]
    """Tokens of each problem's texts."""
    left_out: int
    """Problems whose texts are longer than the recipe's limit."""
    inputs: dict[str, str]
    """Identities of all that decides the result besides the recipe."""


def prepare(recipe: ReadingRecipe) -> Material:
    """The data and the profile of a stage; of the weights only their hash.

    Raises `CheckpointError` where the start policy is missing or has a tokenizer that the profile was not made for,
    `DataError` where the data cannot be used: unreadable, no task label, rules that reward wrong answers, nothing
    within the limits.
    """
    tokens, profile = served(recipe.start, recipe.profile, recipe.limits)
    longest = recipe.limits.input_tokens
    every = list(load(recipe.data))
    sized = [(problem, _size(problem, tokens, longest)) for problem in every]
    problems = tuple(problem for problem, size in sized if size <= longest)
    if not problems:
        raise DataError(
            f"{recipe.data} has no problem of at most {longest} tokens" if every else f"{recipe.data} holds no problem"
        )
    validate(problems)
    with recipe.data.open("rb") as file:
        data = hashlib.file_digest(file, "sha256").hexdigest()
    inputs = {
        "start": weights_hash(recipe.start),
        "data": f"sha256:{data}",
        "tokenizer": tokens.name,
        "profile": profile.version,
        "left_out": str(len(every) - len(problems)),
    }
    sizes = tuple(size for _, size in sized if size <= longest)
    return Material(profile, tokens, problems, sizes, len(every) - len(problems), inputs)


def open_policy(recipe: ReadingRecipe, lora: Lora | None = None, gradient_checkpointing: bool = False) -> LocalPolicy:
    """The start policy in memory. Raises `CheckpointError`."""
    return LocalPolicy(
        recipe.start,
        device=recipe.device,
        precision=recipe.precision,
        lora=lora,
        gradient_checkpointing=gradient_checkpointing,
    )


def policy_of(recipe: Evaluate | Select) -> LocalPolicy | str:
    """What attempts: the URL of a served policy where the recipe names one, else the start policy in memory."""
    return recipe.url or open_policy(recipe)


@asynccontextmanager
async def collector(
    recipe: ReadingRecipe,
    material: Material,
    policy: LocalPolicy | str,
    out: Path,
    *,
    group: int,
    temperature: float,
    top_p: float,
    dense: Dense | None = None,
    tell: Callable[[str], None],
) -> AsyncIterator[Collector]:
    """Attempts with the policy as it is at the time, graded by rule and, where the recipe names one, by a judge.

    policy: in this process, or the URL of a vLLM that serves it.
    tell: told what is waited for before the first attempt, "" when nothing is any more.
    The judge's verdicts are kept in `out`/verdicts.sqlite; `out` exists. Raises `JudgeError` for a judge that is not
    there at the beginning, `RolloutError` for a policy that is not served, `DataError` where its window does not take
    every problem.
    """
    exploration = Exploration(
        group=group,
        temperature=temperature,
        top_p=top_p,
        mode=Mode.DIRECT if recipe.reading == "direct" else Mode.FOLD,
        output=recipe.limits.output_tokens,
        tokens=recipe.limits.attempt_tokens,
        lockstep=not isinstance(policy, str),
    )
    async with _grader(recipe.judge, out / "verdicts.sqlite", tell) as grader:
        engine: Engine
        if isinstance(policy, str):
            tell(f"waiting for {policy}")
            await _comes_up(policy)
            # Counted from a call's begin: what is lost at a long reply's end is asked for once more, too.
            engine = VLLMEngine(policy, timeout=LONGEST_REPLY, retry_seconds=LONGEST_REPLY + START)
        else:
            engine = LocalEngine(policy, tokens_at_once=recipe.tokens_at_once)
        rollouts = Collector(
            profile=material.profile,
            engine=engine,
            tokens=material.tokens,
            grader=grader,
            exploration=exploration,
            memory=None if dense is None else MemoryRewards(dense.held, dense.kept, dense.valid),
        )
        try:
            tell("checking that the window takes every problem")
            await rollouts.check(material.problems, material.sizes)
            tell("")
            yield rollouts
        finally:
            await engine.aclose()


async def _comes_up(url: str) -> None:
    """Waits until something serves at `url`. Raises `RolloutError` where nothing does in time, as at a wrong one."""
    engine = VLLMEngine(url, retry_seconds=START)
    try:
        await engine.window()
    except EngineError as error:
        raise RolloutError(f"no policy is served at {url}: {error}") from error
    finally:
        await engine.aclose()


@asynccontextmanager
async def _grader(judge: Judge | None, verdicts: Path, tell: Callable[[str], None]) -> AsyncIterator[Grader]:
    if judge is None:
        yield Grader()
        return
    tell(f"asking the judge at {judge.url}")
    await probe(judge.url, judge.api_key_variable)
    with Verdicts(verdicts) as kept:
        asked = JudgeModel.over(judge.url, judge.model, judge.api_key_variable, kept)
        try:
            yield Grader(asked)
        finally:
            await asked.engine.aclose()


def _size(problem: Problem, tokens: LoadedTokens, limit: int) -> int:
    """Tokens of the problem's texts, or of as many of them as exceed `limit`."""
    size = 0
    for document in problem.documents:
        size += tokens.count(document.text) if size <= limit else 0
    return size
