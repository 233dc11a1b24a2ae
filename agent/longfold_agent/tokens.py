"""Counts and cuts text in tokens of a Hugging Face `tokenizer.json`, offline. Knows no prompts and no chunks.

Byte-level BPE files are rebuilt as a `tiktoken.Encoding` (about ten times faster) after a proof that both give the same tokens; every
other file is used through `tokenizers`. Text is always ordinary text: special tokens written in it are never parsed as such.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tiktoken
from tokenizers import Tokenizer

from longfold_agent.errors import TokenizerError

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What `tokenizers` splits by in a ByteLevel pre-tokenizer with `use_regex`."""
BLANK_RUN = 40_000
"""White space beyond this many characters in a row is encoded in pieces of this size: the pattern engines recurse on it and would run
out of stack near a million. Such a run may count a few tokens more than in the model's own tokenizer."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_PROBES = (
    "The quick brown fox doesn't jump; it's 3,141.59 km away!\n\n\tNEXT: don't, WE'LL, I'd've\r\n  indented   text  \n \n",
    "naïve café Ångström Straße İstanbul ſharp ﬁne Ⅷ ½ ² ١٢٣ १२३ Ωμέγα Привет мир! שלום עולם مرحبا بالعالم",
    "日本語の文章。「引用」と、句読点！ 中文文本，全角：（１２３）。 한국어 문장입니다. ไทย हिन्दी தமிழ்",
    "👩‍👩‍👧 🇩🇪 👍🏽 ❤️ e\u0301 n\u0303 \u1100\u1161\u11a8 A\u030a \u212b \u200b\u200d\ufeff\u00a0\u3000\u2028\u2029\x85\x00\x1b\x1f\x7f",
    "def f(x):\n    return {'a': x[0], \"b\": [1, 2]}  # 100%\n\n\nif a<b && c>=d: x+=1; y->z; http://a.example/?q=1&r=%20#top",
    "<|im_start|>user\n<think>\n</think> <s>[INST] [PAD]</s> <0x0A> ▁ Ġ Ċ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa                                        \n\n\n\n\n\n\n\n\n\n\n........-----=====",
    "0 12 345 6789 01234567890 1a2b 3.14e-10 \t\t x\ty \r\r\n\n\r   \v\f a  b   c",
)
"""Texts that every rebuilt encoding must split as the file's own tokenizer does: contractions, digits, scripts, marks, blanks, signs."""


class LoadedTokens(ABC):
    """Tokens of one tokenizer file; satisfies `longfold_agent.protocols.Tokens`."""

    def __init__(self, name: str, specials: Sequence[str]) -> None:
        self.name = name
        """"sha256:" and the hash of the file."""
        self.specials = tuple(specials)
        """Contents of the file's added tokens that a document must not contain; for `neutralise(text, specials)`."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of `text` as ordinary text, without any template tokens."""

    @abstractmethod
    def reach(self, text: str, budget: int) -> int:
        """Number of characters that the first `budget` tokens of `text` cover whole.

        One encoding, unlike `fit`; counted by itself that prefix may take a token or two more or fewer.
        """

    def count(self, text: str) -> int:
        """Number of tokens of `text`."""
        return len(self.encode(text))

    def fit(self, text: str, budget: int) -> int:
        """Number `n` of leading characters with `count(text[:n]) <= budget`, where one more character would not fit."""
        at = self.reach(text, budget) if budget > 0 else 0
        while at and (excess := self.count(text[:at]) - budget) > 0:
            at -= min(at, excess)
        while budget > 0 and at < len(text) and self.count(text[: at + 1]) <= budget:
            at += 1
        return at


class TiktokenTokens(LoadedTokens):
    """A byte-level BPE through tiktoken, with the file's own tokenizer for the texts that tiktoken cannot do."""

    def __init__(
        self, name: str, specials: Sequence[str], encoding: tiktoken.Encoding, composed: bool, spare: HuggingFaceTokens
    ) -> None:
        super().__init__(name, specials)
        self._encoding = encoding
        self._composed = composed
        self._spare = spare

    def encode(self, text: str) -> list[int]:
        text = _SURROGATES.sub("\ufffd", text) if not text.isascii() else text
        if self._composed and not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
        try:
            if len(text) <= BLANK_RUN:
                return self._encoding.encode_ordinary(text)
            return [token for piece in _bounded(text) for token in self._encoding.encode_ordinary(piece)]
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # how a failure inside the extension arrives; not an Exception
                raise
            return self._spare.encode(text)

    def reach(self, text: str, budget: int) -> int:
        text = _SURROGATES.sub("\ufffd", text) if not text.isascii() else text
        if self._composed and not unicodedata.is_normalized("NFC", text):
            return self._spare.reach(text, budget)
        size = 8 * budget + 64  # more characters than `budget` tokens of most texts, so that a long text is not encoded whole
        while True:
            head = text[:size]
            ids = self.encode(head)
            if len(ids) > budget:
                return len(self._encoding.decode_bytes(ids[:budget]).decode("utf-8", "ignore"))
            if len(head) == len(text):
                return len(text)
            size *= 4


