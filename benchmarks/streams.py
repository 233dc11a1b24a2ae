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
from longfold_client.types import FINAL_EVENTS, Event

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

    opened: int = 0
    delays: list[float] = field(default_factory=list)
    wrong: int = 0
    """Streams with a gap or a repeat, or without a final event."""


@dataclass
class Asking:
    """Sends requests and keeps their times."""

    client: httpx.AsyncClient
    texts: list[str]
    refused: int = 0

    async def post(self, number: int) -> tuple[str, float]:
        text = self.texts[number % len(self.texts)]
        body = {"question": f"What of {number}?", "documents": [{"text": text}], "mode": "fold"}
        reply, seconds = await self._timed("POST", "/answer", body)
        return (reply.json()["id"] if reply.status_code == 202 else ""), seconds

    async def get(self, job: str) -> float:
        return (await self._timed("GET", f"/answer/{job}", None))[1]

    async def _timed(self, method: str, path: str, body: object) -> tuple[httpx.Response, float]:
        began = time.perf_counter()
        reply = await self.client.request(method, path, json=body)
        self.refused += reply.status_code >= 400
        return reply, time.perf_counter() - began


async def fill(asking: Asking, jobs: int) -> tuple[list[str], list[float]]:
    """Ids and seconds of `jobs` requests, `AT_ONCE` in flight."""
    numbers = iter(range(jobs))
    made: list[tuple[int, str, float]] = []

    async def some() -> None:
        for number in numbers:
            made.append((number, *(await asking.post(number))))

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return [job for _, job, _ in sorted(made)], [seconds for _, _, seconds in made]


async def follow(client: httpx.AsyncClient, job: str, heard: Heard, turn: asyncio.Semaphore) -> None:
    """One stream from its first event to its last."""
    last, kind, parser, opening = 0, "", EventParser(), True
    await turn.acquire()
    try:
        async with client.stream("GET", f"/answer/{job}/events") as reply:
            async for piece in reply.aiter_bytes():
                now = time.time()
                for message in parser.feed(piece):
                    event = Event.model_validate_json(message.data)
                    if opening:
                        heard.opened, opening = heard.opened + 1, False
                        turn.release()
                    else:
                        heard.delays.append(now - event.at.timestamp())
                    heard.wrong += event.seq != last + 1
                    last, kind = event.seq, event.type.value
    except httpx.TransportError:
        if opening:
            turn.release()
    heard.wrong += kind not in FINAL


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
        turn = asyncio.Semaphore(AT_ONCE)
        following = [asyncio.create_task(follow(streaming, job, heard, turn)) for job in jobs[: options.streams]]
        while heard.opened < options.streams and not all(task.done() for task in following):
            await asyncio.sleep(0.1)
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
