"""What a rollout leaves behind: token ids, their log-probabilities, one reward. Knows no torch, no text and no engine.

A memory agent's trajectory has one step per chunk and one for the answer (Eq. 5 and 6); a full-context trajectory has
a single step. Its reward belongs to the whole, so advantages are computed per trajectory, before it becomes rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from longfold_training.errors import DataError


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the policy, exactly as the engine saw it.

    Attributes:
        prompt: Token ids of the prompt, at least one (the first completion token is predicted from it).
        completion: Token ids that were sampled, at least one, with the end-of-sequence token where it was sampled.
        logprobs: Log-probability (nats) of each completion token under the sampling policy, as the engine gave it.

    Raises:
        DataError: A part is empty, the lengths differ, or a log-probability is not finite.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.prompt or not self.completion:
            raise DataError("a step needs at least one prompt token and one completion token")
        if len(self.logprobs) != len(self.completion):
            raise DataError(f"a step has {len(self.completion)} completion tokens but {len(self.logprobs)} logprobs")
        if not all(map(math.isfinite, self.logprobs)):
            raise DataError("a step has a log-probability that is not finite")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One attempt at one question.

    Attributes:
        group: The question's id; the G attempts at it share it (the group of Eq. 3).
        task: The question's task type; Eq. 7 scales advantages by it.
        steps: The policy's calls in their order, the answer last.
        reward: The correctness of the answer; any finite number, usually 0 to 1.

    Raises:
        DataError: A label is empty, there is no step, or the reward is not finite.
    """

    group: str
    task: str
    steps: tuple[Step, ...]
    reward: float

    def __post_init__(self) -> None:
        if not self.group:
            raise DataError("a trajectory has no group")
        if not self.task:
            raise DataError(f"the trajectory of group {self.group!r} has no task label")
        if not self.steps:
            raise DataError(f"the trajectory of group {self.group!r} has no step")
        if not math.isfinite(self.reward):
            raise DataError(f"the reward of a trajectory of group {self.group!r} is {self.reward}")

    @property
    def tokens(self) -> int:
        """Completion tokens of all steps: |y_i| of Eq. 4, where a trajectory of many contexts counts all of them."""
        return sum(len(step.completion) for step in self.steps)


class Graded(Protocol):
    """What advantages and weights need to know of a trajectory; an engine that keeps its tokens elsewhere has only
    this."""

    @property
    def group(self) -> str: ...

    @property
    def task(self) -> str: ...

    @property
    def reward(self) -> float: ...

    @property
    def tokens(self) -> int: ...


def groups(trajectories: Sequence[Graded]) -> Mapping[str, tuple[int, ...]]:
    """Positions of the trajectories of each group, in the order of first appearance.

    Raises:
        DataError: A group holds trajectories of different tasks (Eq. 7 would scale one question by two spreads).
    """
    tasks: dict[str, str] = {}
    for trajectory in trajectories:
        if tasks.setdefault(trajectory.group, trajectory.task) != trajectory.task:
            raise DataError(
                f"group {trajectory.group!r} has two tasks: {tasks[trajectory.group]!r} and {trajectory.task!r}"
            )
    return _positions(trajectory.group for trajectory in trajectories)


def tasks(trajectories: Sequence[Graded]) -> Mapping[str, tuple[int, ...]]:
    """Positions of the trajectories of each task, in the order of first appearance."""
    return _positions(trajectory.task for trajectory in trajectories)


def _positions(labels: Iterable[str]) -> Mapping[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for position, label in enumerate(labels):
        found.setdefault(label, []).append(position)
    return {label: tuple(positions) for label, positions in found.items()}
