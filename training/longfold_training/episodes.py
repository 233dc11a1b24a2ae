"""One attempt at a problem with all that reports and filters need, and the rates of many. Knows no engine and no
torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from longfold_agent.types import Stop, UpdateKind
from longfold_training.core.trajectory import Trajectory
from longfold_training.problems import Problem
from longfold_training.rewards import Grade, Score


@dataclass(frozen=True, slots=True)
class Episode:
    """An attempt that has ended, well or badly."""

    problem: Problem
    trajectory: Trajectory
    """What is trained on; its reward is `score.value + dense`."""
    answer: str
    """As parsed; "" where no attempt gave one that could be used."""
    score: Score
    dense: float
    """The dense rewards' part."""
    updates: tuple[UpdateKind | None, ...]
    """What each step did to the memory; None for an answer."""
    memory: str
    """After the last step; "" in a single pass."""
    clipped: int
    """Replies that the output limit cut."""
    stop: Stop | None
    """Set when the reading was cut by the budget."""
    failure: str
    """Why there is no answer; "" when there is one."""


def rates(episodes: Sequence[Episode]) -> Mapping[str, float]:
    """Means and shares of a batch, for a row of metrics; empty for no episodes.

    `reward`, `score` and `score/TASK` are means; `keep`, `rewrite`, `invalid` shares of the replies to chunks (absent
    where there was none); `answered`, `cut`, `judged`, `ungraded` shares of the episodes; `clipped` the share of all
    replies; `steps` and `tokens` (completions only) means per episode.
    """
    if not episodes:
        return {}
    found = {
        "reward": fmean(episode.trajectory.reward for episode in episodes),
        "score": fmean(episode.score.value for episode in episodes),
        "answered": fmean(not episode.failure for episode in episodes),
        "cut": fmean(episode.stop is not None for episode in episodes),
        "judged": fmean(episode.score.by is Grade.JUDGE for episode in episodes),
        "ungraded": fmean(episode.score.by is Grade.NOBODY for episode in episodes),
        "steps": fmean(len(episode.updates) for episode in episodes),
        "tokens": fmean(episode.trajectory.tokens for episode in episodes),
    }
    found["clipped"] = fmean(episode.clipped for episode in episodes) / found["steps"]
    for task in sorted({episode.problem.task for episode in episodes}):
        found[f"score/{task}"] = fmean(episode.score.value for episode in episodes if episode.problem.task == task)
    reads = [update for episode in episodes for update in episode.updates if update is not None]
    for kind in UpdateKind if reads else ():
        found[kind.value] = reads.count(kind) / len(reads)
    return found
