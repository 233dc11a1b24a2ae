"""Sentences: cuts a text into spans that can be quoted. A heuristic for many languages; knows no meaning and changes no
character."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 600
"""Characters; a longer stretch without a stop (tables, logs, lists) is cut at its line breaks, then at spaces."""
_WRAPPED = 40
"""A line at least this long that ends without a stop is taken for wrapped prose: its sentence goes on in the next
line."""
_STOP = re.compile("(?:[.!?\u2026]+|[\u3002\uff01\uff1f]+)[\"'\u2019\u201d\u00bb)\\]\u300d\u300f\uff09]*|\n")
_WIDE_STOPS = "\u3002\uff01\uff1f"
_SHORT = frozenset(
    {
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "nos",
        "vs",
        "etc",
        "e.g",
        "i.e",
        "cf",
        "fig",
        "figs",
        "eq",
        "vol",
        "pp",
        "inc",
        "ltd",
    }
    | {"co", "jr", "sr", "gen", "col", "capt", "approx", "ca"}
)
"""Abbreviations whose full stop ends no sentence."""


def sentences(text: str, longest: int = LONGEST) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence of `text` in characters, in order, without outer whitespace. Linear in the text."""
    start = 0
    for end in _ends(text):
        yield from _bounded(text, start, end, longest)
        start = end
    yield from _bounded(text, start, len(text), longest)


def _ends(text: str) -> Iterator[int]:
    line = 0
    for stop in _STOP.finditer(text):
        at = stop.end()
        if stop[0] == "\n":
            if not _continues(text, line, stop.start(), at):
                yield at
            line = at
        elif stop[0][0] in _WIDE_STOPS or at == len(text) or (text[at].isspace() and not _abbreviated(text, stop)):
            yield at


def _continues(text: str, line: int, end: int, after: int) -> bool:
    """Whether the line text[line:end] is wrapped prose that goes on at `after`."""
    following = text[after : after + 1]
    return (
        end - line >= _WRAPPED
        and (following.isalnum() or following in ("(", '"', "\u201c"))
        and text[end - 1] not in ":;|"
    )


def _abbreviated(text: str, stop: re.Match[str]) -> bool:
    if stop[0] != ".":
        return False
    before = text[max(0, stop.start() - 8) : stop.start()]
    word = before.split()[-1].lstrip("(\"'[").lower() if before and not before[-1].isspace() else ""
    if "." in word and text[stop.end() + 1 : stop.end() + 2].islower():
        return True  # "9.30 p.m. that day"
    return word in _SHORT or (len(word) == 1 and word.isalpha() and word != "i")


def _bounded(text: str, start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """The stretch in spans of at most `longest` characters, cut after a line break, else after a space, else
    anywhere."""
    while start < end:
        if text[start].isspace():
            start += 1
            continue
        cut = end
        if end - start > longest:
            limit = start + longest
            newline = text.rfind("\n", start, limit)
            space = text.rfind(" ", start + longest // 2, limit)
            cut = newline + 1 if newline > start else space + 1 if space > start else limit
        last = cut
        while last > start and text[last - 1].isspace():
            last -= 1
        yield start, last
        start = cut
