"""Reads `file://` URLs below one folder that an operator named, and nothing else. Knows no network.

The path is walked from that folder one name at a time, and no link is followed: what is checked is what is opened.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.body import too_large
from longfold_server.ingest.errors import FULL
from longfold_server.ingest.fetched import Fetched, Known, Unchanged
from longfold_server.ingest.transfer import Validators

PIECE = 1 << 20

_AS_IT_IS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a pipe that nobody writes to must not wait."""


class Files:
    """The folder `root`; None permits no file."""

    def __init__(self, root: Path | None, max_bytes: int) -> None:
        self._root = None if root is None else root.resolve()
        self._names = [] if root is None else [root.absolute().parts, root.resolve().parts]
        self._max_bytes = max_bytes

    async def fetch(self, url: str, target: Path, known: Known) -> Fetched | Unchanged:
        """Copies the file into `target`. Raises `DocumentError`: `document_blocked` for every place outside the folder,
        whether there is a file or not."""
        if self._root is None:
            raise _blocked("file:// URLs are not read here; upload the file instead")
        below = self._below(url)
        validators = await known(url)
        found = await asyncio.to_thread(self._copy, self._root, below, target, validators.etag)
        if found is None:
            return Unchanged(url)
        size, digest, etag = found
        return Fetched(size, digest, "", url, Validators(etag))

    def _below(self, url: str) -> tuple[str, ...]:
        """The names that lead from the folder to the file."""
        try:
            parts = urlsplit(url.strip(" \t\r\n"))
        except ValueError:
            raise _invalid() from None
        path = unquote(parts.path, errors="surrogateescape")
        if parts.netloc not in ("", "localhost") or "\0" in path or not path.startswith("/"):
            raise _invalid()
        names = PurePosixPath(path).parts
        for root in self._names:
            if names[: len(root)] == root and len(names) > len(root) and ".." not in names:
                return names[len(root) :]
        raise _blocked("it is outside the folder from which files are read; upload it instead")

    def _copy(self, root: Path, below: tuple[str, ...], target: Path, etag: str) -> tuple[int, str, str] | None:
        """(bytes, SHA-256, what tells this state of the file); None when that is `etag`."""
        with _opened(root, below) as descriptor:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise DocumentError(Code.DOCUMENT_UNSUPPORTED, "it is a folder or no ordinary file; name a file")
            now = f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"
            if now == etag:
                return None
            digest, size = hashlib.sha256(), 0
            with target.open("wb") as file:
                while piece := os.read(descriptor, PIECE):
                    size += len(piece)
                    if size > self._max_bytes:
                        raise too_large(self._max_bytes)
                    digest.update(piece)
                    file.write(piece)
            return size, digest.hexdigest(), now


@contextmanager
def _opened(root: Path, below: tuple[str, ...]) -> Iterator[int]:
    """The file's descriptor."""
    held = []
    try:
        held.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name in below:
            held.append(os.open(name, _AS_IT_IS, dir_fd=held[-1]))
        yield held[-1]
    except FileNotFoundError:
        raise DocumentError(Code.DOCUMENT_NOT_FOUND, "there is no such file; check the URL") from None
    except NotADirectoryError:
        raise DocumentError(Code.DOCUMENT_NOT_FOUND, "there is no such file; check the URL") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise _blocked("a link is not followed; name the file itself") from None
        if error.errno in FULL:  # told of the copy
            raise
        raise DocumentError(
            Code.DOCUMENT_UNREACHABLE, "the service may not read it, or its disk failed; upload it instead"
        ) from None
    finally:
        for descriptor in reversed(held):
            os.close(descriptor)


def _invalid() -> DocumentError:
    return DocumentError(Code.DOCUMENT_INVALID, "a file's URL reads file:///folder/name")


def _blocked(why: str) -> DocumentError:
    return DocumentError(Code.DOCUMENT_BLOCKED, why)
