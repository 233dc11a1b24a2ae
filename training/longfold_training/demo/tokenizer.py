"""The demo policy's tokenizer: byte-level BPE with one split rule. Knows the special tokens, not their meaning."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from longfold_agent.profiles.demo import SPECIALS

PATTERN = r"\d|[^\S\r\n]?\p{Lu}(?=[\p{Lu}\d/-])|[^\S\r\n]?\p{L}+|[^\S\r\n]?[^\s\p{L}\d]+|\s"
"""Digits stand alone, without the space before them, and so do capitals of codes: a value has the same tokens wherever
it stands."""

VOCABULARY = 4096


def train_tokenizer(texts: Iterable[str], size: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of `size` tokens: the special tokens first, then all 256 bytes, then merges in rising order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))
