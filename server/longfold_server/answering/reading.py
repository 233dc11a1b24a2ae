"""The reading: Eq. 5 of the paper over the job's chunks, one engine call and one fenced commit a chunk. Writes no
answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from longfold_agent.drive import read_reply
from longfold_agent.errors import ContextOverflow, WindowTooSmall
from longfold_agent.fold import Fold, Phase
from longfold_agent.protocols import Request
from longfold_agent.route import check_step_fits
from longfold_agent.types import Call, Chunk, Completion, EndOfText, Query, Step, Stop, UpdateKind
from longfold_client.types import EventType, Progress
from longfold_server.answering.budgets import cut_at, tokens_left
from longfold_server.answering.chunks import Ahead
from longfold_server.answering.intake import Intake
from longfold_server.answering.parts import Run
from longfold_server.answering.speculation import Speculation
from longfold_server.answering.state import Reading
from longfold_server.codes import Code
from longfold_server.errors import JobFailure, OutOfTime
from longfold_server.telemetry import Attribute


def load(run: Run) -> Reading:
    """The reading as it was committed last, or an unread one. Raises `ResumeRefused`."""
    profile, tokens = run.parts.profile, run.parts.tokens
    budgets = profile.budgets
    if run.claim.state is not None:
        reading = Reading.from_json(
            run.claim.state, profile=profile.version, tokens=tokens.name, chunk_budget=budgets.chunk
        )
        run.usage_before, run.engine_seconds_before = reading.usage, reading.engine_seconds
        run.told = progress(run, reading)
        return reading
    query = run.setup.query or Query(run.request.question)
    fold = Fold.start(
        query, profile=profile.version, tokens=tokens.name, chunk_budget=budgets.chunk, retries=budgets.retries
    )
    return Reading(fold, usage=run.usage, engine_seconds=run.engine_seconds)


def progress(run: Run, reading: Reading) -> Progress:
    """How far the reading is; totals are estimated from the chunks read so far."""
    total, done = run.setup.characters, run.setup.characters_before(reading.position)
    share = min(1.0, done / total) if total else 1.0
    read = reading.fold.chunks_read
    chunks_total = (
        None if not read else read if share >= 1 else max(read + 1, math.ceil(read / share)) if share else None
    )
    return Progress(
        chunks_read=read,
        chunks_total=chunks_total,
        tokens_read=reading.tokens_read,
        read_fraction=share,
        plan=reading.fold.plan,
        memory_tokens=reading.memory_tokens,
        elapsed_seconds=round(run.elapsed, 3),
        eta_seconds=round(reading.seconds * (1 - share) / share, 3) if share else None,
    )


async def read(run: Run, reading: Reading, intake: Intake) -> None:
    """Reads on until the documents end or a limit cuts; `reading.fold` then has its answer pending.

    Raises `DocumentError`, `JobFailure`, `Interrupted`, `LeaseLost`, `JobCancelled`, an `EngineError` that retrying
    cannot help.
    """
    parts, fold = run.parts, reading.fold
    if fold.phase is not Phase.READING:
        return
    step = _Steps(run, reading)
    window = await step.window()
    if window is None:
        reading.fold = fold.cut(Stop.DEADLINE)
        return
    _check_fits(run, window, fold.query)
    ahead = Ahead(
        intake,
        parts.documents,
        parts.threads,
        parts.tokens,
        parts.profile.budgets.chunk,
        reading.position,
        fold.next_chunk,
        len(run.request.sources),
    )
    # A budget of tokens is not spent on guesses.
    guesses = parts.speculation if parts.profile.gate and run.request.limits.tokens is None else 0
    try:
        while reading.fold.phase is Phase.READING:
            run.check_stopping()
            [call] = reading.fold.pending()
            following = await step.look(ahead, 1 + guesses)
            await intake.keep()
            if following is None:
                reading.fold = reading.fold.cut(Stop.DEADLINE)
            elif not following:
                reading.fold, _ = reading.fold.advance(call.id, EndOfText())
            elif (why := step.limit(call, following[0])) is not None:
                reading.fold = reading.fold.cut(why)
            else:
                await step.take(call, following)
                if reading.fold.next_chunk > following[0].index:
                    ahead.drop()
    finally:
        ahead.close()
        await step.aclose()


def _check_fits(run: Run, window: int, query: Query) -> None:
    """Raises `WindowTooSmall` where no question could be read for, `JobFailure` where only this one is too long."""
    profile, tokens = run.parts.profile, run.parts.tokens
    try:
        check_step_fits(profile, window, tokens, query)
    except WindowTooSmall as error:
        check_step_fits(profile, window, tokens)
        raise JobFailure(Code.QUESTION_TOO_LONG, f"The question is too long: {error}") from error


class _Steps:
    """Reads single chunks."""

    def __init__(self, run: Run, reading: Reading) -> None:
        self.run = run
        self.reading = reading
        self._calls = Speculation(self._complete)

    async def aclose(self) -> None:
        """Drops the calls under way."""
        await self._calls.aclose()

    async def window(self) -> int | None:
        """The engine's window; None when the deadline cut the wait for it."""
        try:
            return await self.run.watch(self.run.calls.window(), until=self._cut_at())
        except OutOfTime:
            return None

    async def look(self, ahead: Ahead, count: int) -> list[Chunk] | None:
        """The next chunks; None when the deadline cut the wait for their document."""
        try:
            async with asyncio.timeout_at(self._cut_at()) as clock:
                return await ahead.look(count)
        except TimeoutError:
            if not clock.expired():
                raise
            return None

    def limit(self, call: Call, chunk: Chunk) -> Stop | None:
        """Why this chunk cannot be read any more."""
        limits = self.run.request.limits
        if (at := self._cut_at()) is not None and asyncio.get_running_loop().time() >= at:
            return Stop.DEADLINE
        if limits.tokens is not None:
            left = tokens_left(self.reading, call, chunk, limits.tokens, self.run.parts.profile, self.run.parts.tokens)
            return Stop.TOKENS if left < 0 else None
        return None

    def _cut_at(self) -> float | None:
        deadline, limit = self.run.deadline, self.run.request.limits.seconds
        return None if deadline is None or limit is None else cut_at(deadline, limit, self.reading.slowest_call)

    async def _complete(self, call: Call, chunk: Chunk) -> Completion:
        parts = self.run.parts
        request = Request(
            parts.profile.render(call, chunk.text),
            parts.profile.sampling(call),
            affinity=self.run.setup.ingested[chunk.start.document].document_id,
        )
        [completion] = await self.run.calls.complete([request])
        return completion

    async def take(self, call: Call, chunks: Sequence[Chunk]) -> None:
        """(m_t, p_t) ~ pi(. | m_{t-1}, p_{t-1}, x_t, q_core) for the first chunk, then its commit; the others are
        read on a guess meanwhile. A call that the deadline overtakes is dropped."""
        chunk = chunks[0]
        told: dict[str, Attribute] = {
            "longfold.step.id": call.id,
            "longfold.chunk": chunk.index,
            "longfold.chunk.tokens": chunk.tokens,
        }
        with self.run.parts.spans.span("longfold.step", told) as span:
            update = await self._take(call, chunks)
            if update is not None:
                span.set({"longfold.step.update": update.value})

    async def _take(self, call: Call, chunks: Sequence[Chunk]) -> UpdateKind | None:
        """What the step did; None for one that was dropped."""
        run, reading, parts, chunk = self.run, self.reading, self.run.parts, chunks[0]
        loop = asyncio.get_running_loop()
        began, engine_before = loop.time(), run.calls.seconds
        try:
            completion = await run.watch(self._calls.complete(reading.fold, chunks), until=self._cut_at())
        except ContextOverflow as error:
            raise JobFailure(
                Code.WINDOW_TOO_SMALL, f"the engine refused {call.id}, a chunk of {chunk.tokens} tokens: {error}"
            ) from error
        except OutOfTime:
            reading.fold = reading.fold.cut(Stop.DEADLINE)
            return None
        engine = run.calls.seconds - engine_before
        reply = read_reply(parts.profile, call, completion, chunk.text, parts.tokens)
        before = reading.fold
        reading.fold, step = before.advance(call.id, reply)
        if step is None:
            raise RuntimeError(f"{call.id} was answered twice")
        if step.update is UpdateKind.REWRITE:
            # Comparing a long memory line by line takes its time, which a document can raise by what it gets copied.
            reading.provenance = await run.in_thread(partial(reading.provenance.observe, step, chunk))
        data = self._apply(before, step, chunk, completion, engine)
        reading.seconds += loop.time() - began
        told = run.told = progress(run, reading)
        data["progress"] = told.model_dump(mode="json", exclude={"plan"})
        if "memory" in data:
            reading.memory_seq = run.lease.seq + 1
        committing = loop.time()
        await run.commit(EventType.STEP, data, {"state": reading.to_json(), "progress": told.model_dump_json()})
        ended = loop.time()
        reading.seconds += ended - committing
        parts.metrics.steps.labels(update=str(step.update)).inc()
        for part, seconds in (("engine", engine), ("commit", ended - committing), ("own", committing - began - engine)):
            parts.metrics.step_seconds.labels(part=part).observe(max(0.0, seconds))
        return step.update

    def _apply(self, before: Fold, step: Step, chunk: Chunk, completion: Completion, engine: float) -> dict[str, Any]:
        """Counts the step into the reading; its event."""
        run, reading = self.run, self.reading
        reading.usage, reading.engine_seconds = run.usage, run.engine_seconds
        reading.slowest_call = max(reading.slowest_call, engine)
        reading.longest_reply = max(reading.longest_reply, completion.usage.completion_tokens)
        if reading.fold.next_chunk > chunk.index:
            reading.position = chunk.end
            reading.tokens_read += chunk.tokens
        data: dict[str, Any] = {
            "id": step.id,
            "update": step.update,
            "chunk": chunk.index,
            "document": chunk.start.document,
            "start": chunk.start.char,
            "end": chunk.end.char,
            "tokens": chunk.tokens,
            "reason": step.reason,
            "engine_seconds": round(engine, 4),
            "base": reading.memory_seq,
        }
        if (step.memory, step.plan) != (before.memory, before.plan):
            data |= {"memory": step.memory, "plan": step.plan}
            if step.memory != before.memory:
                reading.memory_tokens = run.parts.tokens.count(step.memory)
        return data
