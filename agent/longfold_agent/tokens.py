"""Counts and cuts text in tokens of a Hugging Face `tokenizer.json`, offline. Knows no prompts and no chunks.

Byte-level BPE files are rebuilt as a `tiktoken.Encoding` (about ten times faster) after a proof that both give the
same tokens; every other file is used through `tokenizers`. Text is always ordinary text: special tokens written in it
are never parsed as such.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import tiktoken
from tokenizers import Tokenizer

from longfold_agent.byte_level import KNOWN_PATTERNS, Differs, composes, pattern, ranks_of
from longfold_agent.errors import TokenizerError

BLANK_RUN = 40_000
"""White space beyond this many characters in a row is encoded in pieces of this size: the pattern engines recurse on
it and would run out of stack near a million. Such a run may count a few tokens more than in the model's own
tokenizer."""
NEAR = 2048
"""How far back from a cut a place is looked for where a text may be encoded in two parts."""
STOPS = frozenset(" \n\r\t.,;:!?)\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f")
_SPLIT = re.compile(rf"[^\W_](?=[{re.escape(''.join(sorted(STOPS)))}])")
_SURROGATES = re.compile("[\ud800-\udfff]")
_PROBES = (
    "The quick brown fox doesn't; it's 3,141.59 km!\n\n\tNEXT: don't, WE'LL, I'd've\r\n  indented   text  \n \n",
    "naïve café Ångström Straße İstanbul ſharp ﬁne Ⅷ ½ ² ١٢٣ १२३ Ωμέγα Привет мир! שלום עולם مرحبا بالعالم",
    "日本語の文章。「引用」と、句読点！ 中文文本，全角：（１２３）。 한국어 문장입니다. ไทย हिन्दी தமிழ்",
    "👩‍👩‍👧 🇩🇪 👍🏽 ❤️ e\u0301 \u1100\u1161\u11a8 \u212b \u200b\u200d\ufeff\u00a0\u3000\u2028\u2029\x85\x00\x1b\x1f\x7f",
    "def f(x):\n    return {'a': x[0], \"b\": [1, 2]}  # 100%\n\n\nif a<b && c>=d: x+=1; y->z; x://a.b/?q=1&r=%20#top",
    "<|im_start|>user\n<think>\n</think> <s>[INST] [PAD]</s> <0x0A> ▁ Ġ Ċ",
    "aaaaaaaaaaaaaaaaaaaaaaaaa                                        \n\n\n\n\n\n\n\n\n\n\n........-----=====",
    "0 12 345 6789 01234567890 1a2b 3.14e-10 \t\t x\ty \r\r\n\n\r   \v\f a  b   c",
)
"""Texts that every rebuilt encoding must split as the file's own tokenizer does: contractions, digits, scripts, marks,
blanks, signs."""


class Measured(Protocol):
    """An encoded text."""

    def reach(self, budget: int) -> int:
        """Number of characters that the first `budget` tokens cover whole; by themselves they may take a token or two
        more or fewer."""
        ...

    def count(self, end: int) -> int:
        """Number of tokens of the text's first `end` characters by themselves."""
        ...


