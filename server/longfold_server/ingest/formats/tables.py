"""How a row of a table becomes a line: cells between bars, the header again now and then. Knows no file."""

from __future__ import annotations

from collections.abc import Iterable

from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind

HEADER_EVERY = 6_000
"""Characters after which the header comes again: a chunk of a long table has it, whatever the chunk's size."""
LONGEST_HEADER = 1_000
"""Characters; a longer one is not repeated."""


def row_line(cells: Iterable[str]) -> str:
    """Cells between bars on one line; "" for a row of empty cells."""
    line = " | ".join(" ".join(cell.split()) if "\n" in cell or "\r" in cell else cell.strip() for cell in cells)
    return line.rstrip(" |")


class Rows:
    """Writes the rows of one table, each on a line of its own, with marks that keep their numbers."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._header = ""
        self._since = 0
        """Characters since the header stood last."""
        self._expected = 0
        """Number that a row on the next line is taken to have; 0 where nothing is counted yet."""

    def add(self, number: int, cells: Iterable[str]) -> None:
        """A row. The first one is the header."""
        line = row_line(cells)
        if not line:
            return
        if not self._header:
            self._header = line
        elif self._since > HEADER_EVERY and len(self._header) <= LONGEST_HEADER:
            self._writer.write(f"\n[columns: {self._header}]\n")
            self._since = self._expected = 0
        if number != self._expected:
            self._writer.mark(Kind.ROW, str(number))
        self._writer.write(line + "\n")
        self._since += len(line) + 1
        self._expected = number + 1
