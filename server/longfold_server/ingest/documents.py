"""Takes documents in (a URL, a text, an upload) and gives their canonical text back by id. Knows no jobs, chunks or
models.

A document's id is "doc_" + SHA-256 of its canonical text, so the same text is stored once; title and URL belong to the
reference that named it, never to the text.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from longfold_agent.types import Position
from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import index as indexes
from longfold_server.ingest import text, titles
from longfold_server.ingest.blobs import Blob, Blobs
from longfold_server.ingest.body import too_large
from longfold_server.ingest.canonical import Canonical, is_blank
from longfold_server.ingest.credentials import NOBODY, Credentials
from longfold_server.ingest.detect import HTML, PLAIN, detect
from longfold_server.ingest.errors import naming, room, unknown_id
from longfold_server.ingest.fetch import DEFAULT_LIMITS, Fetcher, FetchLimits, Unchanged
from longfold_server.ingest.folder import Folder
from longfold_server.ingest.formats import PARSERS, TEXTUAL
from longfold_server.ingest.formats.source import BINARY, Labels
from longfold_server.ingest.index import Locator, Mark, Skipped
from longfold_server.ingest.location import display, name_of
from longfold_server.ingest.remembered import Made, Remembered
from longfold_server.ingest.sandbox import Sandbox
from longfold_server.ingest.text import Encoding
from longfold_server.ingest.transfer import FileSink, Validators

PREFIX = "doc_"
BEGINNING = Position()
PIECE_CHARACTERS = 65_536
MOST_PARSERS = 4
"""Documents of one process that are parsed at once; each parser may use a core and its share of memory."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One ingested document under the title and URL of the reference that named it."""

    document_id: str
    title: str
    url: str | None
    """As it was asked for."""
    media_type: str
    """What the content was taken for, e.g. `text/html`."""
    encoding: str | None
    """Codec that decoded it; None for text that came as text."""
    bytes: int
    """Size as received, after Content-Encoding."""
    characters: int
    """Length of the canonical text."""
    path: Path
    """The canonical text in UTF-8."""
    skipped: tuple[Skipped, ...] = ()
    """What the text leaves out."""

    @property
    def sha256(self) -> str:
        """Of the canonical text in UTF-8, and of its index where it has one."""
        return self.document_id.removeprefix(PREFIX)


