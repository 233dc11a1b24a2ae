"""Provenance: which chunk introduced each line of the memory, found by comparing the memory before and after every
step.

Needs no help from the model. Knows places only (chunk, document, characters), never the documents' text.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nsmallest
from typing import Self

from longfold_agent.errors import ResumeRefused
from longfold_agent.sentences import sentences
from longfold_agent.types import Chunk, Step, UpdateKind

SIMILAR = 0.6
"""From this ratio of `difflib` on, a new line is an old one edited: it has a new source, and remembers where it came
from."""
LONG_LINE = 400
"""Characters; a longer line (models also write paragraphs) is followed sentence by sentence, or one edit would move it
whole."""
_CANDIDATES = 3
"""Old lines a new line is compared with, those that share most rare words: comparing all would be quadratic in the
memory."""
_ALL = 6
"""With at most this many old lines left each is compared."""
_SURE = 0.9
"""From this ratio on no other old line is looked at."""
_RARE = 12
"""Words of a line that are looked up for candidates."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Source:
    """A chunk's place."""

    chunk: int
    document: int
    start: int
    """Characters of the document's canonical text."""
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the memory (or a sentence of a long one) and where it comes from."""

    text: str
    source: Source
    """The chunk at whose step the line took this wording."""
    origin: Source | None = None
    """For an edited line the chunk that introduced its first version."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """One entry for each line of the current memory, in the memory's order; bounded by it."""

    lines: tuple[Line, ...] = ()

    def observe(self, step: Step, chunk: Chunk) -> Self:
        """After `step`, whose call read `chunk`. Steps that left the memory alone leave this alone.

        Lines are matched by exact text wherever they moved; of the others an edited line (similarity >= 0.6) takes the
        new chunk and remembers its origin, and the rest are new. Raises ValueError for a step of another chunk.
        """
        if step.update is not UpdateKind.REWRITE:
            return self
        if step.chunk != chunk.index:
            raise ValueError(f"step {step.id} did not read chunk {chunk.index}")
        here = Source(chunk.index, chunk.start.document, chunk.start.char, chunk.end.char)
        held: dict[str, deque[Line]] = defaultdict(deque)
        for line in self.lines:
            held[line.text].append(line)
        texts = list(units(step.memory))
        kept = [held[text].popleft() if held.get(text) else None for text in texts]
        edits = _Edits([line for lines in held.values() for line in lines])
        lines = [old or edits.line(text, here) for text, old in zip(texts, kept, strict=True)]
        return type(self)(tuple(lines))

    def to_json(self) -> str:
        """One line of ASCII JSON; places that several lines share are written once."""
        places: dict[Source | None, int] = {None: -1}
        rows = []
        for line in self.lines:
            for source in (line.source, line.origin):
                places.setdefault(source, len(places) - 1)
            rows.append([line.text, places[line.source], places[line.origin]])
        spans = [[place.chunk, place.document, place.start, place.end] for place in places if place is not None]
        return json.dumps({"sources": spans, "lines": rows}, separators=(",", ":"))

    @classmethod
    def from_json(cls, saved: str) -> Self:
        """Raises `ResumeRefused` when `saved` is not what `to_json` wrote."""
        try:
            state = json.loads(saved)
            sources = [Source(*(_count(value) for value in place)) for place in state["sources"]]
            lines = tuple(_row(row, sources) for row in state["lines"])
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise ResumeRefused(f"the saved provenance cannot be read: {type(error).__name__}") from error
        return cls(lines)


def units(memory: str) -> Iterator[str]:
    """What is followed: the memory's lines without outer blanks, long ones by sentence; empty lines carry nothing."""
    for line in memory.splitlines():
        text = line.strip()
        if len(text) > LONG_LINE:
            yield from (text[start:end] for start, end in sentences(text, LONG_LINE))
        elif text:
            yield text


class _Edits:
    """Finds for a new line the old line it was made of; every old line serves once."""

    def __init__(self, gone: list[Line]) -> None:
        self._gone = gone
        self._free = set(range(len(gone)))
        self._having: dict[str, list[int]] = defaultdict(list)
        for i, line in enumerate(gone):
            for word in sorted(_words(line.text)):
                self._having[word].append(i)

    def line(self, text: str, here: Source) -> Line:
        best, found = SIMILAR, None
        matcher = SequenceMatcher(None, "", text, autojunk=False)
        for i in self._candidates(text):
            matcher.set_seq1(self._gone[i].text)
            if matcher.real_quick_ratio() < best or matcher.quick_ratio() < best or (ratio := matcher.ratio()) < best:
                continue
            if found is None or ratio > best:
                best, found = ratio, i
            if best >= _SURE:
                break
        if found is None:
            return Line(text, here)
        self._free.discard(found)
        old = self._gone[found]
        return Line(text, here, old.origin or old.source)

    def _candidates(self, text: str) -> list[int]:
        words = [word for word in sorted(_words(text)) if word in self._having]
        rare = nsmallest(_RARE, words, key=lambda word: len(self._having[word]))
        shared = Counter(i for word in rare for i in self._having[word] if i in self._free)
        if len(self._free) <= _ALL:  # few enough to compare all, also those that share letters but no whole word
            return sorted(self._free, key=lambda i: (-shared[i], i))
        return [i for i, _ in sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:_CANDIDATES]]


def _words(text: str) -> set[str]:
    """Words and, for scripts without spaces, pairs of characters."""
    words = _WORD.findall(text.casefold())
    return {
        part for word in words for part in ([word] if word.isascii() else (word[i : i + 2] for i in range(len(word))))
    }


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a count")
    return value


def _row(row: list[object], sources: list[Source]) -> Line:
    text, source, origin = row
    if not isinstance(text, str) or not isinstance(origin, int):
        raise ValueError("not a line")
    return Line(text, sources[_count(source)], None if origin == -1 else sources[_count(origin)])
