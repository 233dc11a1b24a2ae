"""Rows as tensors: blocks beside each other behind their chunk, each seeing the chunk and itself only. Knows no
text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longfold_training.demo.rows import Block, Row

GATE_WEIGHT = 3.0
"""Loss weight of a step reply's first token: KEEP or write is one decision, and the one that costs most when it is
wrong."""
_HIDDEN = -1e4


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows packed to one length."""

    tokens: Tensor
    """(rows, length) ids."""
    positions: Tensor
    """(rows, length); every step block's positions go on from its chunk's end, every answer block's start at 0."""
    mask: Tensor
    """(rows, 1, length, length), additive."""
    weights: Tensor
    """(rows, length); loss weight of each token as a target, 0 for prompt and padding."""
    kept: list[list[Block]]
    """The blocks that fitted, in order, for each row."""


def pack(rows: Sequence[Row], length: int) -> Batch:
    """Pack rows to `length` tokens; a block that does not fit is left out."""
    count = len(rows)
    tokens = torch.zeros(count, length, dtype=torch.long)
    positions = torch.zeros(count, length, dtype=torch.long)
    segment = torch.full((count, length), -1)
    sees_chunk = torch.zeros(count, length, dtype=torch.bool)
    weights = torch.zeros(count, length)
    kept: list[list[Block]] = []
    for number, row in enumerate(rows):
        chunk = row.chunk[:length]
        size = len(chunk)
        ids, places, segments, sees, weight = list(chunk), list(range(size)), [0] * size, [True] * size, [0.0] * size
        fitted: list[Block] = []
        for index, block in enumerate(row.blocks, start=1):
            extent = len(block.prompt) + len(block.target)
            if len(ids) + extent > length:
                continue
            start = size if block.reads else 0
            ids += block.prompt + block.target
            places += range(start, start + extent)
            segments += [index] * extent
            sees += [block.reads] * extent
            first = GATE_WEIGHT if block.reads else 1.0
            weight += [0.0] * len(block.prompt) + [first] + [1.0] * (len(block.target) - 1)
            fitted.append(block)
        used = len(ids)
        tokens[number, :used] = torch.tensor(ids)
        positions[number, :used] = torch.tensor(places)
        segment[number, :used] = torch.tensor(segments)
        sees_chunk[number, :used] = torch.tensor(sees)
        weights[number, :used] = torch.tensor(weight)
        kept.append(fitted)
    visible = (segment[:, :, None] == segment[:, None, :]) | ((segment[:, None, :] == 0) & sees_chunk[:, :, None])
    visible &= torch.ones(length, length, dtype=torch.bool).tril()
    mask = torch.zeros(count, 1, length, length).masked_fill(~visible[:, None], _HIDDEN)
    return Batch(tokens, positions, mask, weights, kept)
