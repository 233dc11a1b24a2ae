"""Trajectories hold together, and say what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from longfold_training.core.trajectory import Step, Trajectory, groups, tasks
from longfold_training.errors import DataError

STEP = Step((1,), (2, 3), (-0.1, -0.2))


def test_tokens_counts_the_completions_of_all_steps() -> None:
    assert Trajectory("q", "qa", (STEP, Step((1, 2, 3), (4,), (0.0,))), 1.0).tokens == 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Step((), (2,), (-0.1,)), "at least one prompt token"),
        (lambda: Step((1,), (), ()), "at least one prompt token and one completion token"),
        (lambda: Step((1,), (2, 3), (-0.1,)), "2 completion tokens but 1 logprobs"),
        (lambda: Step((1,), (2,), (-math.inf,)), "not finite"),
        (lambda: Trajectory("", "qa", (STEP,), 1.0), "no group"),
        (lambda: Trajectory("q", "", (STEP,), 1.0), "group 'q' has no task label"),
        (lambda: Trajectory("q", "qa", (), 1.0), "group 'q' has no step"),
        (lambda: Trajectory("q", "qa", (STEP,), math.nan), "reward of a trajectory of group 'q' is nan"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build()


def test_groups_and_tasks_keep_the_order_of_first_appearance() -> None:
    batch = [Trajectory(group, task, (STEP,), 0.0) for group, task in ("bx", "ay", "bx", "cx")]
    assert dict(groups(batch)) == {"b": (0, 2), "a": (1,), "c": (3,)}
    assert dict(tasks(batch)) == {"x": (0, 2, 3), "y": (1,)}
    assert list(groups(batch)) == ["b", "a", "c"]


def test_a_group_of_two_tasks_is_refused() -> None:
    batch = [Trajectory("q", task, (STEP,), 0.0) for task in ("qa", "count")]
    with pytest.raises(DataError, match="group 'q' has two tasks: 'qa' and 'count'"):
        groups(batch)
