"""Packed rows: a row beside longer ones gives what it gives alone, and only replies are learned."""

from __future__ import annotations

from random import Random

import torch
from tokenizers import Tokenizer

from longfold_agent.profiles.demo import KEEP, PLAN
from longfold_training.demo.initialisation import initialise
from longfold_training.demo.model import Policy, Shape
from longfold_training.demo.packing import DECISIVE_WEIGHT, pack
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
        decisive = set(row.decisive) if row.reads else set()
        assert weights[begin:end] == [DECISIVE_WEIGHT if n in decisive else 1.0 for n in range(len(row.target))]
        assert not any(weights[:begin]) and not any(weights[end:]) and not any(tokens[end:])


def test_what_decides_is_whether_it_writes_the_value_and_its_end(tokenizer: Tokenizer) -> None:
    rows = [row for seed in range(12) for row in make_rows(Random(seed), tokenizer, 64, 6, "train") if row.reads]
    assert all(row.decisive == (0,) for row in rows if row.target[0] == KEEP)
    for row in rows:
        if row.target[0] != KEEP:
            gate, *value_and_end = row.decisive
            assert gate == 0 and value_and_end == list(range(value_and_end[0], row.target.index(PLAN) + 1))
            before, value = row.target[: value_and_end[0]], row.target[value_and_end[0]]
            assert tokenizer.decode(before, skip_special_tokens=False).endswith(":")
            assert row.tag != "find" or value in {label.value for label in row.labels}


def test_keep_is_one_token(tokenizer: Tokenizer) -> None:
    rows = [row for seed in range(12) for row in make_rows(Random(seed), tokenizer, 64, 6, "train")]
    replies = [row.target for row in rows if row.reads]
    kept = [reply for reply in replies if reply[0] == KEEP]
    assert kept and all(len(reply) == 1 for reply in kept)
    assert len(kept) < len(replies)
