"""Reads `s3://` and `gs://` URLs of buckets that an operator has named, each with credentials of its own.

An object is read in pieces that must all belong to the same version, each asked for again when it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError, NotModifiedError, PermissionDeniedError, UnauthenticatedError
from obstore.store import GCSStore, ObjectStore, S3Store

from longfold_server.codes import Code
from longfold_server.errors import ConfigError, DocumentError
from longfold_server.ingest.body import BodyDecoder, Truncated, too_large
from longfold_server.ingest.errors import FULL
from longfold_server.ingest.fetched import Fetched, Known, Unchanged
from longfold_server.ingest.transfer import FileSink, Validators

if TYPE_CHECKING:
    from obstore import GetOptions

PIECE = 8 << 20
"""Bytes of one request: large beside its latency, small beside a lost connection."""
RETRIES = 3


class Objects:
    """The named buckets: `s3://bucket/prefix` or `gs://bucket/prefix` -> what obstore needs for it. Asks them nothing
    yet. Raises `ConfigError`, which names no value."""

    def __init__(self, buckets: Mapping[str, Mapping[str, str]], max_bytes: int, total_seconds: float) -> None:
        self._stores = {_split(name): _open(name, options, total_seconds) for name, options in buckets.items()}
        self._max_bytes = max_bytes
        self._total_seconds = total_seconds

    async def fetch(self, url: str, target: Path, known: Known) -> Fetched | Unchanged:
        """Writes the object into `target`. Raises `DocumentError`: `document_blocked` where no operator has named the
        bucket and prefix."""
        store, path = self._find(url)
        validators = await known(url)
        sink = await asyncio.to_thread(FileSink, target)
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._read(store, path, url, sink, validators)
        except NotModifiedError:
            return Unchanged(url)
        except FileNotFoundError:
            raise DocumentError(Code.DOCUMENT_NOT_FOUND, "there is no such object; check the URL") from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise DocumentError(
                Code.DOCUMENT_HTTP_ERROR, "its bucket refuses the credentials that the operator has named for it"
            ) from None
        except TimeoutError:
            raise DocumentError(
                Code.DOCUMENT_TIMEOUT, f"it was not complete after {self._total_seconds:g} s; try again later"
            ) from None
        except (BaseError, OSError, Truncated) as error:
            if isinstance(error, OSError) and error.errno in FULL:  # told of the copy
                raise
            raise DocumentError(
                Code.DOCUMENT_UNREACHABLE, "its bucket does not answer, or the object changed meanwhile; try again"
            ) from None
        finally:
            await sink.aclose()

    async def _read(
        self, store: ObjectStore, path: str, url: str, sink: FileSink, validators: Validators
    ) -> Fetched | Unchanged:
        options: GetOptions = {"head": True}
        if validators.etag:
            options["if_none_match"] = validators.etag
        found = await obstore.get_async(store, path, options=options)
        size, etag = found.meta["size"], found.meta["e_tag"] or ""
        if size > self._max_bytes:
            raise too_large(self._max_bytes)
        # How a client of S3 split its upload stands there too, and says nothing about the object.
        encoding = found.attributes.get("Content-Encoding", "").lower().replace("aws-chunked", "").strip(" ,")
        decoder = BodyDecoder(encoding, self._max_bytes)
        for start in range(0, size, PIECE):
            span: GetOptions = {"range": (start, min(size, start + PIECE))}
            if etag:
                span["if_match"] = etag
            part = await obstore.get_async(store, path, options=span)
            for piece in decoder.feed(bytes(await part.bytes_async())):
                await sink.write(piece)
        decoder.finish()
        await sink.aclose()
        kind = found.attributes.get("Content-Type", "")
        return Fetched(sink.bytes, sink.sha256, kind, url, Validators(etag))

    def _find(self, url: str) -> tuple[ObjectStore, str]:
        """The store and the object's path in it. The longest prefix that fits decides."""
        scheme, bucket, path = _split(url)
        named = [
            key for key in self._stores if key[:2] == (scheme, bucket) and (not key[2] or path.startswith(f"{key[2]}/"))
        ]
        if not named or not {".", ".."}.isdisjoint(path.split("/")):
            raise DocumentError(
                Code.DOCUMENT_BLOCKED,
                "the operator has named no credentials for this bucket; download the object and upload it",
            )
        if not path:
            raise DocumentError(Code.DOCUMENT_INVALID, f"an object's URL reads {scheme}://bucket/name")
        return self._stores[max(named, key=lambda key: len(key[2]))], path


def _split(url: str) -> tuple[str, str, str]:
    """(scheme, bucket, path). An object's name is taken as it is written: it is no path of a web server."""
    scheme, _, rest = url.strip(" \t\r\n").partition("://")
    bucket, _, path = rest.partition("/")
    return scheme.lower(), bucket, path.strip("/")


def _open(name: str, options: Mapping[str, str], total_seconds: float) -> ObjectStore:
    scheme, bucket, _ = _split(name)
    plain = options.get("allow_http", "").lower() in ("1", "true")
    config: Any = {key: value for key, value in options.items() if key != "allow_http"}
    retry: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=total_seconds)}
    client: Any = {"connect_timeout": "5s", "timeout": "60s", "allow_http": plain}
    try:
        if scheme == "s3" and bucket:
            return S3Store(bucket, config=config, client_options=client, retry_config=retry)
        if scheme == "gs" and bucket:
            return GCSStore(bucket, config=config, client_options=client, retry_config=retry)
    except (BaseError, ValueError, TypeError, OSError) as error:
        raise ConfigError(f"LONGFOLD_FETCH_BUCKETS: {name} cannot be used ({type(error).__name__})") from None
    raise ConfigError(f"LONGFOLD_FETCH_BUCKETS: {name!r} is no s3://bucket or gs://bucket")
