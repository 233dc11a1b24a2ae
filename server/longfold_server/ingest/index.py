"""The index of a canonical text: where pages, sheets, headings, files and rows begin, and what could not be read.
Knows no format and no store.

A file of JSON lines: `["type", media type]`, then `[start, kind, value]` or `[start, kind, value, anchor]` in the order
of `start`, then `["skipped", path, reason, message]`, of which one that stands for several has their number behind.
Counts of lines are not in it: who keeps the text knows them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

LONGEST_VALUE = 200
"""Characters of a heading, a sheet's name or an anchor; a path may have `LONGEST_PATH`."""
LONGEST_PATH = 1_000
MOST_MARKS = 500_000
"""Who looks for a place reads the marks before it: seconds for so many."""
MOST_SKIPPED = 1_000
"""Parts that are listed as not read; what comes after is only counted."""
MOST_COUNTED = 10**12
LONGEST_ROW = 16_384
"""Bytes of one line of the file: four paths in JSON's escapes."""


class Kind(StrEnum):
    """What begins at a mark."""

    FILE = "file"
    """A member of an archive; the value is its path."""
    PART = "part"
    """A part of a mail; the value is its name."""
    CHAPTER = "chapter"
    LINE = "line"
    """Text whose lines are the source's; the value is the number of the first."""
    PAGE = "page"
    """The value is its number, from 1, as with slides."""
    SLIDE = "slide"
    SHEET = "sheet"
    HEADING = "heading"
    ROW = "row"
    """Rows, one per line from here on; the value is the number of the first. Records likewise."""
    RECORD = "record"


_RANK = {
    Kind.FILE: 0,
    Kind.PART: 1,
    Kind.CHAPTER: 2,
    Kind.LINE: 2,
    Kind.PAGE: 3,
    Kind.SLIDE: 3,
    Kind.SHEET: 3,
    Kind.HEADING: 4,
    Kind.ROW: 5,
    Kind.RECORD: 5,
}
"""From outer to inner. A mark ends the marks before it that have its rank or an inner one."""

_NOUNS = {
    Kind.PAGE: ("p.", "pp."),
    Kind.SLIDE: ("slide", "slides"),
    Kind.ROW: ("row", "rows"),
    Kind.RECORD: ("record", "records"),
    Kind.LINE: ("line", "lines"),
}
"""One and several of what is numbered."""

_NUMBER = re.compile("[0-9]{1,12}")


class Reason(StrEnum):
    """Why a part of a document was not read; part of the API."""

    SCANNED_PAGE = "scanned_page"
    ENCRYPTED = "encrypted"
    BINARY = "binary"
    LINK = "link"
    UNSAFE_PATH = "unsafe_path"
    TOO_DEEP = "too_deep"
    VENDORED = "vendored"
    UNSUPPORTED = "unsupported"
    UNDECODABLE = "undecodable"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Mark:
    """One place in a canonical text, at the beginning of a line."""

    start: int
    """Characters before it."""
    kind: Kind
    value: str
    anchor: str = ""
    """What a link names it by: an id of HTML; "" where there is none."""


UNMARKED = Mark(0, Kind.LINE, "1")
"""The only mark of a text without an index: its lines are its source's."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of a document that is not in its text."""

    path: str
    """Of the member of an archive, or "page 12"."""
    reason: Reason
    message: str
    """One sentence for people."""
    count: int = 1
    """Parts that it stands for: the last that is listed, also for all behind it."""


@dataclass(frozen=True, slots=True)
class Locator:
    """Where a span stands, in words and for a link."""

    text: str
    """ "p. 12", "sheet Q3 row 40", "src/a.py:10-24", "lines 3-5"."""
    fragment: str = ""
    """ "page=12" or an anchor; "" where a link can only lead to the whole document."""
    file: str = ""
    """Path inside an archive; "" outside one. A fragment belongs to this file, not to the archive's URL."""


def row(entry: Mark | Skipped) -> str:
    """The entry's line of the file, with its newline."""
    if isinstance(entry, Skipped):
        told = ["skipped", entry.path, entry.reason, entry.message]
        return json.dumps(told if entry.count == 1 else [*told, entry.count]) + "\n"
    fields = [entry.start, entry.kind, entry.value]
    return json.dumps([*fields, entry.anchor] if entry.anchor else fields) + "\n"


def type_row(media_type: str) -> str:
    """The first line of the file."""
    return json.dumps(["type", media_type]) + "\n"


def media_type(path: Path) -> str:
    """What the document was taken for. Raises `ValueError` for what is no index."""
    with path.open("rb") as file:
        first = _line(file.readline(LONGEST_ROW))
    match first:
        case ["type", str(found)]:
            return found
    raise ValueError("the index does not begin with its type")


