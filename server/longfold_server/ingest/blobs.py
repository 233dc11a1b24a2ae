"""Where canonical texts and their indexes are kept, addressed by content: the seam. Knows no folder, no bucket, no URLs
and no titles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored text."""

    sha256: str
    """Of the text's UTF-8 bytes; where it has an index, of text, NUL and index. A canonical text holds no NUL, so no
    other pair has these bytes."""
    path: Path
    """The text as a local file."""
    bytes: int
    characters: int
    marks: Path | None = None
    """Its index as a local file (see `index.py`); None for a text without."""


class Blobs(Protocol):
    """Texts by their hash. Every call blocks; one that has to leave the machine raises `DocumentsUnavailable`."""

    def temporary(self) -> AbstractContextManager[Path]:
        """A path for a new local file; the file is gone afterwards."""

    def put(self, pieces: Iterator[str], check: Callable[[int], None] | None = None, marks: Path | None = None) -> Blob:
        """Store a canonical text given in pieces, and its index. `check` sees the bytes so far and may raise to
        stop."""

    def get(self, sha256: str) -> Blob | None:
        """The blob with its hash verified, or None where it is not stored, or damaged. Raises `ValueError` for what is
        no hash."""

    def pieces(self, sha256: str, byte: int, piece_chars: int) -> Iterator[str]:
        """The text of a blob that was got from a byte offset on, `piece_chars` at a time. Raises `ValueError` inside a
        character."""

    def span(self, sha256: str, start: int, end: int) -> str:
        """Characters `start` to `end` of a blob that was got; shorter where the text ends. Reads what it needs,
        whatever the text's size."""

    def old(self, seconds: float) -> Iterator[str]:
        """Hashes of the blobs that nobody has stored, not even again, for so long."""

    def remove(self, sha256: str, seconds: float) -> bool:
        """Removes a blob if it is still that old; whether it did."""

    def lines(self, sha256: str, character: int) -> int:
        """Line ends before a character of a blob that was got. Reads as little as `span`."""
