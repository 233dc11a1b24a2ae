"""JSON (RFC 8259) and JSON lines. The values of a long array stand on a line each, whatever the file's layout, and are
its records; everything else stays as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from longfold_server.ingest.detect import JSONL
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind
from longfold_server.ingest.text import pieces

# A whole string (its characters hold no structure), a bracket, a comma, or white space that has a line end.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},]|[ \t]*[\r\n]\s*+', re.DOTALL)
_BLANK = " \t\r\n"
LONGEST_STRING = 4_000_000
"""Characters of a string that is waited for; the text behind a longer one is passed on as it is."""


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    text = pieces(source.path, source.encoding)
    if source.media_type == JSONL:
        writer.mark(Kind.RECORD, "1")
        for piece in text:
            writer.write(piece)
        return Labels()
    first = ""
    for piece in text:
        first += piece
        if first.strip():
            break
    if not first.lstrip().startswith("["):
        _as_written(first, text, writer)
        return Labels()
    for kind, value in _tokens(first, text):
        if kind == "open":
            writer.write(value)
            writer.write("\n")
            writer.mark(Kind.RECORD, "1")
        elif kind == "end":
            writer.write(f"{value}\n")
        else:
            writer.write(value)
    return Labels()


def _as_written(first: str, text: Iterable[str], writer: Writer) -> None:
    writer.mark(Kind.LINE, "1")
    writer.write(first)
    for piece in text:
        writer.write(piece)


def _tokens(first: str, text: Iterator[str]) -> Iterator[tuple[str, str]]:
    """The text in pieces: ("open", the outer array's bracket), ("end", what ends a value of it), ("text", all else).
    Line ends inside values become a space."""
    depth = 0
    rest = first
    more = True
    while more or rest:
        piece = next(text, None)
        more = piece is not None
        rest += piece or ""
        place = begin = 0
        for match in _TOKEN.finditer(rest):
            token = match.group()
            sign = token[0]
            if more and ('"' in rest[place : match.start()] or (match.end() == len(rest) and sign in _BLANK)):
                break  # a string, or white space, that goes on in the next piece
            place = match.end()
            if sign == '"':
                continue
            if sign in "[{":
                depth += 1
                if depth == 1:
                    yield "open", rest[begin:place]
                    begin = place
            elif sign in "]}":
                depth -= 1
                if depth == 0:
                    yield "text", f"{rest[begin : match.start()]}\n{token}"
                    begin = place
            elif sign == ",":
                if depth == 1:
                    yield "end", rest[begin:place]
                    begin = place
            else:
                yield "text", rest[begin : match.start()] + (" " if depth > 1 else "")
                begin = place
        yield "text", rest[begin:place]
        rest = rest[place:]
        if not more or len(rest) > LONGEST_STRING:
            yield "text", rest
            rest = ""
