"""Canonical texts in a folder, addressed by content. Knows no URLs, titles or formats.

`blobs/ab/cd....txt` is the text in UTF-8, `.marks` its index where it has one, `.index` the byte offset of every
65,536th character and the line ends before it (little-endian uint64), `.json` the sizes. The text is moved into place
last, by an atomic rename after fsync: where it exists, it is complete. Writers of the same text do not disturb each
other, in one process or over a shared folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import math
import os
import re
import shutil
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from longfold_server.ingest.blobs import Blob

STRIDE = 65_536
"""Characters between two index entries: a span read decodes less than 256 KiB."""

ABANDONED_SECONDS = 24 * 3600
"""Age at which a temporary file belongs to a process that died; no ingestion takes so long."""

VERSION = 2
"""Of the files' layout. What another version wrote counts as absent."""
ENTRY = struct.Struct("<QQ")

VERIFIED = 4096
"""Files whose hash is remembered, so that a text is hashed once for a job and not for every citation."""

SUFFIXES = (".txt", ".marks", ".index", ".json")
"""Of a blob's files, the text's first."""

COPIED = 1 << 20
"""Bytes of an index that are held at once."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

log = logging.getLogger(__name__)


class Folder:
    """The `Blobs` of a folder, which may be shared. Every call is blocking file work. Making one raises `OSError` for a
    folder that takes no files."""

    def __init__(self, root: Path) -> None:
        self._root = root / "blobs"
        self._temporary = root / "tmp"
        self._root.mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        with self.temporary() as path:
            path.touch()
        self._sweep()

    def _sweep(self) -> None:
        """Remove what dead processes left behind."""
        oldest = time.time() - ABANDONED_SECONDS
        for path in self._temporary.iterdir():
            try:
                if path.stat().st_mtime >= oldest:
                    continue
                if path.is_dir():  # what a parser had unpacked
                    shutil.rmtree(path, ignore_errors=True)
                else:
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

    def put(self, pieces: Iterator[str], check: Callable[[int], None] | None = None, marks: Path | None = None) -> Blob:
        """See `Blobs`."""
        with ExitStack() as files:
            path, marks_path, index_path, facts_path = (files.enter_context(self.temporary()) for _ in range(4))
            digest = hashlib.sha256()
            with path.open("wb") as file, index_path.open("wb") as index:
                written = _Written(index)
                for piece in pieces:
                    data = piece.encode("utf-8")
                    written.add(piece, data)
                    digest.update(data)
                    file.write(data)
                    if check is not None:
                        check(written.bytes)
                _settle(file.fileno(), file.flush)
                _settle(index.fileno(), index.flush)
            marks_bytes = 0 if marks is None else _copy(marks, marks_path, digest)
            sha256 = digest.hexdigest()
            place = self._path(sha256)
            blob = Blob(
                sha256, place, written.bytes, written.characters, place.with_suffix(".marks") if marks_bytes else None
            )
            sizes = {"bytes": blob.bytes, "characters": blob.characters, "marks": marks_bytes}
            _write(facts_path, json.dumps({"version": VERSION, **sizes}).encode())
            with self._locked(fcntl.LOCK_SH):
                if self.get(sha256) == blob:
                    os.utime(place.with_suffix(".json"))  # it was stored just now
                    return blob
                place.parent.mkdir(exist_ok=True)
                if blob.marks is not None:
                    os.replace(marks_path, blob.marks)
                os.replace(index_path, place.with_suffix(".index"))
                os.replace(facts_path, place.with_suffix(".json"))
                os.replace(path, place)
                _sync_folder(place.parent)
                _sync_folder(self._root)
            return blob

    def get(self, sha256: str) -> Blob | None:
        """See `Blobs`."""
        path = self._path(sha256)
        try:
            facts = json.loads(path.with_suffix(".json").read_bytes())
            if facts["version"] != VERSION:
                return None
            marks = path.with_suffix(".marks") if facts["marks"] else None
            found = _found(path), None if marks is None else _found(marks)
            sizes = found[0].size, 0 if found[1] is None else found[1].size
            if sizes != (facts["bytes"], facts["marks"]) or _digest(*found) != sha256:
                log.error("blob_damaged", extra={"sha256": sha256})
                return None
        except (FileNotFoundError, ValueError):
            return None
        return Blob(sha256, path, facts["bytes"], facts["characters"], marks)

    def old(self, seconds: float) -> Iterator[str]:
        """See `Blobs`."""
        oldest = time.time() - seconds
        for path in self._root.glob("*/*.txt"):
            if _written(path) < oldest:
                yield path.parent.name + path.stem

    def remove(self, sha256: str, seconds: float) -> bool:
        """See `Blobs`. Who has it open reads on."""
        path = self._path(sha256)
        with self._locked(fcntl.LOCK_EX):
            if _written(path) >= time.time() - seconds:
                return False
            # Without the text the rest counts as absent, so it goes first.
            for suffix in SUFFIXES:
                path.with_suffix(suffix).unlink(missing_ok=True)
        return True

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Between processes: while texts are put in place none is removed."""
        with (self._temporary.parent / "blobs.lock").open("ab") as file:
            fcntl.flock(file, how)
            yield

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
        with self._from_stride(sha256, start) as (text, skip, _):
            while skip > 0 and (passed := text.read(min(skip, STRIDE))):
                skip -= len(passed)
            return text.read(end - start)

    def lines(self, sha256: str, character: int) -> int:
        """See `Blobs`."""
        with self._from_stride(sha256, character) as (text, skip, lines):
            while skip > 0 and (passed := text.read(min(skip, STRIDE))):
                skip -= len(passed)
                lines += passed.count("\n")
            return lines

    @contextmanager
    def _from_stride(self, sha256: str, character: int) -> Iterator[tuple[TextIO, int, int]]:
        """The text from an entry of the index on, the characters from there to `character`, and the line ends before
        the entry."""
        path = self._path(sha256)
        entry = byte = lines = 0
        with path.with_suffix(".index").open("rb") as file:
            entries = os.fstat(file.fileno()).st_size // ENTRY.size
            if entries:
                entry = min(character // STRIDE, entries - 1)
                file.seek(ENTRY.size * entry)
                byte, lines = ENTRY.unpack(file.read(ENTRY.size))
        with path.open("rb") as raw:
            raw.seek(byte)
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text, character - entry * STRIDE, lines

    def _path(self, sha256: str) -> Path:
        if not _SHA256.match(sha256):
            raise ValueError("not a SHA-256 in lower-case hexadecimal")
        return self._root / sha256[:2] / f"{sha256[2:]}.txt"


def _written(path: Path) -> float:
    """When a text was last put in place; never for one that is gone."""
    try:
        return path.with_suffix(".json").stat().st_mtime
    except FileNotFoundError:
        try:
            return path.stat().st_mtime  # what another version, or a process that died, left behind
        except FileNotFoundError:
            return math.inf


class _File(NamedTuple):
    """A file as it is; another one in its place differs."""

    path: Path
    size: int
    modified: int
    inode: int


def _found(path: Path) -> _File:
    found = path.stat()
    return _File(path, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(VERIFIED)
def _digest(text: _File, marks: _File | None) -> str:
    with text.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if marks is not None:
        digest.update(b"\0")
        with marks.path.open("rb") as file:
            while data := file.read(COPIED):
                digest.update(data)
    return digest.hexdigest()


class _Written:
    """Counts a text as it is written, and notes the bytes and line ends before every multiple of `STRIDE`."""

    def __init__(self, index: BinaryIO) -> None:
        self._index = index
        self.bytes = self.characters = self.lines = 0

    def add(self, piece: str, data: bytes) -> None:
        """`data` is the piece in UTF-8."""
        place = -self.characters % STRIDE
        done = offset = lines = 0
        while place < len(piece):
            offset += place - done if len(data) == len(piece) else len(piece[done:place].encode("utf-8"))
            lines += piece.count("\n", done, place)
            self._index.write(ENTRY.pack(self.bytes + offset, self.lines + lines))
            done, place = place, place + STRIDE
        self.bytes += len(data)
        self.characters += len(piece)
        self.lines += lines + piece.count("\n", done)


def _copy(source: Path, target: Path, digest: hashlib._Hash) -> int:
    """Copy an index behind the NUL that parts it from its text; its bytes."""
    digest.update(b"\0")
    size = 0
    with source.open("rb") as given, target.open("wb") as file:
        while data := given.read(COPIED):
            digest.update(data)
            size += file.write(data)
        _settle(file.fileno(), file.flush)
    return size


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
