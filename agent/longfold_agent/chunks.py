"""Streams ordered documents as chunks of at most a token budget, cut at natural places. Knows no files, prompts or
models.

A cut depends only on the text that follows the chunk's start, on the budget and on the tokenizer, never on how the
text arrives or on earlier chunks: restarting at the end of any chunk gives the same later chunks. Nothing is lost: the
chunks of a document concatenate to the document.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Protocol, runtime_checkable

from longfold_agent.protocols import Tokens
from longfold_agent.types import Chunk, Position

BEGINNING = Position()
SLACK = 0.15
"""Largest part of a full chunk given up to end it at a natural place."""
LONGEST_TOKEN = 32
"""Characters per token that a chunk may reach on average; beyond (megabytes of blanks), characters end it, so memory
is bounded."""
TYPICAL_TOKEN = 4
"""Characters per token of common prose; where to look for a sample."""
SAMPLE_CHARACTERS = 1024
"""Most characters of one of the four stretches encoded to guess how much text a chunk takes; a wrong guess costs time
only."""
MARGIN = 1.1
"""How much more than the guess is encoded, so that one encoding is nearly always enough."""
BLOCK = 16_384
"""Characters encoded at a time where a text is encoded only once: few calls, little memory."""

_CLOSING = "\"'\u2018\u2019\u201c\u201d\u00bb\u203a)\\]}\u300d\u300f\u3011\uff09\u300b\u3009*_"
_BREAKS = (
    re.compile(r"\n(?:[^\S\n]*\n)+"),
    re.compile(r"\n|\r(?!\n)|[\u0085\u2028\u2029]"),
    re.compile(rf"[.!?\u2026\u061f\u06d4\u0964][{_CLOSING}]*\s+|[\u3002\uff01\uff1f\uff0e\uff61][{_CLOSING}]*\s*"),
    re.compile(r"[^\S\u00a0\u202f\u2060]+|\u200b"),
)
"""Ends of a paragraph, a line, a sentence, a word, in order of preference; a chunk ends where a match ends."""


class TextSource(Protocol):
    """Ordered documents of canonical text."""

    @property
    def documents(self) -> int:
        """How many there are."""
        ...

    def pieces(self, document: int, start: Position) -> Iterator[str]:
        """The text of one document from `start` (char and byte offset of the same place) to its end, in pieces of any
        size."""
        ...


class Texts:
    """A `TextSource` over strings in memory."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)

    @property
    def documents(self) -> int:
        return len(self._texts)

    def pieces(self, document: int, start: Position) -> Iterator[str]:
        yield self._texts[document][start.char :]


class _Measured(Protocol):
    def reach(self, budget: int) -> int: ...

    def count(self, end: int) -> int: ...


class _Flow(_Measured, Protocol):
    def __len__(self) -> int: ...

    def extend(self, more: str) -> None: ...

    def drop(self, size: int) -> None: ...

    def settled(self, least: int) -> int | None: ...

    def splits(self, text: str) -> bool: ...


@runtime_checkable
class _Measuring(Protocol):
    """Tokens that encode a text once for several questions (see `longfold_agent.tokens`); any other `Tokens` works as
    well."""

    def measure(self, text: str) -> _Measured: ...

    def flow(self) -> _Flow | None: ...


class _Plain:
    def __init__(self, text: str, tokens: Tokens) -> None:
        self._text = text
        self._tokens = tokens

    def reach(self, budget: int) -> int:
        return self._tokens.fit(self._text, budget)

    def count(self, end: int) -> int:
        return self._tokens.count(self._text[:end])


def chunks(
    source: TextSource, tokens: Tokens, budget: int, start: Position = BEGINNING, first_index: int = 0
) -> Generator[Chunk, None, None]:
    """Chunks of the documents from `start` on, numbered from `first_index`; at most `budget` tokens each, never across
    documents.

    An empty document gives no chunk. A chunk ends, within the last 15 % of what fits, after a blank line, else a line,
    a sentence, a word, else between two characters (not inside a line end or a combined character where that can be
    helped). Only a character that alone takes more than `budget` tokens makes a chunk over budget. Memory: a few times
    the characters of one chunk.

    The iterator blocks while it reads and encodes; an event loop uses `stream_chunks`. Raises `ValueError` for a
    budget below one.
    """
    if budget < 1:
        raise ValueError(f"a chunk needs a budget of at least one token, not {budget}")
    return _chunks(source, tokens, budget, start, first_index)


def _chunks(
    source: TextSource, tokens: Tokens, budget: int, start: Position, index: int
) -> Generator[Chunk, None, None]:
    for document in range(start.document, source.documents):
        at = start if document == start.document else Position(document)
        pieces = source.pieces(document, at)
        unread = _Unread(_Window(pieces), tokens, budget)
        try:
            while (cut := _cut(unread, budget)) is not None:
                text, count = cut
                end = Position(document, at.char + len(text), at.byte + len(text.encode("utf-8", "surrogatepass")))
                yield Chunk(index, at, end, text, count)
                unread.drop(len(text))
                at, index = end, index + 1
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


async def stream_chunks(
    source: TextSource, tokens: Tokens, budget: int, start: Position = BEGINNING, first_index: int = 0
) -> AsyncIterator[Chunk]:
    """`chunks` for an event loop: each chunk is read and encoded in a worker thread when it is asked for."""
    loop = asyncio.get_running_loop()
    iterator = chunks(source, tokens, budget, start, first_index)
    step = None
    try:
        while True:
            step = loop.run_in_executor(None, next, iterator, None)
            chunk = await asyncio.shield(step)
            if chunk is None:
                return
            yield chunk
    finally:
        # A cancelled reader leaves its thread inside the iterator, which can only be closed after that.
        if step is None or step.done():
            iterator.close()
        else:
            step.add_done_callback(lambda _: iterator.close())


