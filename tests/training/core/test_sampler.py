"""Batches are balanced, no batch repeats a question, and a restart goes on where the run was."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longfold_training.core.sampler import TaskBalanced
from longfold_training.errors import CheckpointError, DataError

SIZES = st.dictionaries(st.sampled_from("abcdefg"), st.integers(4, 40), min_size=1)


def labels(sizes: dict[str, int]) -> list[str]:
    return [task for task, size in sizes.items() for _ in range(size)]


@settings(max_examples=50)
@given(SIZES, st.integers(0, 3), st.integers(0, 6), st.integers(0, 99))
def test_every_batch_is_balanced_and_repeats_nothing(sizes: dict[str, int], each: int, more: int, seed: int) -> None:
    tasks = labels(sizes)
    batch = len(sizes) * max(each, 1) + min(more, len(sizes) - 1) * (each < 3)
    sampler = TaskBalanced(tasks, batch, seed)
    totals: Counter[str] = Counter()
    for number in range(1, 3 * len(sizes) + 1):
        drawn = sampler.draw()
        assert len(drawn) == len(set(drawn)) == batch
        shares = Counter(tasks[position] for position in drawn)
        assert max(shares[task] for task in sizes) - min(shares[task] for task in sizes) <= 1
        totals += shares
        if number % len(sizes) == 0:
            assert len({totals[task] for task in sizes}) == 1


@settings(max_examples=50)
@given(SIZES, st.integers(0, 99))
def test_a_task_comes_round_whole_before_it_repeats(sizes: dict[str, int], seed: int) -> None:
    tasks = labels(sizes)
    sampler = TaskBalanced(tasks, 3 * len(sizes), seed)
    seen: Counter[int] = Counter()
    for _ in range(30):
        seen.update(sampler.draw())
        for task in sizes:
            counts = [seen[position] for position, label in enumerate(tasks) if label == task]
            assert max(counts) - min(counts) <= 1


@given(SIZES, st.integers(0, 25))
def test_a_restart_goes_on_with_the_same_batches(sizes: dict[str, int], cut: int) -> None:
    tasks = labels(sizes)
    whole, first, second = (TaskBalanced(tasks, 2 * len(sizes), 5) for _ in range(3))
    expected = [whole.draw() for _ in range(cut + 5)]
    for _ in range(cut):
        first.draw()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [second.draw() for _ in range(5)] == expected[cut:]
    assert second.batches == cut + 5


def test_the_paper_s_batch_of_128_over_five_tasks() -> None:
    tasks = labels(dict.fromkeys("abcde", 60))
    sampler = TaskBalanced(tasks, 128)
    shares = [Counter(tasks[position] for position in sampler.draw()) for _ in range(5)]
    assert all(sorted(share.values()) == [25, 25, 26, 26, 26] for share in shares)
    assert set(sum(shares, Counter()).values()) == {128}


def test_a_small_task_repeats_more_often_than_a_large_one() -> None:
    tasks = labels({"small": 4, "large": 40})
    sampler = TaskBalanced(tasks, 8)
    drawn = [position for _ in range(20) for position in sampler.draw()]
    counts = Counter(drawn)
    assert {counts[position] for position in range(4)} == {20}
    assert {counts[position] for position in range(4, 44)} == {2}


def test_the_order_follows_from_the_seed() -> None:
    tasks = labels({"a": 30, "b": 30})
    assert TaskBalanced(tasks, 8, 1).draw() == TaskBalanced(tasks, 8, 1).draw()
    assert TaskBalanced(tasks, 8, 1).draw() != TaskBalanced(tasks, 8, 2).draw()


def test_one_label_for_all_is_plain_shuffling() -> None:
    sampler = TaskBalanced(["all"] * 12, 5)
    drawn = [position for _ in range(12) for position in sampler.draw()]
    assert set(Counter(drawn).values()) == {5}


@pytest.mark.parametrize(
    ("tasks", "batch", "message"),
    [
        ([], 4, "no question"),
        (["a", ""], 2, "question 1 has no task label"),
        (["a", "b", "c"], 2, "a batch of 2 cannot hold"),
        (["a", "b", "b", "b"], 4, "task 'a' has 1 questions, but a batch of 4 takes up to 2"),
    ],
)
def test_what_cannot_be_balanced_is_refused(tasks: list[str], batch: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TaskBalanced(tasks, batch)


def test_a_state_of_other_data_is_refused() -> None:
    state = TaskBalanced(["a", "b"] * 4, 4, 1).state_dict()
    for other in (
        TaskBalanced(["b", "a"] * 4, 4, 1),
        TaskBalanced(["a", "b"] * 4, 2, 1),
        TaskBalanced(["a", "b"] * 4, 4, 2),
    ):
        with pytest.raises(CheckpointError, match="sampler"):
            other.load_state_dict(state)
