"""One API replica and one Redis with 1,000 open event streams and 10,000 queued jobs: memory, CPU, and how long
requests and events take.

The queue is filled first, then the streams are opened on the jobs that come first, then a worker begins to work on them
(stub engine) while further requests arrive at a steady pace. Knows no model.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil
from chain import document
from replicas import Replicas, replicas
from report import Row, report
from service import TOKENIZER

from longfold_agent import load_tokens
from longfold_client.sse import EventParser
from longfold_client.types import FINAL_EVENTS, Event, EventType

BUDGET = 24
CHUNKS = 3
TEXTS = 50
AT_ONCE = 16
"""Requests in flight while the queue is filled, and streams opened at once."""
PACE = 0.1
"""Seconds between two requests of each kind while the streams are open."""
MEGABYTE = 1_000_000
FINAL = {kind.value for kind in FINAL_EVENTS}


@dataclass
class Heard:
    """What all streams said."""

    openings: list[float] = field(default_factory=list)
    """Seconds from each request to its first event."""
    delays: list[float] = field(default_factory=list)
    wrong: int = 0
    """Streams with a gap or a repeat, or without a final event."""


@dataclass
class Asking:
    """Sends requests and keeps their times."""

    client: httpx.AsyncClient
    texts: list[str]
    refused: int = 0
    """Requests answered by an error, or by a lost connection."""

    async def post(self, number: int) -> tuple[str, float]:
        """The job's id, "" when it was refused, and the seconds."""
        text = self.texts[number % len(self.texts)]
        body = {"question": f"What of {number}?", "documents": [{"text": text}], "mode": "fold"}
        reply, seconds = await self._timed("POST", "/answer", body)
        return ("" if reply is None else reply.json()["id"]), seconds

    async def get(self, job: str) -> float:
        return (await self._timed("GET", f"/answer/{job}", None))[1]

    async def _timed(self, method: str, path: str, body: object) -> tuple[httpx.Response | None, float]:
        began = time.perf_counter()
        reply = None
        with suppress(httpx.TransportError, httpx.HTTPStatusError):
            reply = (await self.client.request(method, path, json=body)).raise_for_status()
        self.refused += reply is None
        return reply, time.perf_counter() - began


async def fill(asking: Asking, jobs: int) -> tuple[list[str], list[float]]:
    """Ids of the jobs made and seconds of the requests: `jobs` of them, `AT_ONCE` in flight."""
    numbers = iter(range(jobs))
    made: list[tuple[int, str, float]] = []

    async def some() -> None:
        for number in numbers:
            made.append((number, *(await asking.post(number))))

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return [job for _, job, _ in sorted(made) if job], [seconds for _, _, seconds in made]


async def follow(client: httpx.AsyncClient, job: str, heard: Heard, opened: asyncio.Event) -> None:
    """One stream from its first event to its last. `opened` is set at the first, or when there is none."""
    last, gaps, kind, parser, began = 0, 0, "", EventParser(), time.perf_counter()
    try:
        async with client.stream("GET", f"/answer/{job}/events") as reply:
            async for piece in reply.aiter_bytes():
                now = time.time()
                for message in parser.feed(piece):
                    kind = message.event
                    if kind == EventType.RECONNECT:
                        break
                    event = Event.model_validate_json(message.data)
                    if opened.is_set():
                        heard.delays.append(now - event.at.timestamp())
                    else:
                        heard.openings.append(time.perf_counter() - began)
                        opened.set()
                    gaps += event.seq != last + 1
                    last = event.seq
    except httpx.TransportError:
        kind = ""
    finally:
        opened.set()
    heard.wrong += gaps > 0 or kind not in FINAL