def read(path: Path) -> Iterator[Mark | Skipped]:
    """The entries of an index file, one line in memory at a time. Raises `ValueError` for a malformed line."""
    with path.open("rb") as file:
        file.readline(LONGEST_ROW)
        while line := file.readline(LONGEST_ROW):
            match _line(line):
                case ["skipped", str(member), str(reason), str(message)]:
                    yield Skipped(member, Reason(reason), message)
                case ["skipped", str(member), str(reason), str(message), int(several)] if 1 < several <= MOST_COUNTED:
                    yield Skipped(member, Reason(reason), message, several)
                case [int(start), str(kind), str(value)]:
                    yield Mark(start, Kind(kind), value)
                case [int(start), str(kind), str(value), str(anchor)]:
                    yield Mark(start, Kind(kind), value, anchor)
                case _:
                    raise ValueError("a line of the index is malformed")


def marks(path: Path) -> Iterator[Mark]:
    """The marks alone."""
    return (entry for entry in read(path) if isinstance(entry, Mark))


def skipped(path: Path) -> Iterator[Skipped]:
    """What was skipped alone."""
    return (entry for entry in read(path) if isinstance(entry, Skipped))


def check(path: Path, characters: int) -> None:
    """Raises `ValueError` unless the file is an index of a text of so many characters: a parser may have been taken
    over by what it read."""
    media_type(path)
    last = 0
    for count, entry in enumerate(read(path)):
        if count > MOST_MARKS + MOST_SKIPPED:
            raise ValueError("the index is too long")
        if isinstance(entry, Mark):
            if not last <= entry.start <= characters:
                raise ValueError("the index is out of order")
            if entry.kind in _NOUNS and not _NUMBER.fullmatch(entry.value):
                raise ValueError("a number in the index is none")
            last = entry.start


def locate(entries: Iterable[Mark | Skipped], start: int, end: int, lines: Callable[[int], int]) -> Locator:
    """Where the characters from `start` to before `end` stand. `lines` gives the newlines before a place."""
    here: dict[int, Mark] = {}
    first: dict[int, Mark] | None = None
    final = max(start, end - 1)
    for entry in entries:
        if isinstance(entry, Skipped) or entry.start > final:
            break
        if entry.start > start and first is None:
            first = dict(here)
        rank = _RANK[entry.kind]
        for inner in [other for other in here if other >= rank]:
            del here[inner]
        here[rank] = entry
    return _describe(here if first is None else first, here, start, final, lines)


def _describe(
    first: dict[int, Mark], last: dict[int, Mark], start: int, final: int, lines: Callable[[int], int]
) -> Locator:
    """`first` and `last` are the marks in force at the two ends."""
    if not first:
        return Locator(f"characters {start}-{final + 1}")
    file, part, upper, leaf, heading, counted = (first.get(rank) for rank in range(6))
    names = [mark.value for mark in (file, part) if mark]
    words = []

    def together(rank: int) -> Mark | None:
        """The mark at the end of the span, when nothing further out than `rank` lies between its ends."""
        until = last.get(rank)
        same = until is not None and until.kind is first[rank].kind
        return until if same and all(first.get(outer) == last.get(outer) for outer in range(min(rank, 4))) else None

    def count(rank: int, mark: Mark) -> str:
        begin = int(mark.value) + lines(start) - lines(mark.start)
        until = together(rank)
        return _span(begin, int(until.value) + lines(final) - lines(until.start) if until else begin)

    if upper and upper.kind is Kind.CHAPTER:
        words.append(f'chapter "{upper.value}"')
    if leaf and leaf.kind is Kind.SHEET:
        words.append(f"sheet {leaf.value}")
    elif leaf:
        until = together(3)
        span = _span(int(leaf.value), int(until.value) if until else 0)
        words.append(f"{_NOUNS[leaf.kind]['-' in span]} {span}")
    if counted:
        span = count(5, counted)
        found = f"{_NOUNS[counted.kind]['-' in span]} {span}"
        if leaf and leaf.kind is Kind.SHEET:
            words[-1] += f" {found}"
        else:
            words.append(found)
    if heading and not leaf and not (upper and upper.value == heading.value):
        words.append(f'section "{heading.value}"')
    if upper and upper.kind is Kind.LINE and not counted:
        span = count(2, upper)
        if file and not part:
            names[-1] += f":{span}"
        else:
            words.append(f"{_NOUNS[Kind.LINE]['-' in span]} {span}")
    fragment = f"page={leaf.value}" if leaf and leaf.kind is Kind.PAGE else ""
    for mark in (heading, upper):
        fragment = fragment or (mark.anchor if mark else "")
    return Locator(", ".join(names + words), fragment, file.value if file else "")


def _span(begin: int, until: int) -> str:
    return f"{begin}-{until}" if until > begin else str(begin)


def _line(line: bytes) -> object:
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("a line of the index is malformed") from None
