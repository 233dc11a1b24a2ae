"""Where the parts of uploads are kept: the seam, and a folder. Knows no tenants and no order.

A part is stored once and never changes: of two writers at the same place one wins and the other is told so. That is
all the agreement that replicas need, with no lock and nobody's session.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20
PLACE = re.compile(r"[0-9a-f]{8,64}/[0-9a-f]{32}\Z")
"""Where an upload's parts are: whose it is, and its id."""


class UploadParts(Protocol):
    """Parts by their upload's place and their own name. Every call blocks; one that has to leave the machine raises
    `DocumentsUnavailable`."""

    def temporary(self) -> AbstractContextManager[Path]:
        """A path for a new local file; the file is gone afterwards."""

    def keep(self, place: str, name: str, file: Path) -> bool:
        """Stores what the file holds; the file may be gone afterwards. False, and nothing is stored, when there is such
        a part. Raises `FileNotFoundError` when the upload goes at this moment."""

    def sizes(self, place: str) -> dict[str, int]:
        """Bytes of every part of an upload by its name; empty for none."""

    def read(self, place: str, name: str) -> Iterator[bytes]:
        """A part in pieces. Raises `FileNotFoundError`."""

    def remove(self, place: str, names: list[str] | None = None) -> None:
        """Removes those parts of an upload, or everything."""

    def places(self, owner: str) -> list[str]:
        """The uploads of one owner."""

    def old(self, seconds: float) -> Iterator[str]:
        """Places of the uploads that were begun so long ago."""


class FolderParts:
    """The `UploadParts` of a folder, which replicas may share: `OWNER/ID/NAME`. Making one raises `OSError` for a
    folder that takes no files."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._root.mkdir(parents=True, exist_ok=True)
        with self.temporary() as path:
            path.touch()

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """See `UploadParts`."""
        path = self._root / f"{uuid.uuid4().hex}.new"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, place: str, name: str, file: Path) -> bool:
        """See `UploadParts`. The file must be one of `temporary`."""
        folder = self._root / place
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        try:
            os.link(file, folder / name)
        except FileExistsError:
            return False
        return True

    def sizes(self, place: str) -> dict[str, int]:
        """See `UploadParts`."""
        try:
            with os.scandir(self._root / place) as found:
                return {entry.name: entry.stat().st_size for entry in found}
        except FileNotFoundError:
            return {}

    def read(self, place: str, name: str) -> Iterator[bytes]:
        """See `UploadParts`."""
        with (self._root / place / name).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def remove(self, place: str, names: list[str] | None = None) -> None:
        """See `UploadParts`."""
        if names is None:
            shutil.rmtree(self._root / place, ignore_errors=True)
            return
        for name in names:
            (self._root / place / name).unlink(missing_ok=True)

    def places(self, owner: str) -> list[str]:
        """See `UploadParts`."""
        return [f"{owner}/{path.name}" for path in (self._root / owner).glob("*")]

    def old(self, seconds: float) -> Iterator[str]:
        """See `UploadParts`. Also removes what a process that died was writing."""
        oldest = time.time() - seconds
        for path in self._root.glob("*.new"):
            if _born(path) < oldest:
                path.unlink(missing_ok=True)
        for folder in self._root.glob("*/*"):
            if min((_born(path) for path in folder.glob("*")), default=_born(folder)) < oldest:
                yield f"{folder.parent.name}/{folder.name}"


def _born(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
