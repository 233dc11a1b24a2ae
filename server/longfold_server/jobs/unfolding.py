"""Stored events to wire events: puts back the memory and plan that step events do not repeat, and the job of a final
event.

A step event holds memory and plan only when the step changed them, and always `base`: the number of the last event
before it that did (0: none). So a page costs one more look-up, wherever it begins.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from longfold_client.types import FINAL_EVENTS, Event, EventType, MemoryDiff, Steps, StepView
from longfold_server.jobs.protocols import Store
from longfold_server.jobs.records import RawEvent

BATCH = 200
PAGE_BYTES = 4_000_000
"""A page of steps ends early when its texts grow beyond this many characters."""


def memory_diff(before: str, after: str) -> MemoryDiff:
    """Lines that came and lines that went, each as often as it did, in their order."""
    old, new = before.splitlines(), after.splitlines()
    came, went = Counter(new) - Counter(old), Counter(old) - Counter(new)
    return MemoryDiff(added=_taken(new, came), removed=_taken(old, went))


def _taken(lines: list[str], counts: Counter[str]) -> list[str]:
    taken = []
    for line in lines:
        if counts[line] > 0:
            counts[line] -= 1
            taken.append(line)
    return taken


class Unfolding:
    """Reads one job's events in order, from anywhere."""

    def __init__(self, store: Store, job: str) -> None:
        self._store = store
        self._job = job
        self._base = 0
        self._memory = ""
        self._plan = ""

    async def event(self, raw: RawEvent) -> Event:
        """The wire's event. Raises `StoreUnavailable`, `JobNotFound` (its retention ended meanwhile), `ValueError` for
        a kind that is not in `EventType`."""
        kind = EventType(raw.kind)
        data = raw.data
        if kind is EventType.STEP:
            data = await self._step(raw)
            data |= StepView.model_validate(data).model_dump(mode="json")
        elif kind in FINAL_EVENTS:
            data = (await self._store.get(self._job)).model_dump(mode="json")
        return Event(seq=raw.seq, type=kind, at=raw.at, data=data)

    async def view(self, raw: RawEvent) -> StepView:
        """A step event as a step."""
        return StepView.model_validate(await self._step(raw))

    async def _step(self, raw: RawEvent) -> dict[str, Any]:
        data = dict(raw.data)
        base = int(data.pop("base"))
        if base != self._base:
            await self._seek(base)
        before = self._memory
        if "memory" in data:
            self._base, self._memory, self._plan = raw.seq, str(data["memory"]), str(data["plan"])
        data |= {"memory": self._memory, "plan": self._plan, "diff": memory_diff(before, self._memory).model_dump()}
        data |= {"seq": raw.seq, "at": raw.at}
        if "progress" in data:
            data["progress"] = data["progress"] | {"plan": self._plan}
        return data

    async def _seek(self, base: int) -> None:
        self._base, self._memory, self._plan = base, "", ""
        if base:
            found = await self._store.event(self._job, base)
            if found is not None:
                self._memory, self._plan = str(found.data["memory"]), str(found.data["plan"])


async def page_of_steps(store: Store, job: str, after: int, limit: int) -> Steps:
    """Up to `limit` steps behind event number `after`. Raises `JobNotFound`, `StoreUnavailable`."""
    unfolding = Unfolding(store, job)
    steps: list[StepView] = []
    size, last = 0, after
    while raws := await store.events(job, last, BATCH):
        for raw in raws:
            if raw.kind == EventType.STEP:
                if len(steps) == limit or size > PAGE_BYTES:
                    return Steps(job=job, steps=steps, next=last)
                view = await unfolding.view(raw)
                size += len(view.memory) + len(view.plan)
                steps.append(view)
            last = raw.seq
    if last == after:
        await store.get(job)  # no events at all: is there such a job?
    return Steps(job=job, steps=steps)
