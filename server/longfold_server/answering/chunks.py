"""A job's documents as a stream of chunks, cut in a thread ahead of the reader: the engine never waits for the
tokenizer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from itertools import islice

from longfold_agent.types import Chunk, Position
from longfold_server.ingest.documents import DocumentStore


class JobText:
    """The ordered documents of a job as the chunker reads them."""

    def __init__(self, documents: DocumentStore, ids: Sequence[str]) -> None:
        self._documents = documents
        self._ids = tuple(ids)

    @property
    def documents(self) -> int:
        """How many there are."""
        return len(self._ids)

    def pieces(self, document: int, start: Position) -> Iterator[str]:
        """The document's text from `start` on."""
        return self._documents.open_pieces(self._ids[document], start)


class Ahead:
    """The chunks in order, those behind the present one cut beforehand."""

    def __init__(self, chunks: Iterator[Chunk], threads: Executor) -> None:
        self._chunks = chunks
        self._threads = threads
        self._cut: deque[Chunk] = deque()
        self._next: asyncio.Future[Chunk | None] = self._begin()

    def _begin(self) -> asyncio.Future[Chunk | None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, next, self._chunks, None)

    async def look(self, count: int) -> list[Chunk]:
        """The next `count` chunks, fewer only at the end of the text."""
        while len(self._cut) < count and (chunk := await self._next) is not None:
            self._cut.append(chunk)
            self._next = self._begin()
        return list(islice(self._cut, count))

    def drop(self) -> None:
        """Goes on to the chunk behind the first."""
        self._cut.popleft()

    def close(self) -> None:
        """Drops what was cut ahead."""
        self._next.cancel()
