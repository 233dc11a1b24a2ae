"""An upload from its creation to its last byte: what belongs together, who may go on with it, when it ends. Knows no
HTTP.

What has arrived of an upload is the chain of its parts: each is named by the offset at which it begins, so the next one
begins where the chain ends, and two replicas cannot both write it. A part that broke in the middle counts as far as it
came.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from longfold_client.types import DocumentInfo
from longfold_server.codes import Code
from longfold_server.errors import Refused
from longfold_server.ingest.errors import room
from longfold_server.ingest.transfer import FileSink
from longfold_server.uploads.parts import PLACE, UploadParts

PART_BYTES = 16 << 20
"""So much of a long request is kept for good before it ends; a bucket takes a part in one piece."""
MOST_PARTS = 10_000
"""Of one upload: 200 MB in 10,000 parts are 20 kB each, and a chain is walked with every request."""
MOST_OPEN = 50
"""Uploads of one tenant that have not become documents: what a tenant can fill the disk with is that many times the
largest upload."""

_FACTS, _DONE = "facts", "done"


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload as it is now."""

    id: str
    length: int
    """Bytes of the whole file."""
    offset: int
    """Bytes that have arrived."""
    title: str
    media_type: str
    parts: int
    """In which they have arrived."""
    expires: datetime
    """When it is removed, whatever has arrived."""
    document: DocumentInfo | None
    """What it has become."""

    @property
    def complete(self) -> bool:
        return self.offset == self.length


