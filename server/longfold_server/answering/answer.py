"""One job from its claim to its answer: prepare, then read and write or a single pass, cite, finish. The order of the
stages."""

from __future__ import annotations

import asyncio
import logging

from longfold_agent.citations import Citation as Found
from longfold_agent.citations import cite, cite_direct
from longfold_agent.errors import ContextOverflow
from longfold_agent.provenance import Source
from longfold_agent.types import Answer, Position, Query
from longfold_client.types import AnswerResult, Citation, JobStatus, Mode, ModelInfo, Progress, Route, Timings
from longfold_server.answering.intake import Intake
from longfold_server.answering.links import deep_link
from longfold_server.answering.manifest import manifest
from longfold_server.answering.parts import Run
from longfold_server.answering.prepare import prepare, set_route
from longfold_server.answering.reading import load, progress, read
from longfold_server.answering.state import Reading
from longfold_server.answering.writing import write_answer, write_direct
from longfold_server.codes import Code
from longfold_server.errors import JobFailure, StoreUnavailable
from longfold_server.telemetry import Attribute

log = logging.getLogger(__name__)


async def answer(run: Run) -> None:
    """Works on the job until it is completed.

    Raises `DocumentError`, `JobFailure`, an `AgentError` (the job fails), `Interrupted`, `LeaseLost`, `JobCancelled`
    (it does not).
    """
    told: dict[str, Attribute] = {"longfold.job.id": run.claim.job, "longfold.job.takeover": run.claim.takeover}
    with run.parts.spans.span("longfold.job", told, kind="CONSUMER", parent=run.request.trace):
        await _answer(run)


async def _answer(run: Run) -> None:
    await run.resume()
    intake = Intake(run)
    try:
        await prepare(run, intake)
        reading = load(run)
        query, route = run.setup.query or Query(run.request.question), run.setup.route
        if route is not None and route.mode == "direct":
            run.check_stopping()
            try:
                if not run.late:
                    return await _direct(run, query, route, intake)
                if run.request.mode is Mode.DIRECT:
                    raise run.overdue("before the single pass began")
                why = "The time limit was over before the single pass began."
            except ContextOverflow as error:
                if run.request.mode is Mode.DIRECT:
                    detail = f"The engine refused the single pass: {error}. Ask with mode auto or fold."
                    raise JobFailure(Code.DIRECT_TOO_LARGE, detail) from error
                why = "Reading chunk by chunk: the engine refused the single pass as longer than its window."
            again = Route(mode="fold", reason=why, prompt_tokens=route.prompt_tokens, window=route.window)
            await set_route(run, again)
            reading = load(run)
        await read(run, reading, intake)
        for index in run.setup.ingested:
            if index <= reading.position.document:
                await intake.wait(index)
    finally:
        await intake.aclose()
    written = await write_answer(run, reading)
    found = await run.in_thread(
        lambda: cite(written.text, reading.provenance, lambda source: _text(run, source), query)
    )
    await _complete(run, written, found, progress(run, reading), reading)


async def _direct(run: Run, query: Query, route: Route, intake: Intake) -> None:
    documents = run.setup.ingested
    for index in documents:
        await intake.wait(index)
    sources = [Source(0, index, 0, document.characters) for index, document in documents.items()]
    texts = await run.in_thread(lambda: {source.document: _text(run, source) for source in sources})
    titled = [(document.title, texts[index]) for index, document in documents.items()]
    written = await write_direct(run, query, titled, route.prompt_tokens or 0)
    found = await run.in_thread(
        lambda: cite_direct(written.text, sources, lambda source: texts[source.document], query)
    )
    told = Progress(
        read_fraction=1.0, tokens_read=route.prompt_tokens or 0, elapsed_seconds=round(run.elapsed, 3), eta_seconds=0.0
    )
    await _complete(run, written, found, told, None)


async def _complete(
    run: Run, written: Answer, found: tuple[Found, ...], told: Progress, reading: Reading | None
) -> None:
    parts, setup, sources = run.parts, run.setup, run.request.sources
    if setup.route is None or setup.documents is None:
        raise RuntimeError("an answer without a route")
    read_to = Position(len(sources)) if reading is None else reading.position
    result = AnswerResult(
        answer=written.text,
        citations=await run.in_thread(lambda: [_citation(run, one) for one in found]),
        memory="" if reading is None else reading.fold.memory,
        route=setup.route,
        model=ModelInfo(name=parts.model, profile=parts.profile.name, notice=parts.profile.notice),
        documents=list(setup.ingested.values()),
        manifest=manifest(sources, setup.documents, read_to),
        usage=run.usage,
        timings=Timings(
            queued=round(run.claim.queued_seconds, 3),
            ingest=round(setup.ingest_seconds, 3),
            engine=round(run.engine_seconds, 3),
            total=round(run.claim.queued_seconds + run.elapsed, 3),
        ),
        read_fraction=told.read_fraction,
        partial=written.partial,
        stop=None if written.stop is None else written.stop.value,
        invalid_steps=0 if reading is None else reading.fold.invalid,
    )
    await run.meter.tell()  # before the end is: who asks again because of it finds these tokens counted
    body, pause = result.model_dump_json(), 0.05
    while True:
        try:
            return await parts.store.finish(
                run.lease, JobStatus.COMPLETED, "result", body, progress=told.model_dump_json()
            )
        except StoreUnavailable:
            log.warning("commit_waits", extra={"job": run.claim.job})
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 2)


def _citation(run: Run, found: Found) -> Citation:
    document = run.setup.ingested[found.document]
    locator = run.parts.documents.locate(document.document_id, found.start, found.end)
    return Citation(
        document=found.document,
        document_id=document.document_id,
        title=document.title,
        url=document.url,
        start=found.start,
        end=found.end,
        locator=locator.text,
        link=deep_link(document.url, document.media_type, locator, found.quote),
        quote=found.quote,
        chunk=found.chunk,
    )


def _text(run: Run, source: Source) -> str:
    document = run.setup.ingested[source.document]
    if source.start == 0 and source.end == document.characters:
        return "".join(run.parts.documents.open_pieces(document.document_id))
    return run.parts.documents.span(document.document_id, source.start, source.end)
