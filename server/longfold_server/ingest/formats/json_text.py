"""JSON (RFC 8259) and JSON lines. The values of a long array stand on a line each, whatever the file's layout, and are
its records; everything else stays as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from longfold_server.ingest.detect import JSONL
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind
from longfold_server.ingest.text import pieces

# A string (its characters hold no structure) with its end or up to the end of the text, a bracket, a comma, or white
# space that has a line end.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},]|(?<![ \t])[ \t]*+[\r\n]\s*+', re.DOTALL)
_REST_OF_STRING = re.compile(r'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    text = pieces(source.path, source.encoding)
    if source.media_type == JSONL:
        writer.mark(Kind.RECORD, "1")
        for piece in text:
            writer.write(piece)
        return Labels()
    first = next(text)
    if not first.lstrip().startswith("["):
        _as_written(first, text, writer)
        return Labels()
    for kind, value in _tokens(chain([first], text)):
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


def _tokens(text: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The text in pieces: ("open", the outer array's bracket), ("end", what ends a value of it), ("text", all else).
    Line ends inside values become a space."""
    depth = 0
    inside = False
    """Whether a string goes on in the next piece."""
    escape = ""
    """The backslash with which the last piece ended inside a string."""
    for piece in text:
        piece = escape + piece
        escape = ""
        begin = place = 0
        if inside and (rest := _REST_OF_STRING.match(piece)):
            place, inside = rest.end(), not rest[1]
        for match in _TOKEN.finditer(piece, place) if not inside else ():
            token, place = match.group(), match.end()
            sign = token[0]
            if sign == '"':
                inside = not match[1]
            elif sign in "[{":
                depth += 1
                if depth == 1:
                    yield "open", piece[begin:place]
                    begin = place
            elif sign in "]}":
                depth -= 1
                if depth == 0:
                    yield "text", f"{piece[begin : match.start()]}\n{token}"
                    begin = place
            elif sign == ",":
                if depth == 1:
                    yield "end", piece[begin:place]
                    begin = place
            else:
                yield "text", piece[begin : match.start()] + (" " if depth > 1 else "")
                begin = place
        if inside and place < len(piece):
            escape = piece[place:]
        yield "text", piece[begin : len(piece) - len(escape)]
    yield "text", escape
