"""Where a parser writes: canonical text into one file, marks and what was skipped into another. Knows no format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TextIO

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.canonical import Canonical, is_blank
from longfold_server.ingest.formats.source import of_content, reason_of
from longfold_server.ingest.index import (
    LONGEST_PATH,
    LONGEST_VALUE,
    MOST_MARKS,
    MOST_SKIPPED,
    Kind,
    Mark,
    Reason,
    Skipped,
    row,
    type_row,
)
from longfold_server.ingest.titles import tidy

PIECE = 16 * 1024
"""Characters that are gathered before they are made canonical."""


class Writer:
    """Feed it in the document's order, then `close`. Both files are the caller's."""

    def __init__(self, text: TextIO, index: TextIO, media_type: str) -> None:
        self._text = text
        self._index = index
        self._form = Canonical()
        self._pieces: list[str] = []
        self._gathered = 0
        self._fresh = True
        """Whether the text so far ends with a whole line."""
        self._prefix = ""
        self._marks = self._more = 0
        self.skipped: list[Skipped] = []
        self.characters = 0
        """Of canonical text that is in the file."""
        self.visible = False
        """Whether there is any that is not blank."""
        index.write(type_row(media_type))

    def write(self, text: str) -> None:
        """Any piece of the document's text."""
        if text:
            self._pieces.append(text)
            self._gathered += len(text)
            if self._gathered >= PIECE:
                self._settle()

    def end_line(self) -> None:
        """Begin a new line, unless the last one is ended."""
        if not (self._pieces[-1].endswith("\n") if self._pieces else self._fresh):
            self.write("\n")

    def mark(self, kind: Kind, value: str, anchor: str = "") -> None:
        """Something begins here, on a new line. Raises `DocumentError` (`document_too_large`) where there are too many
        to be found again."""
        self._marks += 1
        if self._marks > MOST_MARKS:
            raise DocumentError(
                Code.DOCUMENT_TOO_LARGE,
                f"it has more than {MOST_MARKS:,} headings, pages, files or gaps between rows; split it",
            )
        self.end_line()
        self._settle()
        # After a line end nothing composes with what came before, so the text may be cut here.
        self._put(self._form.finish())
        value = value[:LONGEST_PATH] if kind in (Kind.FILE, Kind.PART) else tidy(value)[:LONGEST_VALUE]
        anchor = anchor if len(anchor) <= LONGEST_VALUE else ""
        self._index.write(row(Mark(self.characters, kind, value, anchor)))

    @property
    def prefix(self) -> str:
        """Of the paths inside the archive or mail that is read now, with its slash; "" outside one."""
        return self._prefix

    def skip(self, path: str, reason: Reason, message: str) -> None:
        """A part that is not read."""
        if len(self.skipped) < MOST_SKIPPED:
            self.skipped.append(Skipped((self._prefix + path)[:LONGEST_PATH], reason, message[:LONGEST_PATH]))
        else:
            self._more += 1

    @contextmanager
    def part(self, path: str) -> Iterator[None]:
        """Around the reading of a part of the document: one that cannot be read is skipped, whatever its parser raises.
        Raises what ends the whole document."""
        try:
            yield
        except DocumentError as error:
            self.skip(path, reason_of(error), error.detail.partition(";")[0])
        except MemoryError:
            raise
        except Exception as error:  # the boundary: what a parser did not foresee costs its part only
            if isinstance(error, OSError) and not of_content(error):
                raise
            self.skip(path, Reason.UNDECODABLE, f"it cannot be parsed ({type(error).__name__})")

    @contextmanager
    def within(self, prefix: str) -> Iterator[None]:
        """Paths of what is skipped meanwhile begin with `prefix` and a slash."""
        before = self._prefix
        self._prefix += prefix + "/"
        try:
            yield
        finally:
            self._prefix = before

    def close(self) -> None:
        """Write what is still held."""
        self._settle()
        self._put(self._form.finish())
        if self._more:
            self.skipped[-1] = replace(self.skipped[-1], count=1 + self._more)
        self._index.writelines(row(entry) for entry in self.skipped)

    def _settle(self) -> None:
        if self._pieces:
            text = "".join(self._pieces)
            self._fresh = text.endswith("\n")
            self._pieces.clear()
            self._gathered = 0
            self._put(self._form.feed(text))

    def _put(self, text: str) -> None:
        self._text.write(text)
        self.characters += len(text)
        self.visible = self.visible or not is_blank(text)
