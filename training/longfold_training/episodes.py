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
class Outcome:
    """What an attempt came to, without its tokens: plain values, so that it can be kept in a file."""

    id: str
    task: str
    answer: str
    score: float
    by: str
    """A `Grade`."""
    failure: str
    memory: str
    reward: float
    """What is trained on: the score and the dense rewards."""
    updates: Sequence[str | None]
    tokens: int
    """Of all completions."""
    clipped: int
    cut: bool
    """Whether the budget ended the reading."""


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
    """Set when the reading was cut by the budget or gave nothing that could be used, or when the answer was cut."""
    failure: str
    """Why there is no answer; "" when there is one."""

    @property
    def outcome(self) -> Outcome:
        return Outcome(
            id=self.problem.id,
            task=self.problem.task,
            answer=self.answer,
            score=self.score.value,
            by=self.score.by,
            failure=self.failure,
            memory=self.memory,
            reward=self.trajectory.reward,
            updates=self.updates,
            tokens=self.trajectory.tokens,
            clipped=self.clipped,
            cut=self.stop is not None,
        )


def rates(outcomes: Sequence[Outcome]) -> Mapping[str, float]:
    """Means and shares of a batch, for a row of metrics; empty for no attempts.

    `reward`, `score` and `score/TASK` are means; `keep`, `rewrite`, `invalid` shares of the replies to chunks (absent
    where there was none); `answered`, `cut`, `judged`, `ungraded` shares of the episodes; `clipped` the share of all
    replies; `steps` and `tokens` (completions only) means per episode.
    """
    if not outcomes:
        return {}
    found = {
        "reward": fmean(one.reward for one in outcomes),
        "score": fmean(one.score for one in outcomes),
        "answered": fmean(not one.failure for one in outcomes),
        "cut": fmean(one.cut for one in outcomes),
        "judged": fmean(one.by == Grade.JUDGE for one in outcomes),
        "ungraded": fmean(one.by == Grade.NOBODY for one in outcomes),
        "steps": fmean(len(one.updates) for one in outcomes),
        "tokens": fmean(one.tokens for one in outcomes),
    }
    found["clipped"] = fmean(one.clipped for one in outcomes) / found["steps"]
    for task in sorted({one.task for one in outcomes}):
        found[f"score/{task}"] = fmean(one.score for one in outcomes if one.task == task)
    reads = [update for one in outcomes for update in one.updates if update is not None]
    for kind in UpdateKind if reads else ():
        found[kind.value] = reads.count(kind) / len(reads)
    return found
