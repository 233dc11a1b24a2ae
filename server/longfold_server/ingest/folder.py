"""Canonical texts in a folder, addressed by content. Knows no URLs, titles or formats.

`blobs/ab/cd....txt` is the text in UTF-8, `.index` the byte offset of every 65,536th character (little-endian uint64),
`.json` its sizes. The text is moved into place last, by an atomic rename after fsync: where it exists, it is complete.
Writers of the same text do not disturb each other, in one process or over a shared folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from longfold_server.ingest.blobs import Blob

STRIDE = 65_536
"""Characters between two index entries: a span read decodes less than 256 KiB."""

ABANDONED_SECONDS = 24 * 3600
"""Age at which a temporary file belongs to a process that died; no ingestion takes so long."""

VERIFIED = 4096
"""Files whose hash is remembered, so that a text is hashed once for a job and not for every citation."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

log = logging.getLogger(__name__)


class Folder:
    """The `Blobs` of a folder, which may be shared. Every call is blocking file work."""

    def __init__(self, root: Path) -> None:
        self._root = root / "blobs"
        self._temporary = root / "tmp"
        self._root.mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what dead processes left behind."""
        oldest = time.time() - ABANDONED_SECONDS
        for path in self._temporary.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:  # another process swept it
                continue

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A path for a new file on the store's file system; the file is gone afterwards."""
        path = self._temporary / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put(self, pieces: Iterator[str], check: Callable[[int], None] | None = None) -> Blob:
        """See `Blobs`."""
        with self.temporary() as path, self.temporary() as index_path, self.temporary() as facts_path:
            digest = hashlib.sha256()
            size = characters = 0
            index: list[int] = []
            with path.open("wb") as file:
                for piece in pieces:
                    data = piece.encode("utf-8")
                    _index(piece, data, characters, size, index)
                    digest.update(data)
                    file.write(data)
                    characters += len(piece)
                    size += len(data)
                    if check is not None:
                        check(size)
                _settle(file.fileno(), file.flush)
            blob = Blob(digest.hexdigest(), self._path(digest.hexdigest()), size, characters)
            if self.get(blob.sha256) == blob:
                return blob
            _write(index_path, struct.pack(f"<{len(index)}Q", *index))
            _write(facts_path, json.dumps({"version": 1, "bytes": size, "characters": characters}).encode())
            blob.path.parent.mkdir(exist_ok=True)
            os.replace(index_path, blob.path.with_suffix(".index"))
            os.replace(facts_path, blob.path.with_suffix(".json"))
            os.replace(path, blob.path)
            _sync_folder(blob.path.parent)
            _sync_folder(self._root)
            return blob

    def get(self, sha256: str) -> Blob | None:
        """See `Blobs`."""
        path = self._path(sha256)
        try:
            facts = json.loads(path.with_suffix(".json").read_bytes())
            found = path.stat()
            whole = found.st_size == facts["bytes"]
            if not whole or _digest(path, found.st_size, found.st_mtime_ns, found.st_ino) != sha256:
                log.error("blob_damaged", extra={"sha256": sha256})
                return None
        except (FileNotFoundError, ValueError):
            return None
        return Blob(sha256, path, facts["bytes"], facts["characters"])

    def pieces(self, sha256: str, byte: int, piece_chars: int) -> Iterator[str]:
        """See `Blobs`."""
        with self._path(sha256).open("rb") as raw:
            raw.seek(byte)
            lead = raw.read(1)
            if lead and lead[0] & 0xC0 == 0x80:
                raise ValueError(f"byte {byte} is inside a character")
            raw.seek(byte)
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
                while piece := file.read(piece_chars):
                    yield piece

    def span(self, sha256: str, start: int, end: int) -> str:
        """See `Blobs`."""
        if end <= start:
            return ""
        path = self._path(sha256)
        with path.with_suffix(".index").open("rb") as file:
            entries = os.fstat(file.fileno()).st_size // 8
            if not entries:
                return ""
            entry = min(start // STRIDE, entries - 1)
            file.seek(8 * entry)
            (byte,) = struct.unpack("<Q", file.read(8))
        skip = start - entry * STRIDE
        with path.open("rb") as raw:
            raw.seek(byte)
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                while skip > 0 and (passed := text.read(min(skip, STRIDE))):
                    skip -= len(passed)
                return text.read(end - start)

    def _path(self, sha256: str) -> Path:
        if not _SHA256.match(sha256):
            raise ValueError("not a SHA-256 in lower-case hexadecimal")
        return self._root / sha256[:2] / f"{sha256[2:]}.txt"


@lru_cache(VERIFIED)
def _digest(path: Path, size: int, modified: int, inode: int) -> str:
    """Of the file as it is; what else is given tells another file in its place."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _index(piece: str, data: bytes, characters: int, size: int, index: list[int]) -> None:
    """Append the byte offset of every multiple of `STRIDE` inside this piece."""
    place = -characters % STRIDE
    done = offset = 0
    while place < len(piece):
        offset += place - done if len(data) == len(piece) else len(piece[done:place].encode("utf-8"))
        index.append(size + offset)
        done, place = place, place + STRIDE


def _settle(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        _settle(file.fileno(), file.flush)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
