"""Canonical texts in an object store (S3 and what speaks its protocol, or a shared folder), with a local cache. The
first of the modules that know obstore.

An object is `blobs/ab/cd....txt`, the text in UTF-8 and, where it has an index, a NUL and the index; what else a blob
has is made anew from it once its hash is verified, so nothing that comes from the store is believed. Credentials and
the endpoint are read from the `AWS_*` variables.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from longfold_server.errors import ConfigError, DocumentsUnavailable
from longfold_server.ingest import text
from longfold_server.ingest.blobs import Blob
from longfold_server.ingest.cache import Cache
from longfold_server.ingest.errors import room

PIECE_BYTES = 1 << 20
PREFIX = "blobs"
FRESH = timedelta(hours=1)
"""Age from which on an object is stored again when its text is: shorter than any retention that makes sense."""
RETRIES, RETRY_SECONDS = 3, 10
"""Few and soon: a thread is blocked meanwhile; who can wait does it elsewhere."""

_KEY = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})\.txt\Z")

log = logging.getLogger(__name__)


def open_store(url: str) -> ObjectStore:
    """The object store at `s3://bucket/prefix` or `file:///folder`. Asks it nothing. Raises `ConfigError`."""
    try:
        if url.startswith("file://"):
            return LocalStore.from_url(url, mkdir=True)
        plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")  # ours hide what obstore reads by itself
        return S3Store.from_url(
            url,
            client_options={"connect_timeout": "5s", "read_timeout": "30s", "timeout": "10m", "allow_http": plain},
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )
    except (BaseError, ValueError, OSError) as error:
        raise ConfigError(f"LONGFOLD_BLOB_URL cannot be used: {error}") from error


class Bucket:
    """The `Blobs` of an object store; `cache` holds what was stored or read here lately."""

    def __init__(self, store: ObjectStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache
        self._damaged: set[str] = set()

    def temporary(self) -> AbstractContextManager[Path]:
        """See `Blobs`."""
        return self._cache.temporary()

    def put(self, pieces: Iterator[str], check: Callable[[int], None] | None = None, marks: Path | None = None) -> Blob:
        """See `Blobs`. When it returns, the text is in the store."""
        blob = self._cache.put(pieces, check, marks)
        if not self._kept(blob):
            with reaching():
                obstore.put(self._store, _key(blob.sha256), blob.path if blob.marks is None else _both(blob))
            self._damaged.discard(blob.sha256)
        self._cache.grown(blob)
        return blob

    def get(self, sha256: str) -> Blob | None:
        """See `Blobs`."""
        return self._cache.get(sha256) or self._download(sha256)

    def pieces(self, sha256: str, byte: int, piece_chars: int) -> Iterator[str]:
        """See `Blobs`."""
        return self._cache.pieces(sha256, byte, piece_chars)

    def span(self, sha256: str, start: int, end: int) -> str:
        """See `Blobs`."""
        return self._cache.span(sha256, start, end)

    def old(self, seconds: float) -> Iterator[str]:
        """See `Blobs`."""
        oldest = datetime.now(UTC) - timedelta(seconds=seconds)
        with reaching():
            for page in obstore.list(self._store, PREFIX):
                for found in page:
                    if found["last_modified"] < oldest and (key := _KEY.search(found["path"])):
                        yield key[1] + key[2]

    def remove(self, sha256: str, seconds: float) -> bool:
        """See `Blobs`. One that is stored again in the moment between the look and the removal is lost: its job then
        ends as `document_missing`. The other caches forget it by themselves."""
        oldest = datetime.now(UTC) - timedelta(seconds=seconds)
        with reaching():
            try:
                if obstore.head(self._store, _key(sha256))["last_modified"] >= oldest:
                    return False
                obstore.delete(self._store, _key(sha256))
            except FileNotFoundError:
                return False
        self._cache.remove(sha256, 0.0)
        return True

    def lines(self, sha256: str, character: int) -> int:
        """See `Blobs`."""
        return self._cache.lines(sha256, character)

    def _kept(self, blob: Blob) -> bool:
        if blob.sha256 in self._damaged:
            return False
        try:
            with reaching():
                found = obstore.head(self._store, _key(blob.sha256))
                # One that is due to be removed is stored again, which makes it a new one.
                return found["size"] == _size(blob) and found["last_modified"] > datetime.now(UTC) - FRESH
        except FileNotFoundError:
            return False

    def _download(self, sha256: str) -> Blob | None:
        digest = hashlib.sha256()
        with room(), self._cache.temporary() as path, self._cache.temporary() as marks:
            with path.open("wb") as text_file, marks.open("wb") as marks_file:
                file = text_file
                try:
                    with reaching():
                        for part in obstore.get(self._store, _key(sha256)).stream(PIECE_BYTES):
                            data = bytes(part)
                            digest.update(data)
                            if file is text_file and b"\0" in data:
                                before, _, data = data.partition(b"\0")
                                text_file.write(before)
                                file = marks_file
                            file.write(data)
                except FileNotFoundError:
                    return None
            if digest.hexdigest() != sha256:
                self._damaged.add(sha256)
                log.error("blob_damaged", extra={"sha256": sha256})
                return None
            blob = self._cache.put(
                text.pieces(path, text.Encoding("utf-8")), marks=marks if file is marks_file else None
            )
        self._cache.grown(blob)
        return blob


def _key(sha256: str) -> str:
    return f"{PREFIX}/{sha256[:2]}/{sha256[2:]}.txt"


def _size(blob: Blob) -> int:
    return blob.bytes if blob.marks is None else blob.bytes + 1 + blob.marks.stat().st_size


def _both(blob: Blob) -> Iterator[bytes]:
    """Text, NUL, index."""
    assert blob.marks is not None
    for path, between in ((blob.path, b"\0"), (blob.marks, b"")):
        with path.open("rb") as file:
            while data := file.read(PIECE_BYTES):
                yield data
        yield between


@contextmanager
def reaching() -> Iterator[None]:
    """Raises `DocumentsUnavailable` for whatever the store raises but `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise DocumentsUnavailable(f"the documents' store failed: {type(error).__name__}") from error
