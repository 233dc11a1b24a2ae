"""Training rows of the questions over several facts: lists, counts and two hops. Knows their shares, no rule of
theirs."""

from __future__ import annotations

from random import Random

from tokenizers import Tokenizer

from longfold_training.demo import collections, hops
from longfold_training.demo.asked import Tale, exercises
from longfold_training.demo.rows import Row, encode
from longfold_training.demo.words import Split

HOPS = 0.25
"""Share of chunks with two hops; the others hold collections, listed or counted."""


def make_tale(rng: Random, tokens: int, split: Split, ordinary: float) -> Tale:
    if rng.random() < HOPS:
        return hops.tale(rng, tokens, split, ordinary)
    return collections.tale(rng, tokens, split)


def several_rows(
    rng: Random, tokenizer: Tokenizer, tokens: int, count: int, split: Split, ordinary: float = 0.0
) -> list[Row]:
    """About `count` rows on one chunk of about `tokens` tokens."""
    made = make_tale(rng, tokens, split, ordinary)
    return [encode(tokenizer, one) for one in exercises(rng, made, count)]
