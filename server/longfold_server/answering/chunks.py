"""A job's documents as a stream of chunks, cut in a thread, one ahead of the reader: the engine never waits for the
tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

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
    """Takes chunks one by one while the next is already being cut."""

    def __init__(self, chunks: Iterator[Chunk], threads: Executor) -> None:
        self._chunks = chunks
        self._threads = threads
        self._next: asyncio.Future[Chunk | None] = self._cut()

    def _cut(self) -> asyncio.Future[Chunk | None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, next, self._chunks, None)

    async def take(self) -> Chunk | None:
        """The next chunk, None behind the last."""
        chunk = await self._next
        if chunk is not None:
            self._next = self._cut()
        return chunk

    def close(self) -> None:
        """Drops what was cut ahead."""
        self._next.cancel()
