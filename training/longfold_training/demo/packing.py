"""Rows as tensors. Knows no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longfold_training.demo.rows import Row
from longfold_training.demo.spans import BEGINS, INSIDE, STATED

DECISIVE_WEIGHT = 3.0
"""Loss weight of a step reply's decisive tokens: the others follow from them."""
_BITS = torch.tensor([BEGINS, INSIDE, STATED])


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows beside each other, padded behind their end, where causal attention never looks."""

    tokens: Tensor
    """(rows, length) ids."""
    weights: Tensor
    """(rows, length); loss weight of each token as a target, 0 for prompt and padding."""
    labels: Tensor
    """(rows, length, 3); 1 where a bit of `spans` is set, -1 on tokens that have no labels."""
    values: Tensor
    """(rows, length) ids; first token of the value that a statement complete at this token states, 0 for none."""
    rows: Sequence[Row]


def pack(rows: Sequence[Row]) -> Batch:
    length = max(len(row.prompt) + len(row.target) for row in rows)
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    values = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length, len(_BITS)), -1.0)
    for number, row in enumerate(rows):
        begin, end = len(row.prompt), len(row.prompt) + len(row.target)
        tokens[number, :end] = torch.tensor(row.prompt + row.target)
        weights[number, begin:end] = 1.0
        if row.reads:
            for place in row.decisive:
                weights[number, begin + place] = DECISIVE_WEIGHT
            bits = torch.tensor([label.bits for label in row.labels])[:, None] & _BITS
            labels[number, :begin] = (bits > 0).float()
            values[number, :begin] = torch.tensor([label.value for label in row.labels])
    return Batch(tokens, weights, labels, values, rows)
