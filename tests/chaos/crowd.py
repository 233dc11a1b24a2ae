"""Clients that submit, watch, reconnect, poll and cancel while the service is disturbed, and the verdict over what they
were told. Knows no processes.

A reader of events takes what the server sends as it is: the SDK would hide a repeated event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random

import httpx
from chain import Expected, Step, document, expected

from longfold_agent.protocols import Tokens
from longfold_client import AsyncClient, Retry
from longfold_client.retry import RETRYABLE
from longfold_client.sse import EventParser
from longfold_client.types import Event, EventType, Job, JobStatus, Mode

PATIENT = Retry(attempts=120, reconnects=400, first=0.1, longest=1.0)
"""Every client outlasts every fault: what is lost then is the service's."""
LIMIT = httpx.Timeout(30.0, connect=5.0)
TRIES = 400
"""Connections of one reader without news."""


@dataclass
class Told:
    """One job as its client saw it."""

    job: str
    how: str
    text: str
    question: str
    cancelled: bool = False
    """The client asked for it."""
    events: list[Event] | None = None
    """All it was sent; None for one that only polled."""
    seen: Job | None = None
    """The ended job as the SDK gave it, where that was asked."""


@dataclass
class Verdict:
    """What a run came to."""

    jobs: int = 0
    steps: int = 0
    events: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    how: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


