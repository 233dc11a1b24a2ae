"""One attempt at a problem: the agent's own fold over verl's servers, graded as it ends. Knows no verl and no
advantages.

The reward comes from here as well, rule first, then judge, while other attempts still read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longfold_agent.protocols import Profile
from longfold_agent.route import Mode
from longfold_agent.tokens import LoadedTokens
from longfold_training.engines.encoding import stops
from longfold_training.engines.verl.generation import GenerationEngine, Servers
from longfold_training.engines.verl.settings import Settings
from longfold_training.episodes import Episode
from longfold_training.problems import Problem
from longfold_training.rewards import Grader, Judge, MemoryRewards, Verdicts
from longfold_training.rollout import Collector, Exploration
from longfold_training.served import served


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
        """`folder`: the policy's. Raises `CheckpointError` where it is none or has another tokenizer than the profile,
        `RecipeError` for a judge without its key."""
        tokens, profile = served(folder, settings.profile, settings.limits)
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
    return Grader(None if told is None else Judge.over(told.url, told.model, told.api_key_variable, Verdicts()))
