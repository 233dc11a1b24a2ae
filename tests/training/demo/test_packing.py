"""Packed rows: a row beside longer ones gives what it gives alone, and only replies are learned."""

from __future__ import annotations

from random import Random

import torch
from tokenizers import Tokenizer

from longfold_agent.profiles.demo import KEEP
from longfold_training.demo.initialisation import initialise
from longfold_training.demo.model import Policy, Shape
from longfold_training.demo.packing import GATE_WEIGHT, pack
from longfold_training.demo.rows import make_rows


def test_a_row_sees_what_it_sees_alone(tokenizer: Tokenizer, shape: Shape) -> None:
    policy = Policy(shape)
    initialise(policy, 3)
    rows = make_rows(Random(2), tokenizer, 48, 5, "train")
    batch = pack(rows)
    with torch.no_grad():
        packed = policy.hidden(batch.tokens)
        for number, row in enumerate(rows):
            whole = row.prompt + row.target
            alone = policy.hidden(torch.tensor([whole]))[0]
            torch.testing.assert_close(packed[number, : len(whole)], alone, atol=2e-4, rtol=2e-4)


def test_targets_and_only_targets_have_weight(tokenizer: Tokenizer) -> None:
    rows = make_rows(Random(6), tokenizer, 48, 5, "train")
    batch = pack(rows)
    assert {row.reads for row in rows} == {True, False}
    for row, tokens, weights in zip(rows, batch.tokens.tolist(), batch.weights.tolist(), strict=True):
        begin, end = len(row.prompt), len(row.prompt) + len(row.target)
        assert tokens[begin:end] == row.target
        assert weights[begin] == (GATE_WEIGHT if row.reads else 1.0)
        assert weights[begin + 1 : end] == [1.0] * (len(row.target) - 1)
        assert not any(weights[:begin]) and not any(weights[end:]) and not any(tokens[end:])


def test_keep_is_one_token(tokenizer: Tokenizer) -> None:
    rows = [row for seed in range(12) for row in make_rows(Random(seed), tokenizer, 64, 6, "train")]
    replies = [row.target for row in rows if row.reads]
    kept = [reply for reply in replies if reply[0] == KEEP]
    assert kept and all(len(reply) == 1 for reply in kept)
    assert len(kept) < len(replies)
