"""A byte-level BPE read out of a `tokenizer.json`, with the proof that merging by lowest id gives its tokens. Knows no
library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What `tokenizers` splits by in a ByteLevel pre-tokenizer with `use_regex`."""

KNOWN_PATTERNS = frozenset(
    {
        GPT2_PATTERN,
        # cl100k, Llama 3, Qwen 2 and 3
        *(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + number + r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            for number in (r"\p{N}", r"\p{N}{1,3}")
        ),
        # the demo policy: one digit, one capital before another or before a digit, a word, a run of signs
        r"\d|[^\S\r\n]?\p{Lu}(?=[\p{Lu}\d/-])|[^\S\r\n]?\p{L}+|[^\S\r\n]?[^\s\p{L}\d]+|\s",
    }
)
"""Patterns without lookbehind in which no match holds a letter or one of 0-9 followed by a blank or a stop, and in
which what a match looks ahead for is never a blank or a stop: a text split there encodes as the sum of both parts."""


class Differs(Exception):
    """The file is not a byte-level BPE whose tokens follow from ids alone; the message says where it departs."""


def _require(condition: object, why: str) -> None:
    if not condition:
        raise Differs(why)


def composes(normalizer: Mapping[str, Any] | None) -> bool:
    """Whether text is composed (NFC) first; `Differs` for any other normalisation."""
    parts = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    _require(all(part.get("type") == "NFC" for part in parts), "a normaliser other than NFC")
    return bool(parts)


def pattern(pre_tokenizer: Mapping[str, Any] | None) -> str:
    """The regular expression that splits text before it is merged."""
    alone = {} if pre_tokenizer is None else pre_tokenizer
    parts: list[Mapping[str, Any]] = list(alone.get("pretokenizers", [alone]))
    _require(parts and parts[-1].get("type") == "ByteLevel", "not byte-level")
    byte_level = parts.pop()
    _require(not byte_level.get("add_prefix_space", True), "adds a space")
    if byte_level.get("use_regex", True):
        _require(not parts, "two patterns")
        return GPT2_PATTERN
    _require(len(parts) == 1 and parts[0].get("type") == "Split", "not one split")
    split = parts[0]
    isolated = split.get("behavior") == "Isolated"
    inverted = split.get("behavior") == "Removed" and split.get("invert")
    _require((isolated and not split.get("invert")) or inverted, "a split that is not isolated")
    _require("Regex" in split["pattern"], "a split by a fixed string")
    return str(split["pattern"]["Regex"])


def ranks_of(model: Mapping[str, Any]) -> dict[bytes, int]:
    """Token bytes -> id, with the proof that merging by lowest id, as tiktoken does, follows the file's merge list.

    tiktoken merges every neighbouring pair whose bytes are a token, the file only the pairs it lists. Both agree if,
    for each token,
    its bytes alone lead to exactly one listed pair before the last merge: in any text, the bytes of a token that forms
    have not merged across their ends before, so they have gone through the same states as alone.
    """
    vocab: Mapping[str, int] = model["vocab"]
    byte_of = _byte_alphabet()
    _require(all(char in vocab for char in byte_of), "not all 256 bytes")
    ranks = {bytes([byte]): vocab[char] for char, byte in byte_of.items()}
    last = -1
    halves: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for merge in model["merges"]:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        product = vocab.get(left + right, -1)
        _require(product >= last, "ids do not follow the merges")
        last = product
        try:
            pair = bytes(map(byte_of.__getitem__, left)), bytes(map(byte_of.__getitem__, right))
        except KeyError:
            raise Differs("a merge outside the byte alphabet") from None
        _require(pair[0] in ranks and pair[1] in ranks, "a merge of unknown tokens")
        ranks[pair[0] + pair[1]] = product
        halves.setdefault(pair[0] + pair[1], []).append(pair)
    _require(len(set(ranks.values())) == len(ranks), "one id for two tokens")
    if model.get("ignore_merges"):
        unmerged = (token for token in vocab if all(char in byte_of for char in token))
        _require(all(bytes(map(byte_of.__getitem__, token)) in ranks for token in unmerged), "tokens without merges")
    split: dict[bytes, tuple[bytes, bytes]] = {}
    for token, pairs in halves.items():
        reached = [pair for pair in pairs if _stays_apart(*pair, ranks, split)]
        _require(len(reached) == 1, "a token that its own bytes do not lead to")
        split[token] = reached[0]
    return ranks


def _stays_apart(
    left: bytes, right: bytes, ranks: Mapping[bytes, int], split: Mapping[bytes, tuple[bytes, bytes]]
) -> bool:
    """Whether `left + right`, merged by lowest id and leftmost first, passes through the state (left, right).

    Undoes the merges next to the border, latest first, and looks for one across the border that would have come before.
    """
    limit = ranks[left + right]
    while True:
        across = ranks.get(left + right)
        if across is not None and across < limit:
            return False
        left_rank = ranks[left] if left in split else -1
        right_rank = ranks[right] if right in split else -1
        if left_rank < 0 and right_rank < 0:
            return True
        if left_rank > right_rank:
            limit, left = left_rank, split[left][1]
        else:  # of two merges with one id the leftmost comes first: the one across, not `right`'s
            limit, right = right_rank + 1, split[right][0]


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes with: printable Latin-1 as itself, the rest from U+0100
    on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}
