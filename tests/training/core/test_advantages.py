"""Advantages agree with numbers worked out by hand and with the definition written out in plain Python."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longfold_training.core.advantages import Scale, advantages, flat_groups
from longfold_training.core.trajectory import Trajectory
from longfold_training.errors import DataError

Attempt = Callable[..., Trajectory]
Rewards = dict[tuple[str, str], list[float]]


def batch_of(attempt: Attempt, rewards: Rewards) -> list[Trajectory]:
    return [attempt(group, task, reward) for (group, task), given in rewards.items() for reward in given]


def test_by_hand(attempt: Attempt) -> None:
    # Group a: mean 1/2; group b: mean 1/4; task x holds both. Group c: mean 3/4, alone in task y.
    batch = batch_of(attempt, {("a", "x"): [1, 0], ("b", "x"): [0, 0, 1, 0], ("c", "y"): [1, 0.5]})
    centred = [0.5, -0.5, -0.25, -0.25, 0.75, -0.25, 0.25, -0.25]
    # Sample variances: a 1/2, b 1/4, c 1/8; x: rewards 1 0 0 0 1 0, mean 1/3, squares 4/3, / 5 = 4/15;
    # all: 1 0 0 0 1 0 1 0.5, mean 7/16, squares 3.25 - 8 x 49/256 = 1.71875, / 7.
    spreads = {
        "none": [1.0 - 1e-6] * 8,
        "group": [math.sqrt(1 / 2)] * 2 + [math.sqrt(1 / 4)] * 4 + [math.sqrt(1 / 8)] * 2,
        "batch": [math.sqrt(1.71875 / 7)] * 8,
        "task": [math.sqrt(4 / 15)] * 6 + [math.sqrt(1 / 8)] * 2,
    }
    assert set(spreads) == set(get_args(Scale))
    for scale in get_args(Scale):
        expected = [value / (spread + 1e-6) for value, spread in zip(centred, spreads[scale], strict=True)]
        assert advantages(batch, scale).tolist() == pytest.approx(expected, rel=1e-12)


def test_eq_7_is_the_default(attempt: Attempt) -> None:
    batch = batch_of(attempt, {("a", "x"): [1, 0], ("b", "x"): [0, 0.2]})
    assert torch.equal(advantages(batch), advantages(batch, "task"))
    assert not torch.equal(advantages(batch), advantages(batch, "group"))


def test_the_attempts_of_a_group_need_not_stand_together(attempt: Attempt) -> None:
    ordered = batch_of(attempt, {("a", "x"): [1, 0, 0.5], ("b", "y"): [0, 0.25, 1]})
    order = [3, 0, 4, 1, 5, 2]
    mixed = advantages([ordered[at] for at in order])
    assert mixed.tolist() == pytest.approx(advantages(ordered)[order].tolist(), rel=1e-12)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcdef"), st.just("")),
        st.lists(st.floats(0, 1), min_size=1, max_size=5),
        min_size=1,
    ),
    st.sampled_from(get_args(Scale)),
)
def test_against_the_definition(attempt: Attempt, by_group: Rewards, scale: Scale) -> None:
    rewards: Rewards = {(group, "xyz"[ord(group) % 3]): given for (group, _), given in by_group.items()}
    batch = batch_of(attempt, rewards)
    sharing = {
        "group": lambda one, other: one.group == other.group,
        "task": lambda one, other: one.task == other.task,
        "batch": lambda one, other: True,
    }
    expected = []
    for one in batch:
        group = [other.reward for other in batch if other.group == one.group]
        spread = 1 - 1e-6
        if scale != "none":
            spreading = [other.reward for other in batch if sharing[scale](one, other)]
            spread = statistics.stdev(spreading) if len(spreading) > 1 else 0.0
        flat = min(group) == max(group)
        expected.append(0.0 if flat else (one.reward - statistics.fmean(group)) / (spread + 1e-6))
    assert advantages(batch, scale).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_equal_rewards_give_exactly_nothing_and_are_counted(attempt: Attempt) -> None:
    # 0.1 has no exact mean in binary: without care the group would push with 1e-11.
    batch = batch_of(attempt, {("a", "x"): [0.1] * 3, ("b", "x"): [1, 0], ("c", "y"): [1]})
    assert flat_groups(batch) == ("a", "c")
    found = advantages(batch)
    assert found[:3].tolist() == [0.0, 0.0, 0.0]
    assert found[5].item() == 0.0
    assert found[3] > 0 > found[4]


def test_a_group_that_is_rarely_right_weighs_more_by_group_than_by_task(attempt: Attempt) -> None:
    # The reason for Eq. 7: one lucky attempt in a hard group is blown up by its own small spread.
    batch = batch_of(attempt, {("hard", "x"): [1, 0, 0, 0, 0, 0, 0, 0], ("even", "x"): [1, 0] * 4})
    by_group, by_task = advantages(batch, "group"), advantages(batch, "task")
    assert by_group[0] / by_group[8] > by_task[0] / by_task[8]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(DataError, match="empty batch"):
        advantages([])
