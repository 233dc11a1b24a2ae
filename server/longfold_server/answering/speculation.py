"""Speculative reading: while a chunk is being read, the ones behind it are read too, on the guess that the memory stays
as it is. Knows no commits and no store.

Through a gate most chunks leave the memory untouched, so the next call is mostly known before the present one ends.
A call begun on a right guess is the very call that would have been made, hence the reading is the same with and
without; one begun on a wrong guess is dropped, and the tokens it took are spent for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from longfold_agent.fold import Fold
from longfold_agent.types import Call, Chunk, Completion, Update, UpdateKind
from longfold_server.ending import end

Complete = Callable[[Call, Chunk], Awaitable[Completion]]


class Speculation:
    """A reading's engine calls, some of them begun before their turn."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete
        self._begun: dict[tuple[Call, int], asyncio.Task[Completion]] = {}
        self._dropped: set[asyncio.Task[Completion]] = set()

    async def complete(self, fold: Fold, chunks: Sequence[Chunk]) -> Completion:
        """The completion of the fold's pending call on `chunks[0]`; the calls on the other chunks are begun beside it.
        Raises what the engine's call raises."""
        wanted = {(call, chunk.index): (call, chunk) for call, chunk in _guessed(fold, chunks)}
        for key in self._begun.keys() - wanted.keys():
            self._drop(self._begun.pop(key))
        for key, (call, chunk) in wanted.items():
            if key not in self._begun:
                self._begun[key] = asyncio.ensure_future(self._complete(call, chunk))
        first = self._begun.pop(next(iter(wanted)))
        try:
            return await first
        finally:
            if not first.done():
                self._drop(first)

    async def aclose(self) -> None:
        """Drops what is under way and waits until it has ended."""
        for task in self._begun.values():
            self._drop(task)
        self._begun.clear()
        await end(*self._dropped)

    def _drop(self, task: asyncio.Task[Completion]) -> None:
        self._dropped.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[Completion]) -> None:
        self._dropped.discard(task)
        if not task.cancelled():
            task.exception()  # nobody is left to take it


def _guessed(fold: Fold, chunks: Sequence[Chunk]) -> Iterator[tuple[Call, Chunk]]:
    """The pending call, and those that follow if every reply is KEEP."""
    for chunk in chunks:
        [call] = fold.pending()
        yield call, chunk
        fold, _ = fold.advance(call.id, Update(UpdateKind.KEEP))
