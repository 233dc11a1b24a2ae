"""Canonical texts in an object store (S3 and what speaks its protocol, or a shared folder), with a local cache. The
only module that knows obstore.

An object is `blobs/ab/cd....txt`, the text in UTF-8; what else a blob has is made anew from it once its hash is
verified, so nothing that comes from the store is believed. Credentials and the endpoint are read from the `AWS_*`
variables.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from longfold_server.errors import ConfigError, DocumentsUnavailable
from longfold_server.ingest.blobs import Blob
from longfold_server.ingest.cache import Cache

PIECE_BYTES = 1 << 20
PIECE_CHARACTERS = 65_536
RETRIES, RETRY_SECONDS = 3, 10
"""Few and soon: a thread is blocked meanwhile; who can wait does it elsewhere."""

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

    def put(self, pieces: Iterator[str], check: Callable[[int], None] | None = None) -> Blob:
        """See `Blobs`. When it returns, the text is in the store."""
        blob = self._cache.put(pieces, check)
        if not self._kept(blob):
            with _reaching():
                obstore.put(self._store, _key(blob.sha256), blob.path)
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

    def _kept(self, blob: Blob) -> bool:
        if blob.sha256 in self._damaged:
            return False
        try:
            with _reaching():
                return obstore.head(self._store, _key(blob.sha256))["size"] == blob.bytes
        except FileNotFoundError:
            return False

    def _download(self, sha256: str) -> Blob | None:
        digest = hashlib.sha256()
        with self._cache.temporary() as path, path.open("wb") as file:
            try:
                with _reaching():
                    for part in obstore.get(self._store, _key(sha256)).stream(PIECE_BYTES):
                        digest.update(part)
                        file.write(part)
            except FileNotFoundError:
                return None
            if digest.hexdigest() != sha256:
                self._damaged.add(sha256)
                log.error("blob_damaged", extra={"sha256": sha256})
                return None
            file.flush()
            blob = self._cache.put(_text(path))
        self._cache.grown(blob)
        return blob


def _key(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256[2:]}.txt"


def _text(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        while piece := file.read(PIECE_CHARACTERS):
            yield piece


@contextmanager
def _reaching() -> Iterator[None]:
    """Raises `DocumentsUnavailable` for whatever the store raises but `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise DocumentsUnavailable(f"the documents' store failed: {type(error).__name__}") from error
