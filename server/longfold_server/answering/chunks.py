"""A job's documents as a stream of chunks, cut in a thread ahead of the reader: within a document, the engine never
waits for the tokenizer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import islice

from longfold_agent.chunks import chunks
from longfold_agent.protocols import Tokens
from longfold_agent.types import Chunk, Position
from longfold_client.types import DocumentInfo
from longfold_server.answering.intake import Intake
from longfold_server.ingest.documents import DocumentStore


class UpTo:
    """A job's documents up to one of them, which the chunker reads; chunks never cross documents."""

    def __init__(self, store: DocumentStore, index: int, document_id: str) -> None:
        self._store = store
        self._document_id = document_id
        self.documents = index + 1

    def pieces(self, document: int, start: Position) -> Iterator[str]:
        """The document's text from `start` on."""
        return self._store.open_pieces(self._document_id, start)


class Ahead:
    """The chunks from `start` on, numbered from `first_index`, those behind the present one cut beforehand.

    Documents are waited for when they are reached; those that are skipped have no chunks.
    """

    def __init__(
        self,
        intake: Intake,
        store: DocumentStore,
        threads: Executor,
        tokens: Tokens,
        budget: int,
        start: Position,
        first_index: int,
        count: int,
    ) -> None:
        self._intake = intake
        self._store = store
        self._threads = threads
        self._tokens = tokens
        self._budget = budget
        self._place = start
        self._index = first_index
        self._count = count
        self._cut: deque[Chunk] = deque()
        self._chunks: Iterator[Chunk] | None = None
        self._next: asyncio.Future[Chunk | None] | None = None

    async def look(self, count: int) -> list[Chunk]:
        """The next `count` chunks; fewer at the end of the text, or where the next document has not come yet, but one
        then is waited for. Raises what `Intake.wait` raises."""
        while len(self._cut) < count and await self._open():
            assert self._next is not None and self._chunks is not None
            chunk = await self._next
            if chunk is None:
                self._chunks = self._next = None
                self._place = Position(self._place.document + 1)
            else:
                self._cut.append(chunk)
                self._index = chunk.index + 1
                self._next = self._begin(self._chunks)
        return list(islice(self._cut, count))

    async def _open(self) -> bool:
        """Goes to the next document that has chunks, unless one is open; False at the end, or to be called again."""
        while self._chunks is None and (at := self._place.document) < self._count:
            if self._cut and not self._intake.come(at):
                return False
            await self._intake.wait(at)
            found = self._intake.outcome(at)
            if isinstance(found, DocumentInfo):
                source = UpTo(self._store, at, found.document_id)
                self._chunks = chunks(source, self._tokens, self._budget, self._place, self._index)
                self._next = self._begin(self._chunks)
            else:
                self._place = Position(at + 1)
        return self._chunks is not None

    def _begin(self, chunks: Iterator[Chunk]) -> asyncio.Future[Chunk | None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, next, chunks, None)

    def drop(self) -> None:
        """Goes on to the chunk behind the first."""
        self._cut.popleft()

    def close(self) -> None:
        """Drops what was cut ahead."""
        if self._next is not None:
            self._next.cancel()