class Flowing(Measured, Protocol):
    """The unread text of a document, encoded once while it is read on: what counts as the text begins where the last
    drop ended."""

    def __len__(self) -> int:
        """Characters encoded so far."""
        ...

    def extend(self, more: str) -> None:
        """Reads on. Tokens behind the last `settled` place of the text before may change."""
        ...

    def drop(self, size: int) -> None:
        """Takes the first `size` characters away; what follows is then measured as by itself."""
        ...

    def settled(self, least: int) -> int | None:
        """The first place from `least` on whose tokens before it depend on nothing behind it; None where there is
        none."""
        ...

    def splits(self, text: str) -> bool:
        """Whether `text` can be split near its beginning: else reading on would encode most of it again and again."""
        ...


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
    def measure(self, text: str) -> Measured:
        """`text` encoded once, to be cut and counted without encoding it again."""

    def flow(self) -> Flowing | None:
        """A text to be read on, yet empty; None for a tokenizer of which it is not known where a text can be split."""
        return None

    def reach(self, text: str, budget: int) -> int:
        """`measure(text).reach(budget)`, without encoding much more than that."""
        return self.measure(text).reach(budget)

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
        self,
        encoding: tiktoken.Encoding,
        lengths: Sequence[int],
        splits: bool,
        composed: bool,
        spare: HuggingFaceTokens,
    ) -> None:
        super().__init__(spare.name, spare.specials)
        self._encoding = encoding
        self.lengths = lengths
        """Bytes of the token with each id; 0 for ids that no text has."""
        self.splits = splits
        """Whether text splits as `KNOWN_PATTERNS` says."""
        self._composed = composed
        self._spare = spare

    def encode(self, text: str) -> list[int]:
        text = _clean(text)
        return self._encode(text if self._is_composed(text) else unicodedata.normalize("NFC", text))

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The UTF-8 bytes of tokens; they may begin or end inside a character."""
        return self._encoding.decode_bytes(ids)

    def measure(self, text: str) -> Measured:
        return _Encoded(self, text)

    def flow(self) -> Flowing | None:
        return _Encoded(self) if self.splits else None

    def sizes(self, text: str) -> list[int]:
        """How many UTF-8 bytes of `text` (without surrogates) each token covers. Where tokens end inside a character of
        a text that is composed first, only that is true of their sum."""
        if self._is_composed(text):
            return list(map(self.lengths.__getitem__, self._encode(text)))
        starts = [*self._spare.starts(text), len(text)]
        ends, passed = [0], 0
        for start, after in pairwise(starts):
            passed += len(text[start:after].encode())
            ends.append(passed + (start == after and text[start : start + 1] > "\x7f"))
        return [end - begin for begin, end in pairwise(ends)]

    def reach(self, text: str, budget: int) -> int:
        size = (
            8 * budget + 64
        )  # more characters than `budget` tokens of most texts, so that a long text is not encoded whole
        while (found := self.measure(text[:size]).reach(budget)) >= size and size < len(text):
            size *= 4
        return found

    def _is_composed(self, text: str) -> bool:
        return not self._composed or unicodedata.is_normalized("NFC", text)

    def _encode(self, text: str) -> list[int]:
        try:
            ids: list[int] = []
            for piece in _bounded(text):
                more = self._encoding.encode_ordinary(piece)
                ids = [*ids, *more] if ids else more
            return ids
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # how a failure inside the extension arrives; not an Exception
                raise
            return self._spare.encode(text)


class _Encoded:
    """A text with its byte-level tokens: each is a stretch of the text's UTF-8 bytes, so a prefix's tokens are found by
    length, and where the text can be split, both parts keep theirs."""

    def __init__(self, tokens: TiktokenTokens, text: str = "") -> None:
        self._tokens = tokens
        self._text = ""
        self._sizes: list[int] = []
        self._known = 0, 0, 0
        """A number of characters, that of the tokens which cover them, and how many bytes more these cover."""
        self.extend(text)

    def __len__(self) -> int:
        return len(self._text)

    def extend(self, more: str) -> None:
        at = self._split_before(len(self._text))
        kept = self._before(at)
        self._text += _clean(more)
        self._sizes[kept:] = self._tokens.sizes(self._text[at:])
        self._known = 0, 0, 0

    def drop(self, size: int) -> None:
        rest = self._text[size:]
        at = _split(rest, 1, NEAR)
        if at is None:  # as if it had not been read yet
            self._text, self._sizes = "", []
        else:
            self._sizes[: self._before(size + at)] = self._tokens.sizes(rest[:at])
            self._text = rest
        self._known = 0, 0, 0

    def settled(self, least: int) -> int | None:
        return _split(self._text, least, len(self._text))

    def splits(self, text: str) -> bool:
        return _split(text, 1, NEAR) is not None

    def reach(self, budget: int) -> int:
        if budget >= len(self._sizes):
            return len(self._text)
        budget = max(0, budget)
        size = sum(self._sizes[:budget])
        covered = self._text[:size].encode()[:size].decode("utf-8", "ignore")
        self._known = len(covered), budget, size - len(covered.encode())
        return len(covered)

    def count(self, end: int) -> int:
        at = self._split_before(end)
        return self._before(at) + self._tokens.count(self._text[at:end])

    def _before(self, at: int) -> int:
        """Number of tokens before the text's beginning or end or a place where it can be split; goes there from the
        nearest place that is known."""
        known, count, over = min(
            self._known, (len(self._text), len(self._sizes), 0), key=lambda place: abs(place[0] - at)
        )
        if at == 0:
            return 0
        if at <= known:
            left = over + len(self._text[at:known].encode())
            while left > 0:
                count -= 1
                left -= self._sizes[count]
        else:
            left = len(self._text[known:at].encode()) - over
            while left > 0:
                left -= self._sizes[count]
                count += 1
        return count

    def _split_before(self, end: int) -> int:
        """The last place up to `end` where the text may be encoded in two parts; 0 where none is near."""
        if self._tokens.splits:
            for at in range(end, max(0, end - NEAR), -1):
                if self._text[at : at + 1] in STOPS and _ends_word(self._text[at - 1]):
                    return at
        return 0


class HuggingFaceTokens(LoadedTokens):
    """Any tokenizer file, through `tokenizers`."""

    def __init__(self, name: str, specials: Sequence[str], tokenizer: Tokenizer) -> None:
        super().__init__(name, specials)
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return [token for piece in _bounded(_clean(text)) for token in self._ids(piece)]

    def measure(self, text: str) -> Measured:
        text = _clean(text)
        return _Offsets(text, self.starts(text), self)

    def starts(self, text: str) -> list[int]:
        """The character of `text` (without surrogates) in which each token begins."""
        starts: list[int] = []
        passed = 0
        for piece in _bounded(text):
            starts += (passed + start for start, _ in self._tokenizer.encode(piece, add_special_tokens=False).offsets)
            passed += len(piece)
        return starts

    def _ids(self, piece: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False).ids
        return ids


class _Offsets:
    """A text with the place where each of its tokens starts."""

    def __init__(self, text: str, starts: list[int], tokens: LoadedTokens) -> None:
        self._text = text
        self._starts = starts
        self._tokens = tokens

    def reach(self, budget: int) -> int:
        return self._starts[max(0, budget)] if budget < len(self._starts) else len(self._text)

    def count(self, end: int) -> int:
        return self._tokens.count(self._text[:end])


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
        # `tokenizers` parses added tokens inside text; without them in the file it cannot. What is no control token
        # (runs of blanks, in some files) is ordinary text and stays.
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
        fast = _rebuild(spec, spare)
    except Differs:
        return spare
    if kept or any(fast.encode(probe) != spare.encode(probe) for probe in (*_PROBES, *specials)):
        return spare
    return fast


def _split(text: str, least: int, most: int) -> int | None:
    """The first place, from `least` to `most`, where `text` may be encoded in two parts by a known pattern."""
    for found in _SPLIT.finditer(text, max(0, least - 1), most + 1):
        if _ends_word(found[0]):
            return found.end()
    return None


def _ends_word(char: str) -> bool:
    """Whether a match of a known pattern that holds this letter or digit holds no blank or stop behind it."""
    return char.isalpha() or "0" <= char <= "9"


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


def _clean(text: str) -> str:
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _rebuild(spec: Mapping[str, Any], spare: HuggingFaceTokens) -> TiktokenTokens:
    """The file through tiktoken. Raises `Differs` with the first reason against it."""
    model = spec["model"]
    if model.get("type") != "BPE":
        raise Differs("not BPE")
    for field in ("byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(field):
            raise Differs(field)
    expression, ranks = pattern(spec.get("pre_tokenizer")), ranks_of(model)
    encoding = tiktoken.Encoding("tokenizer.json", pat_str=expression, mergeable_ranks=ranks, special_tokens={})
    # A pattern that leaves characters out would lose them here, while `tokenizers` keeps them as pieces of their own.
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x20000))))
    if encoding.decode(encoding.encode_ordinary(every)) != every:
        raise Differs("the pattern leaves characters out")
    lengths = [0] * (max(ranks.values()) + 1)
    for content, token in ranks.items():
        lengths[token] = len(content)
    return TiktokenTokens(encoding, lengths, expression in KNOWN_PATTERNS, composes(spec.get("normalizer")), spare)