class DocumentStore:
    """The documents of one data folder, or of `blobs`. Made once per process and closed with `aclose`; safe for
    concurrent use. Where the texts are kept in a bucket that is away, every method that needs it raises
    `DocumentsUnavailable`, and so does every `ingest_...` where the disk is full."""

    def __init__(
        self,
        data_dir: Path,
        *,
        limits: FetchLimits = DEFAULT_LIMITS,
        upload_max_bytes: int = 200_000_000,
        fetcher: Fetcher | None = None,
        sandbox: Sandbox | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        self._blobs: Blobs = blobs or Folder(data_dir)
        self._remembered = Remembered(data_dir / "remembered")
        self._fetcher = fetcher or Fetcher(limits)
        self._sandbox = sandbox or Sandbox(size=min(MOST_PARSERS, os.cpu_count() or 1))
        self._upload_max_bytes = upload_max_bytes
        # Canonical text can be longer than its source (UTF-16 ASCII shrinks, cp1252 and U+FFFD grow to three times).
        self._text_max_bytes = 3 * max(limits.max_bytes, upload_max_bytes)

    async def aclose(self) -> None:
        """End connections and parser processes."""
        await self._sandbox.aclose()
        await self._fetcher.aclose()

    async def ingest_url(
        self,
        url: str,
        title: str | None = None,
        index: int | None = None,
        *,
        credentials: Credentials = NOBODY,
        scope: str = "",
    ) -> StoredDocument:
        """Fetch and store a document; one that was ingested before and is still the same is neither sent nor parsed
        again. `index` is its place in the request, for errors. What one `scope` has ingested makes nothing faster for
        another, and what needs `credentials` is always fetched whole. Raises `DocumentError`."""
        with naming(display(url), index), room(), self._blobs.temporary() as path:
            offered: dict[str, StoredDocument] = {}

            async def known(location: str) -> Validators:
                if credentials:
                    return Validators()
                validators, made = await asyncio.to_thread(self._remembered.by_url, scope, location) or (None, None)
                found = await self._again(made)
                if validators is None or found is None:
                    return Validators()
                offered[location] = found
                return validators

            fetched = await self._fetcher.fetch(url, path, credentials, known)
            if isinstance(fetched, Unchanged):
                document = offered[fetched.location]
            else:
                # The name that was asked for says more than what a redirect led to (a signed storage URL).
                document = await self._take_once(
                    path, fetched.sha256, fetched.content_type, name_of(url), fetched.bytes, scope
                )
                if not credentials:
                    await asyncio.to_thread(
                        self._remembered.keep_url, scope, fetched.location, fetched.validators, _made(document)
                    )
            return replace(document, url=url, title=titles.tidy(title) or document.title)

    async def ingest_text(self, content: str, title: str | None = None, index: int | None = None) -> StoredDocument:
        """Store a text as it is. Raises `DocumentError` (`document_empty`)."""
        with naming("", index), room():
            blob = await asyncio.to_thread(self._store, _slices(content))
            head = await asyncio.to_thread(self._blobs.span, blob.sha256, 0, PIECE_CHARACTERS)
            size = await asyncio.to_thread(lambda: len(content.encode("utf-8", "surrogatepass")))
            return _document(blob, titles.tidy(title) or titles.first_line(head), None, PLAIN, None, size)

    async def ingest_upload(
        self,
        chunks: AsyncIterable[bytes],
        content_type: str = "",
        title: str | None = None,
        index: int | None = None,
        *,
        scope: str = "",
    ) -> StoredDocument:
        """Store an uploaded file; the same one is not parsed again within its `scope`. `title` may be its file name.
        Raises `DocumentError`."""
        with naming("", index), room(), self._blobs.temporary() as path:
            sink = await asyncio.to_thread(FileSink, path)
            try:
                async for chunk in chunks:
                    if sink.bytes + len(chunk) > self._upload_max_bytes:
                        raise too_large(self._upload_max_bytes)
                    await sink.write(chunk)
            finally:
                await sink.aclose()
            document = await self._take_once(path, sink.sha256, content_type, title or "", sink.bytes, scope)
            return replace(document, title=titles.tidy(title) or document.title)

    async def get(self, document_id: str, title: str | None = None, index: int | None = None) -> StoredDocument:
        """A stored document; without `title` it is named by its first line. Raises `DocumentError`
        (`document_unknown_id`)."""
        with naming("", index):
            blob = await asyncio.to_thread(self._find, document_id)
            head = await asyncio.to_thread(self._blobs.span, blob.sha256, 0, PIECE_CHARACTERS)
            media_type = PLAIN if blob.marks is None else await asyncio.to_thread(indexes.media_type, blob.marks)
            return _document(blob, titles.tidy(title) or titles.first_line(head), None, media_type, None, blob.bytes)

    async def restore(
        self,
        document_id: str,
        url: str | None,
        index: int | None = None,
        *,
        credentials: Credentials = NOBODY,
        scope: str = "",
    ) -> None:
        """Makes sure that a document a job has begun with is here, if need be by fetching it again from `url`.

        Raises `DocumentError`: `document_missing` for one that was uploaded, `document_changed` for another text at the
        URL, and what `ingest_url` raises.
        """
        with naming("" if url is None else display(url), index):
            if await asyncio.to_thread(self._look, document_id) is not None:
                return
            if url is None:
                raise DocumentError(Code.DOCUMENT_MISSING, "its text is lost; upload it again and ask again")
        log.warning("document_fetched_again", extra={"document_id": document_id})
        again = await self.ingest_url(url, index=index, credentials=credentials, scope=scope)
        if again.document_id != document_id:
            with naming(display(url), index):
                raise DocumentError(
                    Code.DOCUMENT_CHANGED, "it changed after the job had begun to read it; ask again to read it anew"
                )

    def open_pieces(
        self, document_id: str, start: Position = BEGINNING, piece_chars: int = PIECE_CHARACTERS
    ) -> Iterator[str]:
        """The canonical text from `start.byte` to its end. Blocking file reads; the iterator holds one piece.

        Raises `DocumentError` (`document_unknown_id`) at the call, `ValueError` for a byte inside a character.
        """
        return self._blobs.pieces(self._find(document_id).sha256, start.byte, piece_chars)

    def span(self, document_id: str, char_start: int, char_end: int) -> str:
        """Characters `char_start` to `char_end` of the canonical text, read without reading what stands before.
        Blocking.

        Raises `DocumentError` (`document_unknown_id`).
        """
        if char_start < 0:
            raise ValueError("char_start counts from 0")
        return self._blobs.span(self._find(document_id).sha256, char_start, char_end)

    def marks(self, document_id: str) -> Iterator[Mark]:
        """The pages, headings, files ... of a document in their order. Blocking; one at a time in memory.

        Raises `DocumentError` (`document_unknown_id`) at the call.
        """
        path = self._find(document_id).marks
        return iter(()) if path is None else indexes.marks(path)

    def locate(self, document_id: str, char_start: int, char_end: int) -> Locator:
        """Where a span stands in the document as people have it. Blocking; reads the index up to the span.

        Raises `DocumentError` (`document_unknown_id`).
        """
        blob = self._find(document_id)
        entries = iter([indexes.UNMARKED]) if blob.marks is None else indexes.read(blob.marks)
        return indexes.locate(entries, char_start, char_end, partial(self._blobs.lines, blob.sha256))

    def old(self, seconds: float) -> Iterator[str]:
        """Ids of the documents that were not stored, not even again, for so long. Blocking."""
        return (PREFIX + sha256 for sha256 in self._blobs.old(seconds))

    def remove(self, document_id: str, seconds: float) -> bool:
        """Removes a document's text if it is still that old; whether it did. Blocking."""
        return self._blobs.remove(document_id.removeprefix(PREFIX), seconds)

    def forget_notes(self, seconds: float) -> None:
        """Forgets what was made of files and URLs that did not come again for so long. Blocking."""
        self._remembered.expire(seconds)

    def _find(self, document_id: str) -> Blob:
        blob = self._look(document_id)
        if blob is None:
            raise unknown_id()
        return blob

    def _look(self, document_id: str) -> Blob | None:
        if not document_id.startswith(PREFIX):
            return None
        try:
            return self._blobs.get(document_id.removeprefix(PREFIX))
        except ValueError:
            return None

    async def _take_once(
        self, path: Path, sha256: str, content_type: str, name: str, size: int, scope: str
    ) -> StoredDocument:
        """`_take`, or what came of it the last time."""
        made = await asyncio.to_thread(self._remembered.by_hash, scope, sha256, content_type, name)
        document = await self._again(made)
        if document is None:
            document = await self._take(path, content_type, name, size, scope)
            await asyncio.to_thread(self._remembered.keep_hash, scope, sha256, content_type, name, _made(document))
        return document

    async def _again(self, made: Made | None) -> StoredDocument | None:
        """What was made before, if its text is still here."""
        if made is None or await asyncio.to_thread(self._look, made.document_id) is None:
            return None
        found = await self.get(made.document_id, made.title)
        return replace(found, media_type=made.media_type, encoding=made.encoding, bytes=made.bytes)

    async def _take(self, path: Path, content_type: str, name: str, size: int, scope: str) -> StoredDocument:
        """Detect, decode, parse and store a received file."""
        media_type = (await asyncio.to_thread(detect, path, content_type, name)).media_type
        encoding: Encoding | None = None
        if media_type in TEXTUAL or media_type not in PARSERS:
            charset = text.content_type_charset(content_type)
            encoding = await asyncio.to_thread(text.choose, path, charset, media_type == HTML)
        labels = Labels()
        if media_type in PARSERS:
            with self._blobs.temporary() as parsed, self._blobs.temporary() as marks:
                labels = await self._sandbox.parse(
                    media_type, path, encoding or BINARY, parsed, marks, name, scope=scope
                )
                blob = await asyncio.to_thread(self._store, text.pieces(parsed, Encoding("utf-8")), marks)
        else:
            assert encoding is not None
            blob = await asyncio.to_thread(self._store, text.pieces(path, encoding))
        found = titles.tidy(labels.title) or titles.tidy(labels.heading) or titles.tidy(name)
        if not found:
            head = await asyncio.to_thread(self._blobs.span, blob.sha256, 0, PIECE_CHARACTERS)
            found = titles.first_line(head)
        return _document(blob, found, None, media_type, encoding.name if encoding else None, size)

    def _store(self, pieces: Iterator[str], marks: Path | None = None) -> Blob:
        """Make a text canonical and store it with its index; refuses one without any visible character."""
        visible = False
        characters = 0

        def canonical_pieces() -> Iterator[str]:
            nonlocal visible, characters
            form = Canonical()
            for piece in pieces:
                ready = form.feed(piece)
                visible = visible or not is_blank(ready)
                characters += len(ready)
                yield ready
            rest = form.finish()
            visible = visible or not is_blank(rest)
            characters += len(rest)
            yield rest
            if not visible:
                raise DocumentError(Code.DOCUMENT_EMPTY, "it holds no text")
            if marks is not None:
                _check(marks, characters)

        return self._blobs.put(canonical_pieces(), _at_most(self._text_max_bytes), marks)


def _made(document: StoredDocument) -> Made:
    return Made(document.document_id, document.title, document.media_type, document.encoding, document.bytes)


def _check(marks: Path, characters: int) -> None:
    try:
        indexes.check(marks, characters)
    except ValueError:
        raise DocumentError(
            Code.DOCUMENT_UNDECODABLE, "it cannot be parsed; convert it to plain text and upload that"
        ) from None


def _at_most(max_bytes: int) -> Callable[[int], None]:
    def check(size: int) -> None:
        if size > max_bytes:
            raise too_large(max_bytes)

    return check


def _slices(content: str) -> Iterator[str]:
    for start in range(0, len(content), PIECE_CHARACTERS):
        yield content[start : start + PIECE_CHARACTERS]


def _document(
    blob: Blob, title: str, url: str | None, media_type: str, encoding: str | None, size: int
) -> StoredDocument:
    skipped = () if blob.marks is None else tuple(indexes.skipped(blob.marks))
    return StoredDocument(
        PREFIX + blob.sha256, title, url, media_type, encoding, size, blob.characters, blob.path, skipped
    )
