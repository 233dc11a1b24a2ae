"""What happens before reading: documents, question and route, each committed once with its event. Knows no memory."""

from __future__ import annotations

import asyncio

from longfold_agent.decompose import decompose
from longfold_agent.errors import DirectTooLarge, Unsupported
from longfold_agent.route import Mode as AgentMode
from longfold_agent.route import RouteDecision, route
from longfold_agent.types import Query
from longfold_client.types import DocumentInfo, EventType, Mode, Route
from longfold_server.answering.parts import Run
from longfold_server.codes import Code
from longfold_server.ending import end
from longfold_server.errors import JobFailure
from longfold_server.ingest.documents import StoredDocument
from longfold_server.jobs.records import Source

AT_ONCE = 4
"""Documents of one job fetched at once."""


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
        setup.documents = await _ingest(run)
        setup.ingest_seconds = run.elapsed - began
        infos = [document.model_dump(mode="json") for document in setup.documents]
        await _keep(run, EventType.INGESTED, {"documents": infos})
    run.check_stopping()
    if setup.query is None:
        split = await decompose(run.request.question, run.parts.profile, run.calls)
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


async def _document(run: Run, index: int, source: Source) -> DocumentInfo:
    documents = run.parts.documents
    if source.url is not None:
        stored = await documents.ingest_url(source.url, source.title, index)
        run.parts.metrics.documents.labels(source="url").inc()
        return document_info(stored)
    return document_info(await documents.get(str(source.document_id), source.title, index))


async def _route(run: Run, query: Query, documents: list[DocumentInfo]) -> Route:
    parts = run.parts
    window = await run.calls.window()
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
