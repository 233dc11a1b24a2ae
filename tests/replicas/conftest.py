"""Two APIs and two workers as processes over a real Redis and a stub engine, and a job that can be checked exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random

import httpx
import pytest
import pytest_asyncio
from chain import Expected, Step, document, expected
from replicas import TOKENIZER, Replicas, replicas

from longfold_agent import load_tokens
from longfold_client.sse import EventParser
from longfold_client.types import FINAL_EVENTS, Event, Job, Steps

BUDGET = 24
LATENCY = 0.06
FINAL = {kind.value for kind in FINAL_EVENTS}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """The processes; a test that ends one starts it again."""
    folder = tmp_path_factory.mktemp("replicas")
    settings = {"chunk_tokens": BUDGET, "lease_seconds": 3.0, "drain_listen_seconds": 2.0}
    async with replicas(folder, latency=LATENCY, **settings) as started:
        yield started


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP without retries; tests give whole URLs."""
    async with httpx.AsyncClient(trust_env=False, timeout=70) as client:
        yield client


@dataclass(frozen=True)
class Asked:
    """A question over one document, and what must come of it."""

    question: str
    text: str
    expected: Expected

    @property
    def body(self) -> dict[str, object]:
        return {"question": self.question, "documents": [{"text": self.text}], "mode": "fold"}

    def check(self, job: Job, steps: Steps) -> None:
        """Every chunk was read once, in order, and the answer follows from all of them."""
        found = [Step(view.id, view.update, view.start, view.end, view.memory) for view in steps.steps]
        assert tuple(found) == self.expected.steps
        assert job.result is not None, job.error
        assert job.result.answer == self.expected.answer


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> Asked:
    """A job of about fifty chunks, four seconds of the engine's time."""
    tokens = load_tokens(TOKENIZER)
    text, question = document(Random(request.node.name), tokens, BUDGET, 50), f"What of {request.node.name}?"
    return Asked(question, text, expected(text, question, tokens, BUDGET))


Read = Callable[..., Awaitable[tuple[list[Event], str]]]


@pytest.fixture
def read(web: httpx.AsyncClient) -> Read:
    """Reads the events of a job at one replica until `most` came or the stream ends: (events, name of the last
    message)."""

    async def reading(url: str, job: str, after: int = 0, most: int = 10_000) -> tuple[list[Event], str]:
        found: list[Event] = []
        parser, last = EventParser(), ""
        headers = {"Last-Event-ID": str(after)} if after else {}
        async with web.stream("GET", f"{url}/answer/{job}/events", headers=headers) as reply:
            assert reply.status_code == 200
            async for piece in reply.aiter_bytes():
                for message in parser.feed(piece):
                    last = message.event
                    if last == "reconnect":
                        return found, last
                    found.append(Event.model_validate_json(message.data))
                    assert message.id == str(found[-1].seq)
                    if len(found) == most or last in FINAL:
                        return found, last
        return found, last

    return reading


async def look(web: httpx.AsyncClient, url: str, job: str) -> tuple[Job, Steps]:
    """The ended job and all its steps, at one replica."""
    ended = Job.model_validate_json((await web.get(f"{url}/answer/{job}", headers={"Prefer": "wait=60"})).content)
    steps = await web.get(f"{url}/answer/{job}/steps", params={"limit": 200})
    return ended, Steps.model_validate_json(steps.content)


@pytest.fixture
def ended(web: httpx.AsyncClient) -> Callable[[str, str], Awaitable[tuple[Job, Steps]]]:
    """Waits for a job at one replica: the job and its steps."""
    return lambda url, job: look(web, url, job)
