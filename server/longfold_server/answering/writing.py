"""The answer as it is written: streamed from the engine, shown as delta events, each fenced like every other commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from longfold_agent.drive import read_reply
from longfold_agent.errors import ContextOverflow, InvalidReply
from longfold_agent.protocols import Request
from longfold_agent.types import Call, Completion, FinalText, Query
from longfold_client.types import EventType
from longfold_server.answering.parts import Run
from longfold_server.answering.state import Reading
from longfold_server.codes import Code
from longfold_server.errors import JobFailure, ServerError

BATCH_SECONDS = 0.05
"""Least time between two deltas: people see no difference, the store does."""


class OutOfTime(ServerError):
    """The deadline passed while an answer of the single pass was being written; `text` is what there is."""

    def __init__(self, text: str) -> None:
        super().__init__("the deadline passed while the answer was being written")
        self.text = text


class Deltas:
    """Shows the visible part of a growing reply. A delta is `{offset, text}`: what stands from character `offset` on is
    replaced, so a reader follows a reply that was begun again (another worker, another attempt) without a special case.
    """

    def __init__(self, run: Run, visible: Callable[[Completion], str], deadline: float | None = None) -> None:
        self._run = run
        self._visible = visible
        self._deadline = deadline
        self._sent = ""
        self._last = 0.0

    async def show(self, text: str) -> None:
        """The whole reply so far. Raises `OutOfTime` behind the deadline, as soon as there is something to show."""
        now = asyncio.get_running_loop().time()
        late = self._deadline is not None and now >= self._deadline
        if now - self._last < BATCH_SECONDS and not late:
            return
        self._last = now
        try:
            # An unfinished reply is parsed as one cut short: a model's reasoning stays hidden, its tags are taken off.
            seen = self._visible(Completion(text, "length"))
        except InvalidReply:
            return
        await self.say(seen)
        if late and seen:
            raise OutOfTime(seen)

    async def say(self, seen: str) -> None:
        """The visible text so far, or at its end."""
        offset = _shared(self._sent, seen)
        if seen != self._sent:
            self._sent = seen
            await self._run.commit(EventType.DELTA, {"offset": offset, "text": seen[offset:]})


def _shared(one: str, other: str) -> int:
    """Length of the common beginning."""
    if other.startswith(one):
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


async def write_answer(run: Run, reading: Reading) -> None:
    """y ~ pi(. | m_K, q_core, q_inst), Eq. 6; `reading.fold` is done afterwards. Raises `JobFailure` for an unusable
    answer."""
    parts = run.parts
    while not reading.fold.done:
        run.check_stopping()
        [call] = reading.fold.pending()
        deltas = Deltas(run, partial(_visible, run, call))
        try:
            asked = Request(parts.profile.render(call), parts.profile.sampling(call))
            completion = await run.watch(run.calls.write(asked, deltas.show))
        except ContextOverflow as error:
            raise JobFailure(Code.WINDOW_TOO_SMALL, f"the engine refused the answer's call: {error}") from error
        try:
            reading.fold, _ = reading.fold.advance(
                call.id, read_reply(parts.profile, call, completion, "", parts.tokens)
            )
        except InvalidReply as error:
            raise JobFailure(Code.ANSWER_UNUSABLE, str(error)) from error
        if reading.fold.answer is not None:
            await deltas.say(reading.fold.answer.text)


def _visible(run: Run, call: Call, completion: Completion) -> str:
    reply = run.parts.profile.parse(call, completion, "", run.parts.tokens)
    return reply.text if isinstance(reply, FinalText) else ""


async def write_direct(run: Run, query: Query, documents: list[tuple[str, str]]) -> str:
    """The single pass over (title, text) documents. Raises `ContextOverflow`, `OutOfTime`, `JobFailure`."""
    profile = run.parts.profile
    parse = partial(profile.parse_direct, query=query, documents=documents)
    deltas = Deltas(run, parse, run.deadline)
    prompt = await run.in_thread(lambda: profile.render_direct(query, documents))
    failure: InvalidReply | None = None
    for attempt in range(profile.budgets.retries + 1):
        asked = Request(prompt, profile.sampling_direct(attempt))
        completion = await run.watch(run.calls.write(asked, deltas.show))
        try:
            answer = parse(completion)
        except InvalidReply as error:
            failure = error
            continue
        await deltas.say(answer)
        return answer
    raise JobFailure(Code.ANSWER_UNUSABLE, str(failure)) from failure
