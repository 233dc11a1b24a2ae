"""What happens before reading: the first documents, question and route, each committed once with its event. Knows no
memory."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from longfold_agent.decompose import decompose
from longfold_agent.errors import DirectTooLarge, Unsupported
from longfold_agent.route import Mode as AgentMode
from longfold_agent.route import RouteDecision, route
from longfold_agent.types import Query
from longfold_client.types import DocumentInfo, EventType, Mode, Route
from longfold_server.answering.intake import Intake
from longfold_server.answering.parts import Run
from longfold_server.codes import Code
from longfold_server.errors import JobFailure, OutOfTime

T = TypeVar("T")


async def prepare(run: Run, intake: Intake) -> None:
    """Completes `run.setup`, but for documents that a fold need not wait for. Raises `DocumentError`, `JobFailure`, an
    `EngineError` that retrying cannot help, `LeaseLost`, `JobCancelled`."""
    setup = run.setup
    with run.parts.spans.span("longfold.ingest", {"longfold.documents": len(run.request.sources)}) as span:
        await intake.begin()
        span.set({"longfold.characters": setup.characters})
    run.check_stopping()
    if setup.query is None:
        split = await _in_time(run, decompose(run.request.question, run.parts.profile, run.calls))
        setup.query = split.query
        data = {"core": split.query.core, "instructions": split.query.instructions, "reason": split.reason}
        await run.keep(EventType.DECOMPOSED, data)
    run.check_stopping()
    if setup.route is None:
        await set_route(run, await _choose(run, setup.query, intake))


async def _in_time(run: Run, call: Coroutine[Any, Any, T]) -> T:
    """What an engine call gives before which nothing can have been read. Raises `JobFailure` at the job's deadline."""
    try:
        return await run.watch(call, until=run.deadline)
    except OutOfTime:
        raise run.overdue("before anything could be read") from None


async def set_route(run: Run, chosen: Route) -> None:
    """Commits the route; a second time when the engine refuses the single pass after all."""
    run.setup.route = chosen
    await run.keep(EventType.ROUTED, chosen.model_dump(mode="json"))


async def _choose(run: Run, query: Query, intake: Intake) -> Route:
    """The route of all documents, as soon as it is clear: the first ones may be too long for a single pass already.

    They are counted again only when they have doubled, so that many small ones cost no more than twice one counting.
    """
    setup, counted = run.setup, 0
    while True:
        leading = setup.leading
        size = sum(document.characters for document in leading.values())
        if setup.complete or size >= 2 * counted:
            for index in leading:
                await intake.wait(index)
            found = await _route(run, query, list(leading.values()))
            if setup.complete or found.mode == "fold":
                return found
            counted = size
        await intake.more()
        run.check_stopping()


async def _route(run: Run, query: Query, documents: list[DocumentInfo]) -> Route:
    parts = run.parts
    window = await _in_time(run, run.calls.window())
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
    needed = found.prompt_tokens + parts.profile.budgets.answer_output
    if needed > run.tokens_left:
        why = f"a single pass needs {needed:,} tokens and the limit leaves {max(0, run.tokens_left):,}"
        if run.request.mode is Mode.DIRECT:
            raise JobFailure(Code.DIRECT_TOO_LARGE, f"{why}; raise limits.tokens or ask with mode auto.")
        return Route(
            mode="fold",
            reason=f"Reading chunk by chunk: {why}.",
            prompt_tokens=found.prompt_tokens,
            window=found.window,
        )
    return Route(mode="direct", reason=found.reason, prompt_tokens=found.prompt_tokens, window=found.window)
