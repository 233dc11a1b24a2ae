"""A document's bytes on their way into a file, over as many connections as it takes. Knows no network.

A broken transfer is taken up where it broke (RFC 9110, 14: `Range`, `Content-Range`; 13.1.5: `If-Range`) when the first
answer carried a strong validator; the decoder of its Content-Encoding goes on in the middle of the stream.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

import httpx

from longfold_server.ingest.body import BodyDecoder, Truncated, too_large
from longfold_server.ingest.location import Location

WRITE_BYTES = 1 << 20
STRONG_AFTER = timedelta(seconds=60)
"""A Last-Modified so much older than the answer that the document cannot have changed twice within its second."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said by which a later answer can be told to be the same (RFC 9110, 8.8); "" for nothing."""

    etag: str = ""
    last_modified: str = ""

    @classmethod
    def of(cls, response: httpx.Response) -> Validators:
        """Those of an answer. None of one that must not be kept (`Cache-Control: no-store`) or that depends on what
        nobody can see (`Vary: *`)."""
        if "no-store" in response.headers.get("cache-control", "").lower() or "*" in response.headers.get("vary", ""):
            return cls()
        return cls(_shown(response.headers.get("etag", "")), _shown(response.headers.get("last-modified", "")))

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified)

    @property
    def headers(self) -> dict[str, str]:
        """Those of a conditional request."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.last_modified} if self.last_modified else {}


class Transfer:
    """One document on its way into `target`. At most `max_bytes` on the wire, and decoded."""

    def __init__(self, target: Path, max_bytes: int) -> None:
        self._target = target
        self._max_bytes = max_bytes
        self._sink: FileSink | None = None
        self._decoder = BodyDecoder("", max_bytes)
        self._encoding = ""
        self._size: int | None = None
        self._if_range = ""
        self._etag = ""
        self.location: Location | None = None
        """Where the part that is here came from."""
        self.validators = Validators()
        self.content_type = ""

    @property
    def wire(self) -> int:
        """Bytes of the body that have arrived; those of an earlier connection count as far as they are kept."""
        return self._decoder.wire

    @property
    def kept(self) -> int:
        """Bytes of the body that need not be sent again."""
        return self.wire if self._if_range else 0

    @property
    def decoded(self) -> int:
        """Bytes in the file, once it is finished."""
        return 0 if self._sink is None else self._sink.bytes

    @property
    def sha256(self) -> str:
        return "" if self._sink is None else self._sink.sha256

    @property
    def headers(self) -> dict[str, str]:
        """Those of a request for what is missing; none when everything is."""
        return {"Range": f"bytes={self.kept}-", "If-Range": self._if_range} if self.kept else {}

    async def begin(self, response: httpx.Response, location: Location) -> None:
        """Starts anew with a whole answer. Raises `DocumentError` for one that is announced as too large or comes in an
        unknown encoding."""
        await self.forget()
        announced = response.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit():
            self._size = int(announced[:18])
            if self._size > self._max_bytes:
                raise too_large(self._max_bytes)
        self._encoding = response.headers.get("content-encoding", "")
        self._decoder = BodyDecoder(self._encoding, self._max_bytes)
        self._if_range, self._etag = _if_range(response), response.headers.get("etag", "")
        self.location, self.validators = location, Validators.of(response)
        self.content_type = response.headers.get("content-type", "")
        self._sink = await asyncio.to_thread(FileSink, self._target)

    def continues(self, response: httpx.Response) -> bool:
        """Whether a 206 holds exactly what is missing of the same representation."""
        found = _CONTENT_RANGE.match(response.headers.get("content-range", "").strip())
        return (
            found is not None
            and int(found[1]) == self.kept
            and (self._size is None or found[3] in ("*", str(self._size)))
            and response.headers.get("content-encoding", "") == self._encoding
            and response.headers.get("etag", self._etag) == self._etag
        )

    async def take(self, data: bytes) -> None:
        """Decodes and writes what arrived. Raises `DocumentError` (`document_too_large`, `document_undecodable`)."""
        assert self._sink is not None
        for piece in self._decoder.feed(data):
            await self._sink.write(piece)

    async def finish(self) -> None:
        """Raises `Truncated` when a part is missing."""
        if self._size is not None and self.wire < self._size:
            raise Truncated
        self._decoder.finish()
        await self.aclose()

    async def forget(self) -> None:
        """Drops what has arrived."""
        await self.aclose()
        self._sink, self._size, self._if_range = None, None, ""
        self._decoder = BodyDecoder("", self._max_bytes)

    async def aclose(self) -> None:
        if self._sink is not None:
            await self._sink.aclose()


class FileSink:
    """Writes and hashes pieces off the event loop, about a megabyte at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("wb")
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self.bytes = 0

    async def write(self, piece: bytes) -> None:
        self.bytes += len(piece)
        self._waiting += piece
        if len(self._waiting) >= WRITE_BYTES:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        self._digest.update(self._waiting)
        self._file.write(self._waiting)
        self._waiting.clear()

    def close(self) -> None:
        """Writes the rest. May be repeated."""
        if not self._file.closed:
            with self._file:
                self._flush()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _if_range(response: httpx.Response) -> str:
    """A strong validator for `If-Range`, or ""."""
    etag = _shown(response.headers.get("etag", ""))
    if etag:
        return "" if etag.startswith("W/") else etag
    modified, date = response.headers.get("last-modified", ""), response.headers.get("date", "")
    then, now = _moment(modified), _moment(date)
    return _shown(modified) if then is not None and now is not None and now - then >= STRONG_AFTER else ""


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(value: str) -> str:
    """A header's value if it can be sent back."""
    return value if value.isascii() and value.isprintable() and len(value) <= 1_000 else ""