class Crowd:
    """`clients` clients over `base`; `transport` makes what each of them connects through."""

    def __init__(
        self,
        base: str,
        transport: Callable[[], httpx.AsyncBaseTransport],
        tokens: Tokens,
        *,
        seed: int,
        budget: int,
        chunks: int,
    ) -> None:
        self._base = base
        self._transport = transport
        self._tokens = tokens
        self._seed = seed
        self._budget = budget
        self._chunks = chunks
        self._made = 0
        self.told: list[Told] = []
        self.open: dict[str, str] = {}
        """Jobs whose client still waits, and how."""
        self.findings: list[str] = []
        """What went wrong for a client itself."""

    async def run(self, clients: int, jobs: int, going: asyncio.Event) -> None:
        """Works until at least `jobs` jobs were made and `going` is cleared, and every one of them has ended."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(self._client(jobs, going))

    async def _client(self, jobs: int, going: asyncio.Event) -> None:
        async with (
            AsyncClient(self._base, retry=PATIENT, transport=self._transport()) as sdk,
            httpx.AsyncClient(base_url=self._base, timeout=LIMIT, transport=self._transport()) as raw,
        ):
            while going.is_set() or self._made < jobs:
                self._made += 1
                try:
                    await self._one(sdk, raw, self._made)
                except Exception as error:  # whatever it is, it is told with the seed and the faults
                    self.findings.append(f"client of document {self._made}: {type(error).__name__}: {error}")

    async def _one(self, sdk: AsyncClient, raw: httpx.AsyncClient, number: int) -> None:
        rng = Random(f"crowd/{self._seed}/{number}")
        how = rng.choices(("ask", "watch", "reconnect", "poll", "cancel", "twice"), (2, 2, 4, 1, 2, 1))[0]
        text = document(rng, self._tokens, self._budget, self._chunks)
        question = f"What does document {number} say?"
        key = f"{self._seed}-{number}"
        self.open[key] = f"{how}, not made yet"
        if how == "ask":
            events: list[Event] = []
            ids: list[str] = []
            await sdk.answer(
                question,
                [{"text": text}],
                mode=Mode.FOLD,
                on_event=events.append,
                on_job=lambda job: ids.append(job.id),
                idempotency_key=key,
            )
            told = Told(ids[0], how, text, question, events=events)
        else:
            jobs = await asyncio.gather(
                *(
                    sdk.submit(question, [{"text": text}], mode=Mode.FOLD, idempotency_key=key)
                    for _ in range(3 if how == "twice" else 1)
                )
            )
            told = Told(jobs[0].id, how, text, question)
            self.open[key] = f"{how} {told.job}"
            if len({job.id for job in jobs}) != 1:
                raise AssertionError(f"one Idempotency-Key made {len({job.id for job in jobs})} jobs")
            await self._follow(sdk, raw, told, rng)
        del self.open[key]
        self.told.append(told)

    async def _follow(self, sdk: AsyncClient, raw: httpx.AsyncClient, told: Told, rng: Random) -> None:
        if told.how == "poll":
            told.seen = await sdk.wait(told.job)
        elif told.how in ("watch", "twice"):
            told.events = [event async for event in sdk.events(told.job)]
            told.seen = await sdk.wait(told.job)
        else:
            told.events = []
            cancel_at = rng.randint(1, self._chunks) if told.how == "cancel" else None
            async with aclosing(self._read(raw, told.job, rng)) as events:
                async for event in events:
                    told.events.append(event)
                    if len(told.events) == cancel_at:
                        told.cancelled = True
                        await sdk.cancel(told.job)

    async def _read(self, raw: httpx.AsyncClient, job: str, rng: Random) -> AsyncIterator[Event]:
        """Every event as it was sent, over many connections: besides what the faults cut, the reader itself goes away
        now and then."""
        last = tries = 0
        while tries < TRIES:
            tries += 1
            leave = rng.randint(1, 40)
            headers = {"Last-Event-ID": str(last)} if last else {}
            parser = EventParser()
            try:
                async with raw.stream("GET", f"/answer/{job}/events", headers=headers) as reply:
                    if reply.status_code not in (200, *RETRYABLE):
                        raise AssertionError(f"the events of {job} were answered {reply.status_code}")
                    async for piece in reply.aiter_bytes():
                        for message in parser.feed(piece):
                            if message.event == EventType.RECONNECT:
                                continue
                            event = Event.model_validate_json(message.data)
                            last, tries, leave = int(message.id), 0, leave - 1
                            yield event
                            if event.type in (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED):
                                return
                        if leave <= 0:
                            break
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05 + 0.2 * rng.random())
        raise AssertionError(f"no news of {job} over {TRIES} connections")

    async def verdict(self) -> Verdict:
        """Looks at every job again, when all is calm."""
        found = Verdict()
        async with AsyncClient(self._base, retry=PATIENT, transport=self._transport()) as sdk:
            for told in self.told:
                job = await sdk.get(told.job)
                steps = [
                    Step(view.id, view.update, view.start, view.end, view.memory) async for view in sdk.steps(told.job)
                ]
                should = expected(told.text, told.question, self._tokens, self._budget)
                found.findings += [f"{told.how} {told.job}: {what}" for what in faults_of(told, job, steps, should)]
                found.jobs += 1
                found.steps += len(steps)
                found.events += len(told.events or ())
                found.ended[job.status.value] = found.ended.get(job.status.value, 0) + 1
                found.how[told.how] = found.how.get(told.how, 0) + 1
        return found


def faults_of(told: Told, job: Job, steps: list[Step], should: Expected) -> list[str]:
    """What is wrong with one job; nothing when it was read exactly once, in order, and told so."""
    found = []
    if job.status is JobStatus.COMPLETED:
        if tuple(steps) != should.steps:
            found.append(f"its {len(steps)} steps are not the {len(should.steps)} there must be")
        result = job.result
        if result is None or result.answer != should.answer or result.memory != should.steps[-1].memory:
            found.append(f"a wrong answer: {result and result.answer!r}, not {should.answer!r}")
    elif job.status is JobStatus.CANCELLED:
        if not told.cancelled:
            found.append("cancelled, though nobody asked for that")
        if tuple(steps) != should.steps[: len(steps)]:
            found.append("its steps are not the first ones there must be")
    else:
        found.append(f"{job.status.value}: {job.error and job.error.code} {job.error and job.error.detail}")
    if told.seen is not None and told.seen.status is not job.status:
        found.append(f"told {told.seen.status.value}, it is {job.status.value}")
    if told.events is not None:
        numbers = [event.seq for event in told.events]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"its events were numbered {numbers}")
        elif told.events[-1].type.value != job.status.value:
            found.append(f"its last event was {told.events[-1].type.value}, it is {job.status.value}")
        read = [(event.data["id"], event.data["memory"]) for event in told.events if event.type is EventType.STEP]
        if read != [(step.id, step.memory) for step in steps]:
            found.append("its step events are not its steps")
    return found
