"""Token weights are Eq. 4's, however the tokens are spread over groups, trajectories and steps."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_training.core.trajectory import Trajectory
from longfold_training.core.weights import token_mean_factors, token_weights
from longfold_training.errors import DataError

Attempt = Callable[..., Trajectory]


def test_by_hand(attempt: Attempt) -> None:
    # Group a has 2 + 3 + 5 = 10 tokens in two trajectories, group b has 2.
    batch = [attempt("a", "x", 1, (2, 3)), attempt("b", "x", 0, (2,)), attempt("a", "x", 0, (5,))]
    assert token_weights(batch).tolist() == pytest.approx([1 / 20, 1 / 4, 1 / 20])
    assert token_mean_factors(batch).tolist() == pytest.approx([12 / 20, 12 / 4, 12 / 20])


def test_groups_of_equal_length_leave_a_token_mean_as_it_is(attempt: Attempt) -> None:
    batch = [attempt("a", "x", 1, (1, 5)), attempt("a", "x", 0, (2,)), attempt("b", "y", 0, (8,))]
    assert token_mean_factors(batch).tolist() == pytest.approx([1, 1, 1])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(1, 6), min_size=1, max_size=4)), min_size=1))
def test_every_question_counts_alike(attempt: Attempt, drawn: list[tuple[str, list[int]]]) -> None:
    batch = [attempt(group, "x", 0, lengths) for group, lengths in drawn]
    weights = token_weights(batch).tolist()
    for group in {trajectory.group for trajectory in batch}:
        share = sum(w * t.tokens for w, t in zip(weights, batch, strict=True) if t.group == group)
        assert share == pytest.approx(float(Fraction(1, len({trajectory.group for trajectory in batch}))))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(DataError, match="empty batch"):
        token_weights([])
