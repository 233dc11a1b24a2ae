"""A job's documents as they come: fetched and parsed ahead, in their order, while earlier ones are read. Knows no
question and no chunk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from longfold_client.types import DocumentInfo, EventType, OnDocumentError, Problem
from longfold_server.answering.manifest import Outcome, document_info
from longfold_server.answering.parts import Run
from longfold_server.codes import Code
from longfold_server.ending import end
from longfold_server.errors import DocumentError, DocumentsUnavailable, JobFailure
from longfold_server.ingest.credentials import Credentials
from longfold_server.jobs.records import Source
from longfold_server.patience import Patience
from longfold_server.problems import problem_of

AT_ONCE = 4
"""Documents of one job fetched at once."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Intake:
    """The documents of one job. Those that have come are committed by `keep`, before anything of them is read.

    Where the job says `fail`, every method raises the `DocumentError` of the first document that failed, whichever it
    waits for; where it says `skip`, such a document has come as a problem.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._credentials = Credentials(run.request.credentials)
        self._tasks: list[asyncio.Task[Outcome]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._began = run.elapsed

    async def begin(self) -> None:
        """Starts everything. Returns when the first document has come, with those that need no fetching; at once in
        a job that has them from another worker."""
        sources, setup = self._run.request.sources, self._run.setup
        turn = asyncio.Semaphore(AT_ONCE)
        known, setup.documents = setup.documents, setup.documents or [None] * len(sources)
        for index, source in enumerate(sources):
            task = asyncio.create_task(self._one(turn, index, source, setup.documents[index]))
            task.add_done_callback(self._done)
            self._tasks.append(task)
        if known is None:
            async with self._in_time():
                for index, source in enumerate(sources):
                    if index == 0 or source.url is None:
                        await self.wait(index)
            await self.keep()

    async def more(self) -> None:
        """Waits until at least one more document has come, and commits it. At once when all have."""
        coming = {task for task in self._tasks if not task.done()}
        if coming and not self._new():
            async with self._in_time():
                await self._any(*coming)
        await self.keep()

    async def wait(self, index: int) -> None:
        """Waits until the document has come."""
        await self._any(self._tasks[index])
        self.check()

    def come(self, index: int) -> bool:
        """Whether the document has come."""
        return self._tasks[index].done()

    def outcome(self, index: int) -> Outcome:
        """The document that has come."""
        return self._tasks[index].result()

    def check(self) -> None:
        """Raises the error of the document that failed first, if one has."""
        if self._failed.done():
            self._failed.result()

    async def keep(self) -> None:
        """Commits what has come since the last time, with one event. Raises a `DocumentError` when all have come and
        none can be read, `LeaseLost`, `JobCancelled`."""
        self.check()
        setup, new = self._run.setup, self._new()
        if not new or setup.documents is None:
            return
        for index, outcome in new.items():
            setup.documents[index] = outcome
        if setup.complete:
            setup.ingest_seconds += self._run.elapsed - self._began
        problems = [outcome for outcome in new.values() if isinstance(outcome, Problem)]
        told = {
            "documents": [
                {"document": index, **outcome.model_dump(mode="json")}
                for index, outcome in new.items()
                if isinstance(outcome, DocumentInfo)
            ],
            "skipped": [problem.model_dump(mode="json", exclude_none=True) for problem in problems],
            "missing": setup.documents.count(None),
        }
        await self._run.keep(EventType.INGESTED, told)
        if setup.complete and not setup.ingested:
            first = problems[0]
            raise DocumentError(first.code, f"no document can be read; {first.detail}", first.document)

    async def aclose(self) -> None:
        """Drops what is still under way."""
        await end(*self._tasks)
        if not self._failed.cancel():
            self._failed.exception()  # nobody may be left to take it

    async def _any(self, *tasks: asyncio.Task[Outcome]) -> None:
        """Waits until one of the tasks has ended, or any document has failed."""
        waited: set[asyncio.Future[Any]] = {*tasks, self._failed}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)

    def _new(self) -> dict[int, Outcome]:
        documents = self._run.setup.documents or []
        return {
            index: task.result()
            for index, task in enumerate(self._tasks)
            if documents[index] is None and task.done() and not task.cancelled() and task.exception() is None
        }

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """A wait before which nothing can have been read. Raises `JobFailure` at the job's deadline."""
        try:
            async with asyncio.timeout_at(self._run.deadline) as clock:
                yield
        except TimeoutError:
            if not clock.expired():
                raise
            raise self._run.overdue("while the documents were being fetched") from None

    async def _one(self, turn: asyncio.Semaphore, index: int, source: Source, known: Outcome | None) -> Outcome:
        async with turn if source.url is not None else nullcontext():
            if known is not None:
                await self._restore(index, known)
                return known
            try:
                return await self._ingest(index, source)
            except DocumentError as error:
                if self._run.request.on_document_error is OnDocumentError.FAIL:
                    raise
                log.info("document_skipped", extra={"job": self._run.claim.job, "code": error.code})
                problem = problem_of(error)
                assert problem is not None
                return problem

    async def _restore(self, index: int, known: Outcome) -> None:
        """Makes sure that what another worker ingested can be read here."""
        if isinstance(known, DocumentInfo):
            documents = self._run.parts.documents
            restore = partial(documents.restore, credentials=self._credentials, scope=self._run.claim.tenant)
            await self._patiently(partial(restore, known.document_id, known.url, index))

    async def _ingest(self, index: int, source: Source) -> DocumentInfo:
        run, documents = self._run, self._run.parts.documents
        if source.url is None:
            stored = await self._patiently(partial(documents.get, str(source.document_id), source.title, index))
            facts = await run.facts(stored.document_id)
            if facts is None:
                return document_info(stored)
            return facts.model_copy(update={"title": stored.title}) if source.title or not facts.title else facts
        fetch = partial(documents.ingest_url, credentials=self._credentials, scope=run.claim.tenant)
        stored = await self._patiently(partial(fetch, source.url, source.title, index))
        run.parts.metrics.documents.labels(source="url").inc()
        info = document_info(stored)
        await run.own(info)
        return info

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Waits for a document store that is away. Raises `JobFailure` when it stays so."""
        async with Patience(self._run.parts.engine_patience_seconds) as patience:
            while True:
                try:
                    return await attempt()
                except DocumentsUnavailable as error:
                    log.warning("documents_away", extra={"job": self._run.claim.job})
                    if not await patience.rest(type(error).__name__):
                        raise JobFailure(Code.DOCUMENTS_UNAVAILABLE, "the document store stayed away") from error
