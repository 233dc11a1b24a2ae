"""One attempt at a problem: the agent's own fold over verl's servers, graded as it ends. Knows no verl and no
advantages.

The reward comes from here as well, rule first, then judge, while other attempts still read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longfold_agent import profiles
from longfold_agent.engines.vllm import VLLMEngine
from longfold_agent.protocols import Profile
from longfold_agent.route import Mode
from longfold_agent.tokens import LoadedTokens, load_tokens
from longfold_training.engines.verl.generation import GenerationEngine, Servers, stops
from longfold_training.engines.verl.settings import Settings
from longfold_training.episodes import Episode
from longfold_training.errors import RecipeError
from longfold_training.policy_folder import check_folder
from longfold_training.problems import Problem
from longfold_training.rewards import Grader, Judge, MemoryRewards, Verdicts
from longfold_training.rollout import Collector, Exploration


@dataclass(frozen=True, slots=True)
class Shared:
    """What all attempts of a worker have in common."""

    settings: Settings
    window: int
    """Most tokens of a call, prompt and reply."""
    profile: Profile
    tokens: LoadedTokens
    stops: tuple[int, ...]
    grader: Grader

    @classmethod
    def of(cls, settings: Settings, folder: Path, window: int) -> Shared:
        """`folder`: the policy's. Raises `CheckpointError` where it is none, `RecipeError` for a judge without its
        key."""
        check_folder(folder)
        tokens = load_tokens(folder)
        profile = profiles.load(
            settings.profile,
            chunk_tokens=settings.limits.chunk_tokens,
            memory_tokens=settings.limits.memory_tokens,
            specials=tokens.specials,
        )
        return cls(settings, window, profile, tokens, stops(folder), _grader(settings))


async def attempt(
    shared: Shared, problem: Problem, *, servers: Servers, tokenizer: Any, temperature: float, top_p: float
) -> tuple[Episode, list[int]]:
    """The attempt, and the step numbers of the weights that its replies came from.

    Raises `TrainingError`: the attempt is then lost, and `longfold.lost` decides whether the run goes on.
    """
    settings = shared.settings
    direct = settings.reading == "direct"
    engine = GenerationEngine(
        servers,
        tokenizer,
        stops=shared.stops,
        window=shared.window,
        # A single pass has its whole prompt in common with its group, a reading at most its question.
        affinity=problem.id if direct else "",
    )
    collector = Collector(
        profile=shared.profile,
        engine=engine,
        tokens=shared.tokens,
        grader=shared.grader,
        exploration=Exploration(
            group=1,
            temperature=temperature,
            top_p=top_p,
            mode=Mode.DIRECT if direct else Mode.FOLD,
            output=settings.limits.output_tokens,
            tokens=settings.limits.attempt_tokens,
        ),
        memory=MemoryRewards(settings.dense.held, settings.dense.kept, settings.dense.valid),
    )
    [episode] = await collector.collect([problem])
    return episode, engine.versions


def _grader(settings: Settings) -> Grader:
    """Verdicts are remembered by each worker for itself: no file that processes on many nodes would have to share."""
    told = settings.judge
    if told is None:
        return Grader()
    key = os.environ.get(told.api_key_variable, "") if told.api_key_variable else ""
    if told.api_key_variable and not key:
        raise RecipeError(f"judge.api_key_variable: {told.api_key_variable} is not set in the workers' environment")
    return Grader(Judge(VLLMEngine(told.url, model=told.model, api_key=key), told.model, Verdicts()))