class HuggingFaceTokens(LoadedTokens):
    """Any tokenizer file, through `tokenizers`."""

    def __init__(self, name: str, specials: Sequence[str], tokenizer: Tokenizer) -> None:
        super().__init__(name, specials)
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        text = _SURROGATES.sub("\ufffd", text)
        return [token for piece in _bounded(text) for token in self._ids(piece)]

    def reach(self, text: str, budget: int) -> int:
        text = _SURROGATES.sub("\ufffd", text)
        passed, left = 0, budget
        for piece in _bounded(text):
            encoding = self._tokenizer.encode(piece, add_special_tokens=False)
            offsets: list[tuple[int, int]] = encoding.offsets
            if len(offsets) > left:
                # The next token's start may lie before the last one's end where both are bytes of one character.
                return passed + min(offsets[left][0], max((end for _, end in offsets[:left]), default=0))
            passed, left = passed + len(piece), left - len(offsets)
        return passed

    def _ids(self, piece: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False).ids
        return ids


def load_tokens(path: str | Path) -> LoadedTokens:
    """The tokens of a `tokenizer.json` (or of the folder that holds one). Reads that file only, never the network.

    Raises `TokenizerError` when the file is missing or is not a tokenizer.
    """
    file = Path(path)
    file = file / "tokenizer.json" if file.is_dir() else file
    try:
        raw = file.read_bytes()
        spec = json.loads(raw)
        added = spec.get("added_tokens") or []
        # `tokenizers` parses added tokens inside text; without them in the file it cannot. What is no control token (runs of
        # blanks, in some files) is ordinary text and stays.
        kept = [token for token in added if not _is_control(token)]
        plain = spec | {"added_tokens": kept, "post_processor": None, "truncation": None, "padding": None}
        tokenizer = Tokenizer.from_str(json.dumps(plain))
    except OSError as error:
        raise TokenizerError(f"cannot read {file}: {error.strerror or error}") from error
    except Exception as error:  # `tokenizers` raises plain Exception on a file it does not understand
        raise TokenizerError(f"{file} is not a tokenizer.json: {error}") from error
    name = "sha256:" + hashlib.sha256(raw).hexdigest()
    specials = [token["content"] for token in added if _is_control(token)]
    spare = HuggingFaceTokens(name, specials, tokenizer)
    try:
        encoding, composed = _rebuild(spec)
    except _Differs:
        return spare
    fast = TiktokenTokens(name, specials, encoding, composed, spare)
    if kept or any(fast.encode(probe) != spare.encode(probe) for probe in (*_PROBES, *specials)):
        return spare
    return fast


class _Differs(Exception):
    """The file is not a byte-level BPE that tiktoken would encode alike."""


def _require(condition: object, why: str) -> None:
    if not condition:
        raise _Differs(why)


def _is_control(token: Mapping[str, Any]) -> bool:
    content = str(token["content"])
    return bool(content.strip()) and (bool(token.get("special")) or content[0] in "<[{|")


def _bounded(text: str) -> Iterator[str]:
    """`text` in pieces without a longer blank run than `BLANK_RUN`; one piece for nearly every text."""
    start = 0
    stride = BLANK_RUN // 2  # a run that is too long covers two neighbouring marks
    mark = stride
    while mark + stride < len(text):
        if text[mark].isspace() and text[mark : mark + stride].isspace():
            first = mark - (len(text[start:mark]) - len(text[start:mark].rstrip()))
            end = first + BLANK_RUN
            if text[mark:end].isspace() and len(text) > end:
                yield text[start:end]
                start, mark = end, end
        mark += stride
    yield text[start:]


def _rebuild(spec: Mapping[str, Any]) -> tuple[tiktoken.Encoding, bool]:
    """The file as a tiktoken encoding, and whether text is composed (NFC) first. Raises `_Differs` with the first difference."""
    model = spec["model"]
    _require(model.get("type") == "BPE", "not BPE")
    for field in ("byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        _require(not model.get(field), field)
    encoding = tiktoken.Encoding(
        "tokenizer.json", pat_str=_pattern(spec.get("pre_tokenizer")), mergeable_ranks=_ranks(model), special_tokens={}
    )
    # A pattern that leaves characters out would lose them here, while `tokenizers` keeps them as pieces of their own.
    every = "".join(map(chr, range(0xD800))) + "".join(map(chr, range(0xE000, 0x20000)))
    _require(encoding.decode(encoding.encode_ordinary(every)) == every, "the pattern leaves characters out")
    return encoding, _composes(spec.get("normalizer"))


def _composes(normalizer: Mapping[str, Any] | None) -> bool:
    parts = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    _require(all(part.get("type") == "NFC" for part in parts), "a normaliser other than NFC")
    return bool(parts)


def _pattern(pre_tokenizer: Mapping[str, Any] | None) -> str:
    _require(pre_tokenizer, "no pre-tokenizer")
    assert pre_tokenizer is not None
    parts: list[Mapping[str, Any]] = list(pre_tokenizer.get("pretokenizers", [pre_tokenizer]))
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


def _ranks(model: Mapping[str, Any]) -> dict[bytes, int]:
    """Token bytes -> id, with the proof that merging by lowest id, as tiktoken does, follows the file's merge list.

    tiktoken merges every neighbouring pair whose bytes are a token, the file only the pairs it lists. Both agree if, for each token,
    its bytes alone lead to exactly one listed pair before the last merge: in any text, the bytes of a token that forms have not merged
    across their ends before, so they have gone through the same states as alone.
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
            raise _Differs("a merge outside the byte alphabet") from None
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
        else:  # of two merges with one id the leftmost comes first, and the one across the border lies left of `right`'s
            limit, right = right_rank + 1, split[right][0]


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes with: printable Latin-1 as itself, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}
