"""Markdown: the text stays as it is written; headings become marks, with the ids that GitHub gives them. Of a block of
YAML before it only the title is understood."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice

from longfold_server.ingest.formats.delimited import split_lines
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind
from longfold_server.ingest.text import pieces
from longfold_server.ingest.titles import tidy

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<text>.*)$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")
_NO_ID = re.compile(r"[^\w\- ]")
_NOT_TEXT = re.compile(r"\s*(?:[-*+>|#]|\d+[.)]\s|$)")
"""Lines that cannot be the text of an underlined heading."""
_MATTER_BEGINS = re.compile(r"---[ \t]*$")
_MATTER_ENDS = re.compile(r"(?:---|\.\.\.)[ \t]*$")
_KEY = re.compile(r"(?:\"[^\"]*\"|[^\s\"#:-][^:]*):(?:\s|$)")
_YAML = re.compile(rf"\s|[-#\]}}]|{_KEY.pattern}")
"""A line of a block of YAML: a key, or what belongs to one."""
_TITLE = re.compile(r"""title[ \t]*:[ \t]+(?:"(?P<double>.*)"|'(?P<single>.*)'|(?P<plain>[^\s>|&*!"'].*))[ \t]*$""")
LONGEST_MATTER = 64 * 1024
"""Characters of YAML that are held until its end is seen."""


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    writer.mark(Kind.LINE, "1")
    seen: dict[str, int] = {}
    first = ""
    matter, lines = _front_matter(split_lines(pieces(source.path, source.encoding)))
    writer.write("".join(matter))
    for line, heading in _lines(lines):
        if heading:
            writer.mark(Kind.HEADING, heading, _anchor(heading, seen))
            first = first or heading
        writer.write(line)
    titles = (found for line in matter if (found := _TITLE.match(line)))
    return Labels(next((tidy(found[found.lastgroup or 0]) for found in titles), ""), first)


def _front_matter(lines: Iterator[str]) -> tuple[list[str], Iterator[str]]:
    """The block of YAML that a text begins with, if it does, and the lines behind it."""
    held = list(islice(lines, 2))
    if len(held) == 2 and _MATTER_BEGINS.match(held[0]) and _KEY.match(held[1]):
        size = 0
        for line in lines:
            held.append(line)
            if _MATTER_ENDS.match(line):
                return held, lines
            size += len(line)
            if size > LONGEST_MATTER or not _YAML.match(line):
                break
    return [], chain(held, lines)


def _lines(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """(line, the heading it begins or ""); a heading may be told by the line below it."""
    fence = ""
    held: str | None = None
    """A line that the next one may make a heading."""
    for line in lines:
        opened = _FENCE.match(line)
        if held is not None:
            underlined = not fence and _UNDERLINE.match(line)
            yield held, tidy(held) if underlined else ""
            held = None
            if underlined:
                yield line, ""
                continue
        if opened and not fence:
            fence = opened["fence"]
        elif opened and opened["fence"].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        found = None if fence or opened else _HEADING.match(line)
        if found:
            yield line, tidy(_unclosed(found["text"]))
        elif fence or opened or _NOT_TEXT.match(line):
            yield line, ""
        else:
            held = line
    if held is not None:
        yield held, ""


def _unclosed(heading: str) -> str:
    """Without the marks that may stand behind a heading, apart from its text."""
    heading = heading.rstrip()
    bare = heading.rstrip("#")
    return heading if bare[-1:].strip() else bare


def _anchor(heading: str, seen: dict[str, int]) -> str:
    anchor = _NO_ID.sub("", heading.lower()).replace(" ", "-")
    count = seen.get(anchor, 0)
    seen[anchor] = count + 1
    return f"{anchor}-{count}" if count else anchor
