"""Packed rows: many blocks behind one chunk give what each block alone gives."""

from __future__ import annotations

from random import Random

import torch
from tokenizers import Tokenizer

from longfold_agent.profiles.demo import KEEP
from longfold_training.demo.initialisation import initialise
from longfold_training.demo.model import Policy, Shape
from longfold_training.demo.packing import GATE_WEIGHT, pack
from longfold_training.demo.rows import make_row


def test_a_block_in_a_row_sees_what_it_sees_alone(tokenizer: Tokenizer, shape: Shape) -> None:
    policy = Policy(shape)
    initialise(policy, 3)
    row = make_row(Random(2), tokenizer, 48, 5, "train")
    batch = pack([row], 420)
    assert len(batch.kept[0]) == len(row.blocks) >= 3
    with torch.no_grad():
        packed = policy.hidden(batch.tokens, batch.positions, batch.mask)[0]
        at = len(row.chunk)
        for block in row.blocks:
            alone = (row.chunk if block.reads else []) + block.prompt + block.target
            extent = len(block.prompt) + len(block.target)
            plain = policy.hidden(torch.tensor([alone]))[0, -extent:]
            torch.testing.assert_close(packed[at : at + extent], plain, atol=2e-4, rtol=2e-4)
            at += extent


def test_targets_and_only_targets_have_weight(tokenizer: Tokenizer) -> None:
    row = make_row(Random(6), tokenizer, 48, 5, "train")
    batch = pack([row], 420)
    at = len(row.chunk)
    assert batch.weights[0, :at].sum() == 0
    for block in row.blocks:
        at += len(block.prompt)
        weights = batch.weights[0, at : at + len(block.target)].tolist()
        assert weights[0] == (GATE_WEIGHT if block.reads else 1.0)
        assert weights[1:] == [1.0] * (len(block.target) - 1)
        at += len(block.target)
    assert batch.weights[0, at:].sum() == 0


def test_a_block_that_does_not_fit_is_left_out_whole(tokenizer: Tokenizer) -> None:
    row = make_row(Random(6), tokenizer, 48, 6, "train")
    length = len(row.chunk) + len(row.blocks[0].prompt) + len(row.blocks[0].target)
    batch = pack([row], length)
    assert batch.kept == [[row.blocks[0]]]
    assert int((batch.tokens[0] > 0).sum()) == length


def test_keep_is_one_token(tokenizer: Tokenizer) -> None:
    rows = [make_row(Random(seed), tokenizer, 64, 6, "train") for seed in range(12)]
    replies = [block.target for row in rows for block in row.blocks if block.reads]
    kept = [reply for reply in replies if reply[0] == KEEP]
    assert kept and all(len(reply) == 1 for reply in kept)
    assert len(kept) < len(replies)
