"""One document's bytes on their way to the server, in pieces and repeatable where the source allows; knows no HTTP."""

from __future__ import annotations

import copy
import mimetypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from .errors import InvalidArgument

PIECE = 256 * 1024
"""Bytes per read: few enough system calls for a file of 100 MB, small beside any memory limit."""
UNKNOWN_TYPE = "application/octet-stream"

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | BinaryIO"
"""A path, the bytes themselves, or a file open in binary mode."""


class Upload:
    """A source with its name, media type and size. Raises InvalidArgument when the source cannot be read."""

    title: str | None
    media_type: str
    size: int | None
    """Bytes, None where only reading tells."""

    def __init__(self, source: Source, title: str | None = None, media_type: str | None = None) -> None:
        self._path: Path | None = None
        self._bytes: bytes | None = None
        self._file: BinaryIO | None = None
        self._start: int | None = None
        self._begun = False
        self._skip = 0
        name: str | None = None
        if isinstance(source, bytes | bytearray):
            self._bytes = bytes(source)
            self.size = len(self._bytes)
        elif isinstance(source, str | os.PathLike):
            self._path = Path(source)
            name = self._path.name
            self.size = _file_size(self._path)
        elif callable(getattr(source, "read", None)):
            self._file = source
            label = getattr(source, "name", None)
            name = os.path.basename(label) if isinstance(label, str) else None
            self._start, self.size = _remaining(source)
        else:
            raise InvalidArgument(
                f"cannot upload a {type(source).__name__}: give a path, bytes, or a file open in binary mode."
            )
        title = title if title is not None else name
        # A file's name need not be Unicode; what is sent must be.
        self.title = None if title is None else title.encode(errors="replace").decode()
        self.media_type = media_type or (mimetypes.guess_type(name)[0] if name else None) or UNKNOWN_TYPE

    @property
    def repeatable(self) -> bool:
        """Whether `pieces` may be called (again)."""
        return self._file is None or self._start is not None or not self._begun

    def part(self, start: int, size: int) -> Upload:
        """`size` bytes from byte `start` on, of a source that is repeatable and whose size is known."""
        part = copy.copy(self)
        part._skip, part.size = self._skip + start, size
        return part

    def pieces(self) -> Iterator[bytes]:
        """The bytes from the start, never more than `size`. Raises InvalidArgument when the source fails or shrank
        meanwhile.
        """
        self._begun = True
        if self._bytes is not None:
            view = memoryview(self._bytes)[self._skip :][: self.size]
            for offset in range(0, len(view), PIECE):
                yield bytes(view[offset : offset + PIECE])
            return
        try:
            if self._path is not None:
                with self._path.open("rb") as file:
                    if self._skip:  # a pipe cannot seek, and has no parts
                        file.seek(self._skip)
                    yield from self._read(file)
            elif self._file is not None:
                if self._start is not None:
                    self._file.seek(self._start + self._skip)
                yield from self._read(self._file)
        except OSError as error:
            raise InvalidArgument(f"cannot read {self._label}: {error.strerror or error}.") from error

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        left = self.size
        while left is None or left > 0:
            piece = file.read(PIECE if left is None else min(PIECE, left))
            if not isinstance(piece, bytes):
                raise InvalidArgument(f"cannot upload {self._label}: it gives text; open it in binary mode.")
            if not piece:
                if left is not None:
                    raise InvalidArgument(f"cannot upload {self._label}: it became shorter while it was read.")
                return
            if left is not None:
                left -= len(piece)
            yield piece

    @property
    def _label(self) -> str:
        return str(self._path) if self._path is not None else (self.title or "the file object")


def _file_size(path: Path) -> int | None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidArgument(f"cannot read {path}: {reason}.") from error
    if path.is_dir():
        raise InvalidArgument(f"cannot upload {path}: it is a folder; give its files one by one.")
    if not os.access(path, os.R_OK):
        raise InvalidArgument(f"cannot read {path}: Permission denied.")
    return status.st_size if path.is_file() else None


def _remaining(file: BinaryIO) -> tuple[int | None, int | None]:
    """Where a seekable file stands and the bytes from there to its end; (None, None) for a pipe."""
    try:
        if not file.seekable():
            return None, None
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (AttributeError, OSError, ValueError):
        return None, None
    return start, max(0, end - start)
