"""The indicator of Eq. 8 silences negative gradients beyond the threshold, and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longfold_training.core.clipping import Clipping, indicator

# Trajectory 0 (advantage -1) has rows 0 and 1, mean (1 + 5 + 3) / 3 = 3; trajectory 1 (+1) has row 2; 2 (-1) has row 3.
ADVANTAGES = torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)
ENTROPIES = torch.tensor([[1.0, 5.0], [3.0, 99.0], [7.0, 7.0], [2.0, 2.0]])
MASK = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1]])
OWNERS = torch.tensor([0, 0, 1, 2])


@pytest.mark.parametrize(
    ("clipping", "kept"),
    [
        (Clipping("token", 2.5), [[1, 0], [0, 0], [1, 1], [1, 1]]),
        (Clipping("token", 2.5, "low"), [[0, 1], [1, 0], [1, 1], [0, 0]]),
        (Clipping("sequence", 2.5), [[0, 0], [0, 0], [1, 1], [1, 1]]),
        (Clipping("sequence", 2.5, "low"), [[1, 1], [1, 0], [1, 1], [0, 0]]),
        (Clipping("token", 3.0), [[1, 0], [1, 0], [1, 1], [1, 1]]),
        (Clipping("sequence", 3.0), [[1, 1], [1, 0], [1, 1], [1, 1]]),
    ],
)
def test_by_hand(clipping: Clipping, kept: list[list[int]]) -> None:
    assert indicator(clipping, ADVANTAGES, ENTROPIES, MASK, OWNERS).int().tolist() == kept


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.lists(st.floats(0, 4), min_size=3, max_size=3)), min_size=1, max_size=5),
    st.sampled_from(["token", "sequence"]),
    st.sampled_from(["high", "low"]),
)
def test_positive_gradients_always_stay(drawn: list[tuple[float, list[float]]], level: str, side: str) -> None:
    values = torch.tensor([advantage for advantage, _ in drawn])
    entropies = torch.tensor([row for _, row in drawn])
    mask = torch.ones_like(entropies, dtype=torch.bool)
    kept = indicator(Clipping(level, 2.0, side), values, entropies, mask, torch.arange(len(drawn)))  # type: ignore[arg-type]
    assert bool(kept[values >= 0].all())
    if level == "sequence":
        assert all(len(set(row)) == 1 for row in kept.tolist())
