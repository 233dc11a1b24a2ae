"""Tables as text with separators (CSV, RFC 4180, and TSV), row by row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from longfold_server.ingest.detect import TSV
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.tables import Rows
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.text import pieces

LONGEST_LINE = 1_000_000
"""Characters; what follows counts as the next line, so that a file without line ends stays bounded."""
LONGEST_FIELD = 200_000
"""Characters. A longer one comes of a quotation mark that nothing closes, and its lines are then rows as they are."""
SAMPLE_LINES = 50
SEPARATORS = ",;\t|"

_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL = re.compile(r"[^,]*(?:\d,\d[^,]*)?\Z")
"""A cell in which a comma is none or that of one number."""


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    csv.field_size_limit(LONGEST_FIELD)
    lines = split_lines(pieces(source.path, source.encoding))
    sample = list(islice(lines, SAMPLE_LINES))
    separator = "\t" if source.media_type == TSV else _separator(sample)
    rows = Rows(writer)
    for number, cells in enumerate(_records(chain(sample, lines), separator), 1):
        rows.add(number, cells)
    return Labels()


def split_lines(text: Iterable[str]) -> Iterator[str]:
    """Lines with their ends (\\n, \\r\\n or \\r)."""
    rest = ""
    for piece in text:
        rest += piece
        held = rest[-1:] if rest.endswith("\r") else ""  # the \n of \r\n may come next
        lines = rest[: len(rest) - len(held)].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest = lines.pop() + held
        for line in lines:
            yield line + "\n"
        while len(rest) > LONGEST_LINE:
            yield rest[:LONGEST_LINE] + "\n"
            rest = rest[LONGEST_LINE:]
    if rest:
        yield rest


def _separator(sample: list[str]) -> str:
    """The one that most lines have equally often; a comma where none is better, unless it is the comma of numbers."""
    bare = [_QUOTED.sub("", line) for line in sample if line.strip()]

    def fit(separator: str) -> tuple[int, int]:
        counts = [line.count(separator) for line in bare]
        usual = max(set(counts), key=counts.count, default=0)
        return (counts.count(usual) if usual else 0, usual)

    found, other = max(SEPARATORS, key=fit), max(SEPARATORS[1:], key=fit)
    decimal = found == "," and all(_DECIMAL.match(cell) for line in bare for cell in line.split(other))
    return other if decimal and fit(other)[0] >= fit(found)[0] > 0 else found


def _records(lines: Iterator[str], separator: str) -> Iterator[list[str]]:
    held: list[str] = []
    """Lines of the record that is being read."""

    def noted() -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line

    while True:
        reader = csv.reader(noted(), delimiter=separator, quoting=csv.QUOTE_MINIMAL)
        try:
            for record in reader:
                held.clear()
                yield record
            return
        except csv.Error:
            for line in held:
                yield line.rstrip("\n").split(separator)
            held.clear()