class Uploads:
    """The uploads of all tenants; each sees its own. What leaves the machine, or meets a full disk, raises
    `DocumentsUnavailable`."""

    def __init__(self, parts: UploadParts, retention_seconds: float) -> None:
        self._parts = parts
        self._retention = retention_seconds

    async def create(self, tenant: str, length: int, title: str, media_type: str) -> Upload:
        """A new upload of `length` bytes. Raises `Refused` (`too_many_uploads`)."""
        return await asyncio.to_thread(self._create, tenant, length, title, media_type)

    async def find(self, tenant: str, upload: str) -> Upload:
        """Raises `Refused` (`upload_not_found`), also for another tenant's."""
        return await asyncio.to_thread(self._find, tenant, upload)

    async def append(self, tenant: str, upload: str, offset: int, chunks: AsyncIterable[bytes]) -> Upload:
        """Adds what comes, as far as it comes: what breaks it off is raised again once all that had arrived is kept.

        Raises `Refused`: `upload_conflict` when the upload does not stand at `offset` (any more), `upload_not_found`,
        `request_too_large` for more bytes than were announced.
        """
        found = await self.find(tenant, upload)
        if found.document is not None or found.offset != offset:
            raise _conflict(found.offset)
        if found.parts >= MOST_PARTS:
            raise Refused(
                Code.UPLOAD_CONFLICT, f"an upload has at most {MOST_PARTS:,} parts; delete it and send larger ones"
            )
        place, arriving, missing = _place(tenant, upload), aiter(chunks), found.length - offset
        while added := await self._part(place, found.length - missing, arriving, missing):
            missing -= added
        return await self.find(tenant, upload)

    async def _part(self, place: str, offset: int, arriving: AsyncIterator[bytes], most: int) -> int:
        """Keeps the next part of what comes; its bytes, 0 at the end."""
        with room(), self._parts.temporary() as path:
            sink = await asyncio.to_thread(FileSink, path)
            try:
                while sink.bytes < PART_BYTES and (chunk := await anext(arriving, b"")):
                    if sink.bytes + len(chunk) > most:
                        raise Refused(Code.REQUEST_TOO_LARGE, "more bytes came than the upload was announced with")
                    await sink.write(chunk)
            finally:
                # Also when the caller went away or this request is cancelled: the next one goes on from here.
                await asyncio.shield(self._keep(place, offset, sink))
            return sink.bytes

    async def _keep(self, place: str, offset: int, sink: FileSink) -> None:
        await sink.aclose()
        if sink.bytes:
            await asyncio.to_thread(self._store, place, offset, sink.path)

    def _store(self, place: str, offset: int, path: Path) -> None:
        try:
            kept = self._parts.keep(place, _name(offset), path)
        except FileNotFoundError:  # it was removed at this moment
            raise _unknown() from None
        if not self._left(place):
            raise _unknown()
        if not kept:
            raise _conflict(offset)

    def _left(self, place: str) -> dict[str, int]:
        """The parts of an upload by their names. What was stored after its removal goes."""
        sizes = self._parts.sizes(place)
        if _FACTS in sizes:
            return sizes
        self._parts.remove(place)
        return {}

    def _remove(self, place: str) -> None:
        # Who stores a part now either finds the facts gone or has it listed for removal.
        self._parts.remove(place, [_FACTS])
        self._parts.remove(place)

    async def content(self, tenant: str, upload: Upload) -> AsyncIterator[bytes]:
        """The whole file. Raises `Refused`: `upload_incomplete`, or `upload_conflict` at the end of what is left when
        its parts go meanwhile: it has become a document, or was given up."""
        if not upload.complete:
            raise Refused(Code.UPLOAD_INCOMPLETE, f"{upload.offset:,} of {upload.length:,} bytes have arrived")
        pieces, missing = self._pieces(_place(tenant, upload.id)), upload.length
        with suppress(FileNotFoundError):
            while piece := await asyncio.to_thread(next, pieces, b""):
                missing -= len(piece)
                yield piece
        if missing:
            raise Refused(Code.UPLOAD_CONFLICT, "its parts went while they were read; ask for Upload-Offset again")

    async def become(self, tenant: str, upload: Upload, document: DocumentInfo) -> None:
        """The upload has become a document: its parts go, what it became is told until it expires."""
        await asyncio.to_thread(self._become, _place(tenant, upload.id), document)

    async def remove(self, tenant: str, upload: str) -> None:
        """Raises `Refused` (`upload_not_found`)."""
        await self.find(tenant, upload)
        await asyncio.to_thread(self._remove, _place(tenant, upload))

    def expire(self) -> int:
        """Removes the uploads whose time is over; how many. Blocking."""
        over = list(self._parts.old(self._retention))
        for place in over:
            self._remove(place)
        return len(over)

    def _create(self, tenant: str, length: int, title: str, media_type: str) -> Upload:
        sizes = map(self._parts.sizes, self._parts.places(_owner(tenant)))
        if sum(_FACTS in names and _DONE not in names for names in sizes) >= MOST_OPEN:
            raise Refused(
                Code.TOO_MANY_UPLOADS, f"{MOST_OPEN} uploads are open, as many as there may be; end or delete one"
            )
        upload = secrets.token_hex(16)
        facts = {"length": length, "title": title, "media_type": media_type, "created": time.time()}
        self._write(_place(tenant, upload), _FACTS, json.dumps(facts).encode())
        return self._find(tenant, upload)

    def _find(self, tenant: str, upload: str) -> Upload:
        place = _place(tenant, upload)
        sizes = self._parts.sizes(place) if PLACE.match(place) else {}
        if _FACTS not in sizes:
            raise _unknown()
        try:
            facts = json.loads(b"".join(self._parts.read(place, _FACTS)))
            done = b"".join(self._parts.read(place, _DONE)) if _DONE in sizes else b""
        except FileNotFoundError:  # it was removed at this moment
            raise _unknown() from None
        ends = facts["created"] + self._retention
        if ends <= time.time():
            raise _unknown()
        document = DocumentInfo.model_validate_json(done) if done else None
        names, arrived = _chain(sizes)
        return Upload(
            upload,
            facts["length"],
            arrived if document is None else facts["length"],
            facts["title"],
            facts["media_type"],
            len(names),
            datetime.fromtimestamp(ends, UTC),
            document,
        )

    def _pieces(self, place: str) -> Iterator[bytes]:
        for name in _chain(self._parts.sizes(place))[0]:
            yield from self._parts.read(place, name)

    def _become(self, place: str, document: DocumentInfo) -> None:
        self._write(place, _DONE, document.model_dump_json().encode())
        self._parts.remove(place, [name for name in self._left(place) if name not in (_FACTS, _DONE)])

    def _write(self, place: str, name: str, data: bytes) -> None:
        with room(), self._parts.temporary() as path:
            path.write_bytes(data)
            self._parts.keep(place, name, path)


def _owner(tenant: str) -> str:
    """A tenant's folder; a name may hold what no path should."""
    return hashlib.sha256(tenant.encode()).hexdigest()[:32]


def _place(tenant: str, upload: str) -> str:
    return f"{_owner(tenant)}/{upload}"


def _name(offset: int) -> str:
    return f"{offset:020d}"


def _chain(sizes: dict[str, int]) -> tuple[list[str], int]:
    """The parts that follow on each other from the first byte, and where they end."""
    names, offset = [], 0
    while (size := sizes.get(_name(offset))) is not None:
        names.append(_name(offset))
        offset += size
    return names, offset


def _unknown() -> Refused:
    return Refused(Code.UPLOAD_NOT_FOUND, "there is no such upload, or its time is over; begin a new one")


def _conflict(offset: int) -> Refused:
    return Refused(Code.UPLOAD_CONFLICT, f"the upload stands at byte {offset:,}; ask for Upload-Offset and go on there")