async def open_all(client: httpx.AsyncClient, jobs: list[str], heard: Heard) -> list[asyncio.Task[None]]:
    """The streams of the jobs, each after its first event; `AT_ONCE` are opened at once."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(job: str) -> asyncio.Task[None]:
        async with turn:
            opened = asyncio.Event()
            following = asyncio.create_task(follow(client, job, heard, opened))
            await opened.wait()
            return following

    return await asyncio.gather(*(one(job) for job in jobs))


async def steady(asking: Asking, jobs: list[str], until: asyncio.Event) -> tuple[list[float], list[float]]:
    """Seconds of the POSTs and of the GETs sent at a steady pace."""
    posts: list[asyncio.Task[tuple[str, float]]] = []
    gets: list[asyncio.Task[float]] = []
    rng = Random(1)
    while not until.is_set():
        posts.append(asyncio.create_task(asking.post(len(posts))))
        gets.append(asyncio.create_task(asking.get(rng.choice(jobs))))
        await asyncio.sleep(PACE)
    posted = [seconds for _, seconds in await asyncio.gather(*posts)]
    return posted, list(await asyncio.gather(*gets))


@dataclass
class Load:
    """Resident bytes and CPU seconds of the API and of Redis at one moment."""

    api: psutil.Process
    redis: psutil.Process

    def memory(self) -> tuple[float, float]:
        return self.api.memory_info().rss / MEGABYTE, self.redis.memory_info().rss / MEGABYTE

    def seconds(self) -> tuple[float, float]:
        api, redis = self.api.cpu_times(), self.redis.cpu_times()
        return api.user + api.system, redis.user + redis.system


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] * 1e3


async def under_load(running: Replicas, options: argparse.Namespace) -> list[Row]:
    tokens = load_tokens(TOKENIZER)
    texts = [document(Random(number), tokens, BUDGET, CHUNKS) for number in range(TEXTS)]
    load = Load(psutil.Process(running.apis[0].pid), psutil.Process(running.redis.pid))
    [worker] = running.workers
    worker.kill()  # its time comes when the queue is full
    many = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with (
        httpx.AsyncClient(base_url=running.urls[0], trust_env=False, timeout=120, limits=many) as client,
        httpx.AsyncClient(base_url=running.urls[0], trust_env=False, timeout=600, limits=many) as streaming,
    ):
        asking, heard = Asking(client, texts), Heard()
        empty = load.memory()
        began, before = time.perf_counter(), load.seconds()
        jobs, filled = await fill(asking, options.jobs)
        seconds, after = time.perf_counter() - began, load.seconds()
        full = load.memory()
        following = await open_all(streaming, jobs[: options.streams], heard)
        open_memory = load.memory()
        await worker.start()
        ended = asyncio.Event()
        pacing = asyncio.create_task(steady(asking, jobs, ended))
        began, before_events = time.perf_counter(), load.seconds()
        await asyncio.gather(*following)
        spent, after_events = time.perf_counter() - began, load.seconds()
        ended.set()
        posts, gets = await pacing
    return [
        Row(f"POST /answer, filling the queue, {AT_ONCE} at once", options.jobs / seconds, "jobs/s"),
        Row("POST /answer, filling the queue, p50", statistics.median(filled) * 1e3, "ms"),
        Row("POST /answer, filling the queue, p99", p99(filled), "ms"),
        Row("event stream, from the request to its first event, p99", p99(heard.openings), "ms"),
        Row("POST /answer, streams open, p50", statistics.median(posts) * 1e3, "ms"),
        Row("POST /answer, streams open, p99", p99(posts), "ms"),
        Row("GET /answer/{job}, streams open, p50", statistics.median(gets) * 1e3, "ms"),
        Row("GET /answer/{job}, streams open, p99", p99(gets), "ms"),
        Row("event, from the commit to the client, p50", statistics.median(heard.delays) * 1e3, "ms"),
        Row("event, from the commit to the client, p99", p99(heard.delays), "ms"),
        Row("events delivered", len(heard.delays) / spent, "events/s"),
        Row("memory of the API, idle", empty[0], "MB"),
        Row("memory of the API, jobs queued", full[0], "MB"),
        Row("memory of the API, streams open", open_memory[0], "MB"),
        Row("memory of Redis, idle", empty[1], "MB"),
        Row("memory of Redis, jobs queued", full[1], "MB"),
        Row("CPU of the API per POST", (after[0] - before[0]) / options.jobs * 1e3, "ms"),
        Row("CPU of Redis per POST", (after[1] - before[1]) / options.jobs * 1e3, "ms"),
        Row("CPU of the API, streams open", (after_events[0] - before_events[0]) / spent * 100, "% of a core"),
        Row("CPU of Redis, streams open", (after_events[1] - before_events[1]) / spent * 100, "% of a core"),
        Row("requests refused", asking.refused, "requests", "<= 0"),
        Row("streams with a gap, a repeat or no end", heard.wrong, "streams", "<= 0"),
    ]


async def measure(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="longfold-bench-") as folder:
        settings = {"chunk_tokens": BUDGET, "worker_concurrency": options.concurrency}
        async with replicas(Path(folder), apis=1, workers=1, latency=options.latency, **settings) as running:
            rows = await under_load(running, options)
    return report("streams", rows, jobs=options.jobs, streams=options.streams, concurrency=options.concurrency)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=64, help="jobs the worker reads at once")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds of an engine call")
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())
