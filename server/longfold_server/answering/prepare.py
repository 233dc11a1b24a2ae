"""What happens before reading: documents, question and route, each committed once with its event. Knows no memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from longfold_agent.decompose import decompose
from longfold_agent.errors import DirectTooLarge, Unsupported
from longfold_agent.route import Mode as AgentMode
from longfold_agent.route import RouteDecision, route
from longfold_agent.types import Query
from longfold_client.types import DocumentInfo, EventType, Mode, Route
from longfold_server.answering.parts import Run
from longfold_server.codes import Code
from longfold_server.ending import end
from longfold_server.errors import DocumentsUnavailable, JobFailure
from longfold_server.ingest.documents import StoredDocument
from longfold_server.jobs.records import Source
from longfold_server.patience import Patience

AT_ONCE = 4
"""Documents of one job fetched at once."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def document_info(stored: StoredDocument) -> DocumentInfo:
    """The wire's view of an ingested document."""
    return DocumentInfo(
        document_id=stored.document_id,
        title=stored.title,
        url=stored.url,
        media_type=stored.media_type,
        encoding=stored.encoding,
        bytes=stored.bytes,
        characters=stored.characters,
        sha256=stored.document_id.removeprefix("doc_"),
    )


async def prepare(run: Run) -> None:
    """Completes `run.setup`. Raises `DocumentError`, `JobFailure`, an `EngineError` that retrying cannot help,
    `LeaseLost`, `JobCancelled`."""
    setup = run.setup
    if setup.documents is None:
        began = run.elapsed
        with run.parts.spans.span("longfold.ingest", {"longfold.documents": len(run.request.sources)}) as span:
            setup.documents = await _ingest(run)
            span.set({"longfold.characters": setup.characters})
        setup.ingest_seconds = run.elapsed - began
        infos = [document.model_dump(mode="json") for document in setup.documents]
        await _keep(run, EventType.INGESTED, {"documents": infos})
    else:
        await _restore(run, setup.documents)
    run.check_stopping()
    if setup.query is None:
        split = await run.watch(decompose(run.request.question, run.parts.profile, run.calls))
        setup.query = split.query
        data = {"core": split.query.core, "instructions": split.query.instructions, "reason": split.reason}
        await _keep(run, EventType.DECOMPOSED, data)
    run.check_stopping()
    if setup.route is None:
        await set_route(run, await _route(run, setup.query, setup.documents))


async def set_route(run: Run, chosen: Route) -> None:
    """Commits the route; a second time when the engine refuses the single pass after all."""
    run.setup.route = chosen
    await _keep(run, EventType.ROUTED, chosen.model_dump(mode="json"))


async def _keep(run: Run, kind: EventType, data: object) -> None:
    run.setup.usage, run.setup.engine_seconds = run.usage, run.engine_seconds
    await run.commit(kind, data, {"setup": run.setup.to_json()})


async def _ingest(run: Run) -> list[DocumentInfo]:
    """All documents in their order. The first that cannot be read ends the job, the others are dropped."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(index: int, source: Source) -> DocumentInfo:
        async with turn:
            return await _document(run, index, source)

    tasks = [asyncio.ensure_future(one(index, source)) for index, source in enumerate(run.request.sources)]
    try:
        async with asyncio.timeout_at(run.deadline) as clock:
            return list(await asyncio.gather(*tasks))
    except TimeoutError:
        if not clock.expired():
            raise
        limit = run.request.limits.seconds
        raise JobFailure(
            Code.DEADLINE_EXCEEDED, f"the limit of {limit:g} s ended while the documents were being fetched"
        ) from None
    finally:
        await end(*tasks)


async def _restore(run: Run, documents: list[DocumentInfo]) -> None:
    """Makes sure that what another worker ingested can be read here."""
    store = run.parts.documents
    for index, document in enumerate(documents):
        await _patiently(run, partial(store.restore, document.document_id, document.url, index))


async def _patiently(run: Run, attempt: Callable[[], Awaitable[T]]) -> T:
    """Waits for a document store that is away. Raises `JobFailure` when it stays so."""
    async with Patience(run.parts.engine_patience_seconds) as patience:
        while True:
            try:
                return await attempt()
            except DocumentsUnavailable as error:
                log.warning("documents_away", extra={"job": run.claim.job})
                if not await patience.rest(type(error).__name__):
                    raise JobFailure(Code.DOCUMENTS_UNAVAILABLE, "the document store stayed away") from error


async def _document(run: Run, index: int, source: Source) -> DocumentInfo:
    documents = run.parts.documents
    if source.url is not None:
        stored = await _patiently(run, partial(documents.ingest_url, source.url, source.title, index))
        run.parts.metrics.documents.labels(source="url").inc()
        await run.own(stored.document_id)
        return document_info(stored)
    return document_info(await _patiently(run, partial(documents.get, str(source.document_id), source.title, index)))


async def _route(run: Run, query: Query, documents: list[DocumentInfo]) -> Route:
    parts = run.parts
    window = await run.watch(run.calls.window())
    mode = AgentMode(run.request.mode.value)

    def decide() -> RouteDecision:
        texts = ((document.title, parts.documents.open_pieces(document.document_id)) for document in documents)
        return route(query, texts, profile=parts.profile, tokens=parts.tokens, window=window, mode=mode)

    try:
        found = await run.in_thread(decide)
    except DirectTooLarge as error:
        raise JobFailure(Code.DIRECT_TOO_LARGE, f"{error} Ask with mode auto or fold.") from None
    except Unsupported as error:
        raise JobFailure(Code.DIRECT_TOO_LARGE, f"mode direct is not possible: {error}") from None
    if found.mode is AgentMode.FOLD:
        return Route(mode="fold", reason=found.reason, prompt_tokens=found.prompt_tokens or None, window=found.window)
    limit, needed = run.request.limits.tokens, found.prompt_tokens + parts.profile.budgets.answer_output
    if limit is not None and needed > limit:
        why = f"a single pass needs {needed:,} tokens and the limit is {limit:,}"
        if run.request.mode is Mode.DIRECT:
            raise JobFailure(Code.DIRECT_TOO_LARGE, f"{why}; raise limits.tokens or ask with mode auto.")
        return Route(
            mode="fold",
            reason=f"Reading chunk by chunk: {why}.",
            prompt_tokens=found.prompt_tokens,
            window=found.window,
        )
    return Route(mode="direct", reason=found.reason, prompt_tokens=found.prompt_tokens, window=found.window)
