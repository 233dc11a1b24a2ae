"""pass@k, its bins, and what the next stage trains on."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from longfold_training.core.difficulty import Measured, balanced, by_bin, pass_at_k, retrospective
from longfold_training.errors import DataError


def measured(question: int, right: int, source: str = "s", attempts: int = 8) -> Measured:
    return Measured(question, source, (1.0,) * right + (0.0,) * (attempts - right))


@pytest.mark.parametrize(("attempts", "right", "k"), [(8, 3, 1), (8, 3, 2), (8, 3, 6), (8, 0, 4), (8, 8, 4), (5, 1, 5)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_attempt(attempts: int, right: int, k: int) -> None:
    draws = list(combinations([True] * right + [False] * (attempts - right), k))
    assert pass_at_k(attempts, right, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


@pytest.mark.parametrize(("attempts", "right", "k"), [(4, 1, 5), (4, 5, 1), (4, -1, 1), (4, 1, 0)])
def test_an_undefined_pass_at_k_is_refused(attempts: int, right: int, k: int) -> None:
    with pytest.raises(DataError, match="undefined"):
        pass_at_k(attempts, right, k)


def test_bins_hold_their_lower_edge() -> None:
    found = by_bin([measured(right, right, attempts=10) for right in range(11)], bins=10)
    assert [[question.question for question in full] for full in found] == [[at] for at in range(9)] + [[9, 10]]


def test_only_a_reward_that_passes_counts_as_right() -> None:
    half = Measured("q", "s", (0.5, 0.5, 0.0, 1.0))
    assert [len(full) for full in by_bin([half], bins=4)] == [0, 1, 0, 0]
    assert [len(full) for full in by_bin([half], bins=4, passes=0.5)] == [0, 0, 0, 1]


def test_every_source_is_drawn_equally_from_its_bins() -> None:
    pool = [measured(1000 * right + at, right) for right in range(9) for at in range(200 if right == 8 else 30)]
    drawn = balanced(pool, per_source=50, bins=5)
    # With 8 attempts: bins of 0-1, 2-3, 4, 5-6, 7-8 right answers.
    edges = Counter(min(int(question.rate * 5), 4) for question in drawn)
    assert edges == dict.fromkeys(range(5), 10)
    assert len({question.question for question in drawn}) == 50


def test_what_a_bin_lacks_the_others_give() -> None:
    pool = [measured(at, 0) for at in range(3)] + [measured(10 + at, 4) for at in range(30)]
    pool += [measured(100 + at, 8) for at in range(30)] + [measured(500, 1, "other")]
    drawn = balanced(pool, per_source=20, bins=5)
    assert Counter((question.source, question.rate) for question in drawn) == {
        ("s", 0.0): 3,
        ("s", 0.5): 9,
        ("s", 1.0): 8,
        ("other", 0.125): 1,
    }
    assert balanced(pool, 20, seed=1) == balanced(pool, 20, seed=1) != balanced(pool, 20, seed=2)


def test_the_next_stage_leaves_out_what_is_never_or_always_right() -> None:
    pool = [measured(right, right) for right in range(9)]
    assert [question.question for question in retrospective(pool)] == list(range(1, 8))
    assert [question.question for question in retrospective(pool, hardest=0.25, easiest=0.75)] == [3, 4, 5]


def test_hard_questions_are_drawn_in_the_proportion_of_their_difficulty() -> None:
    # Two kinds, rates 1/8 and 1/2: a first draw takes the hard kind with chance 8 / (8 + 2) = 0.8.
    pool = [measured(0, 1), measured(1, 4)]
    hard = sum(retrospective(pool, count=1, seed=seed)[0].question == 0 for seed in range(2000))
    assert 0.76 < hard / 2000 < 0.84


def test_a_draw_repeats_nothing_and_keeps_the_order() -> None:
    pool = [measured(at, 1 + at % 7) for at in range(100)]
    drawn = [question.question for question in retrospective(pool, count=40)]
    assert len(drawn) == 40 and drawn == sorted(set(drawn), key=drawn.index) == sorted(drawn, key=int)
    assert retrospective(pool, count=500) == pool


@pytest.mark.parametrize(("hardest", "easiest"), [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1)])
def test_limits_out_of_order_are_refused(hardest: float, easiest: float) -> None:
    with pytest.raises(DataError, match="hardest < easiest"):
        retrospective([measured(0, 4)], hardest=hardest, easiest=easiest)


def test_a_stage_without_questions_is_refused() -> None:
    with pytest.raises(DataError, match="none of 2 questions"):
        retrospective([measured(0, 0), measured(1, 8)])


@pytest.mark.parametrize("rewards", [(), (0.5, 1.5), (-0.1,), (float("nan"),)])
def test_unusable_attempts_are_refused(rewards: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="'q'"):
        Measured("q", "s", rewards)


def test_every_source_keeps_its_least_the_hardest_first() -> None:
    told = {"a": (0.5, 1.0, 0.0), "b": (1.0, 0.75, 1.0), "c": (1.0,)}
    measured = [
        Measured(f"{source}{place}", source, (rate,))
        for source, rates in told.items()
        for place, rate in enumerate(rates)
    ]
    kept = retrospective(measured, least=2)
    assert [question.question for question in kept] == ["a0", "a2", "b0", "b1", "c0"]
    assert [question.question for question in retrospective(measured, least=0)] == ["a0", "b1"]
    assert [question.question for question in retrospective(measured[-1:], least=1)] == ["c0"]
