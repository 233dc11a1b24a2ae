"""Takes documents in (a URL, a text, an upload) and gives their canonical text back by id. Knows no jobs, chunks or
models.

A document's id is "doc_" + SHA-256 of its canonical text, so the same text is stored once; title and URL belong to the
reference that named it, never to the text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from longfold_agent.types import Position
from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import text, titles
from longfold_server.ingest.blobs import Blob, Blobs
from longfold_server.ingest.body import too_large
from longfold_server.ingest.canonical import Canonical
from longfold_server.ingest.detect import HTML, MARKDOWN, PLAIN, detect
from longfold_server.ingest.errors import naming, unknown_id
from longfold_server.ingest.fetch import DEFAULT_LIMITS, Fetcher, FetchLimits, FileSink
from longfold_server.ingest.folder import Folder
from longfold_server.ingest.html import Page
from longfold_server.ingest.location import display, locate
from longfold_server.ingest.sandbox import Sandbox
from longfold_server.ingest.text import Encoding

PREFIX = "doc_"
BEGINNING = Position()
PIECE_CHARACTERS = 65_536
PARSED = frozenset({HTML})
"""Media types that a parser process turns into text; keys of `parser_process.PARSERS`."""

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

    @property
    def sha256(self) -> str:
        """Of the canonical text in UTF-8."""
        return self.document_id.removeprefix(PREFIX)


class DocumentStore:
    """The documents of one data folder, or of `blobs`. Made once per process and closed with `aclose`; safe for
    concurrent use. Where the texts are kept in a bucket that is away, every method that needs it raises
    `DocumentsUnavailable`."""

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
        self._fetcher = fetcher or Fetcher(limits)
        self._sandbox = sandbox or Sandbox()
        self._upload_max_bytes = upload_max_bytes
        # Canonical text can be longer than its source (UTF-16 ASCII shrinks, cp1252 and U+FFFD grow to three times).
        self._text_max_bytes = 3 * max(limits.max_bytes, upload_max_bytes)

    async def aclose(self) -> None:
        """End connections and parser processes."""
        await self._sandbox.aclose()
        await self._fetcher.aclose()

    async def ingest_url(
        self, url: str, title: str | None = None, index: int | None = None, authorization: str | None = None
    ) -> StoredDocument:
        """Fetch and store a document. `index` is its place in the request, for errors. Raises `DocumentError`."""
        with naming(display(url), index), self._blobs.temporary() as path:
            fetched = await self._fetcher.fetch(url, path, authorization)
            # The name that was asked for says more than what a redirect led to (a signed storage URL).
            name = locate(url).file_name
            return await self._take(path, fetched.content_type, name, title, url, fetched.bytes)

    async def ingest_text(self, content: str, title: str | None = None, index: int | None = None) -> StoredDocument:
        """Store a text as it is. Raises `DocumentError` (`document_empty`)."""
        with naming("", index):
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
    ) -> StoredDocument:
        """Store an uploaded file. `title` may be its file name. Raises `DocumentError`."""
        with naming("", index), self._blobs.temporary() as path:
            sink = await asyncio.to_thread(FileSink, path)
            try:
                async for chunk in chunks:
                    if sink.bytes + len(chunk) > self._upload_max_bytes:
                        raise too_large(self._upload_max_bytes)
                    await sink.write(chunk)
            finally:
                await sink.aclose()
            return await self._take(path, content_type, title or "", title, None, sink.bytes)

    async def get(self, document_id: str, title: str | None = None, index: int | None = None) -> StoredDocument:
        """A stored document; without `title` it is named by its first line. Raises `DocumentError`
        (`document_unknown_id`)."""
        with naming("", index):
            blob = await asyncio.to_thread(self._find, document_id)
            head = await asyncio.to_thread(self._blobs.span, blob.sha256, 0, PIECE_CHARACTERS)
            return _document(blob, titles.tidy(title) or titles.first_line(head), None, PLAIN, None, blob.bytes)

    async def restore(self, document_id: str, url: str | None, index: int | None = None) -> None:
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
        again = await self.ingest_url(url, index=index)
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

    async def _take(
        self, path: Path, content_type: str, name: str, title: str | None, url: str | None, size: int
    ) -> StoredDocument:
        """Detect, decode, parse and store a received file."""
        kind = await asyncio.to_thread(detect, path, content_type, name)
        markup = kind.media_type in PARSED
        encoding = await asyncio.to_thread(text.choose, path, text.content_type_charset(content_type), markup)
        page = Page("", "")
        if markup:
            with self._blobs.temporary() as parsed:
                page = await self._sandbox.parse(kind.media_type, path, encoding, parsed)
                blob = await asyncio.to_thread(self._store, text.pieces(parsed, Encoding("utf-8")))
        else:
            blob = await asyncio.to_thread(self._store, text.pieces(path, encoding))
        found = titles.tidy(title) or titles.tidy(page.title) or titles.tidy(page.heading)
        if not found:
            head = await asyncio.to_thread(self._blobs.span, blob.sha256, 0, PIECE_CHARACTERS)
            found = titles.heading(head) if kind.media_type == MARKDOWN else ""
            found = found or titles.tidy(name) or titles.first_line(head)
        return _document(blob, found, url, kind.media_type, encoding.name, size)

    def _store(self, pieces: Iterator[str]) -> Blob:
        """Make a text canonical and store it; refuses one without any visible character."""
        visible = False

        def canonical_pieces() -> Iterator[str]:
            nonlocal visible
            form = Canonical()
            for piece in pieces:
                ready = form.feed(piece)
                visible = visible or not (not ready or ready.isspace())
                yield ready
            rest = form.finish()
            visible = visible or not (not rest or rest.isspace())
            yield rest
            if not visible:
                raise DocumentError(Code.DOCUMENT_EMPTY, "it holds no text")

        return self._blobs.put(canonical_pieces(), _at_most(self._text_max_bytes))


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
    return StoredDocument(PREFIX + blob.sha256, title, url, media_type, encoding, size, blob.characters, blob.path)
