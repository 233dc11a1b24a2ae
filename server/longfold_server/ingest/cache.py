"""A folder of texts that are also kept elsewhere: it forgets those not used for longest when it grows too large. Knows
not where they are kept."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from longfold_server.ingest.blobs import Blob
from longfold_server.ingest.folder import SUFFIXES, Folder

IN_USE_SECONDS = 60.0
"""A text that was asked for so lately may be about to be opened; one that is open outlives its name."""
SPARE = 0.1
"""Share of the limit that is made free at once, so that not every text looks through the folder."""


class Cache(Folder):
    """Several processes may share one; each keeps it below `max_bytes` as far as it knows."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        super().__init__(root)
        self._max_bytes = max_bytes
        self._bytes = sum(size for size, _, _ in self._entries())
        self._lock = threading.Lock()

    def get(self, sha256: str) -> Blob | None:
        """See `Blobs`."""
        blob = super().get(sha256)
        if blob is None:
            return None
        try:
            os.utime(blob.path.with_suffix(".json"))
        except FileNotFoundError:  # another process forgot it at this moment
            return None
        return blob

    def grown(self, blob: Blob) -> None:
        """Counts a text that was just added, and makes room when there are too many."""
        with self._lock:
            self._bytes += _size(blob.path)
            if self._bytes > self._max_bytes:
                self._trim()

    def _trim(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        self._bytes = sum(size for size, _, _ in entries)
        for size, used, path in entries:
            if self._bytes <= (1 - SPARE) * self._max_bytes or used > time.time() - IN_USE_SECONDS:
                return
            # Without the text the rest counts as absent, so it goes first.
            for suffix in SUFFIXES:
                path.with_suffix(suffix).unlink(missing_ok=True)
            self._bytes -= size

    def _entries(self) -> list[tuple[int, float, Path]]:
        """(bytes of a text with its index, when it was last used, its path)."""
        found = []
        for path in self._root.glob("*/*.txt"):
            try:
                found.append((_size(path), path.with_suffix(".json").stat().st_mtime, path))
            except FileNotFoundError:  # another process forgot it
                continue
        return found


def _size(path: Path) -> int:
    """Bytes of all files of a text."""
    size = 0
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):  # it has none, or another process forgot it
            size += path.with_suffix(suffix).stat().st_size
    return size
