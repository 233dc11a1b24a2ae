"""Trajectories for the tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from longfold_training.core.trajectory import Step, Trajectory

Attempt = Callable[..., Trajectory]


@pytest.fixture(scope="session")
def attempt() -> Attempt:
    """Builds a trajectory whose steps have completions of the given lengths."""

    def build(group: str, task: str, reward: float, lengths: Sequence[int] = (1,)) -> Trajectory:
        steps = tuple(Step((1, 2), tuple(range(3, 3 + length)), (-0.5,) * length) for length in lengths)
        return Trajectory(group, task, steps, reward)

    return build