class _Window:
    """The unread text from the current place on, filled from pieces as far as it is looked at."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._start = 0
        self._ended = False

    def head(self, size: int) -> tuple[str, bool]:
        """The next `size` characters, fewer only at the end of the document; and whether the document ends with
        them."""
        if len(self._text) - self._start <= size and not self._ended:
            parts = [self._text[self._start :]]
            length = len(parts[0])
            while length <= size:  # one character more than asked for shows whether the text goes on
                piece = next(self._pieces, None)
                if piece is None:
                    self._ended = True
                    break
                parts.append(piece)
                length += len(piece)
            self._text, self._start = "".join(parts), 0
        text = self._text[self._start : self._start + size]
        return text, self._ended and self._start + size >= len(self._text)

    def drop(self, size: int) -> None:
        self._start += size


class _Unread:
    """The unread text of a document, and what of it fits a chunk."""

    def __init__(self, window: _Window, tokens: Tokens, budget: int) -> None:
        self._window = window
        self._tokens = tokens
        self._budget = budget
        self._most = LONGEST_TOKEN * budget
        self._flow = tokens.flow() if isinstance(tokens, _Measuring) else None

    def head(self, size: int) -> str:
        """The next `size` characters, fewer only at the end of the document."""
        return self._window.head(size)[0]

    def drop(self, size: int) -> None:
        self._window.drop(size)
        if self._flow is not None:
            self._flow.drop(size)

    def fit(self) -> tuple[_Measured, int, bool]:
        """The text measured as far as is needed, how many characters the budget covers, and whether these are all."""
        return self._sampled() if self._flow is None else self._encoded_once(self._flow)

    def _encoded_once(self, flow: _Flow) -> tuple[_Measured, int, bool]:
        """Which way is taken, and so where the cut is, depends on the text alone, not on how much of it is encoded."""
        if not flow.splits(self.head(BLOCK)):
            return self._sampled()
        while True:
            limit = flow.reach(self._budget)
            settled = flow.settled(limit)
            if settled is not None and settled <= self._most:
                return flow, limit, False
            head, ended = self._window.head(len(flow) + max(BLOCK, len(flow) // 2))
            if ended and len(head) == len(flow) <= self._most:
                return flow, limit, limit == len(flow)
            if len(flow) >= self._most:
                return self._sampled()
            flow.extend(head[len(flow) :])

    def _sampled(self) -> tuple[_Measured, int, bool]:
        sample = _sample(self.head(TYPICAL_TOKEN * self._budget), self._budget)
        guess = self._budget * len(sample) / max(1, self._tokens.count(sample))
        size = min(self._most, int(guess * MARGIN) + 32)
        while True:
            measured, limit, whole = self._measured(size)
            if limit < size or whole or size == self._most:
                return measured, limit, whole
            size = min(self._most, size + size // 2)

    def _measured(self, size: int) -> tuple[_Measured, int, bool]:
        head, ended = self._window.head(size)
        tokens = self._tokens
        measured = tokens.measure(head) if isinstance(tokens, _Measuring) else _Plain(head, tokens)
        limit = measured.reach(self._budget)
        return measured, limit, ended and limit == len(head)


def _cut(unread: _Unread, budget: int) -> tuple[str, int] | None:
    """The next chunk's text and its tokens; None at the end of the document."""
    if not unread.head(1):
        return None
    measured, limit, whole = unread.fit()
    # Where both belong together, the character before the cut and the one after it are kept so.
    text = unread.head(max(1, limit) + 1)
    if whole and (count := measured.count(limit)) <= budget:
        return text, count
    limit = max(1, limit)
    less = 1
    while True:
        end = _break(text, max(1, int(limit * (1 - SLACK))), limit)
        count = measured.count(end)
        if count <= budget or end == 1:
            return text[:end], count
        limit = max(1, min(end - 1, limit - max(less, count - budget)))
        less *= 2


def _sample(text: str, budget: int) -> str:
    """Stretches spread over what is likely to become the chunk, a sixteenth of it."""
    size = min(SAMPLE_CHARACTERS, max(64, budget // 16))
    places = range(0, max(1, len(text) - size + 1), max(1, (len(text) - size) // 3))
    return "".join(text[at : at + size] for at in places)


def _break(text: str, low: int, high: int) -> int:
    """The best place to end a chunk of `text`, from `low` to `high` characters."""
    for pattern in _BREAKS:
        best = 0
        for match in pattern.finditer(text, low - 1, high):
            if match.end() >= low and not _joined(text, match.end()):
                best = match.end()
        if best:
            return best
    end = high
    while end > low and _joined(text, end):
        end -= 1
    return end if not _joined(text, end) else high


def _joined(text: str, at: int) -> bool:
    """Whether the characters before and after `at` belong together: a line end, a base and its marks, parts of one
    emoji or syllable."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if after < "\u0300":
        return (before == "\r" and after == "\n") or before == "\u200d"
    if before == "\u200d" or after in "\u200d\u20e3" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\U0001f1e6" <= after <= "\U0001f1ff":
        flags = 0
        while flags < at and "\U0001f1e6" <= text[at - 1 - flags] <= "\U0001f1ff":
            flags += 1
        return flags % 2 == 1
    if "\u1160" <= after <= "\u11ff":
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    return unicodedata.category(after)[0] == "M"
