"""A worker killed by SIGKILL in the middle of a fold: how soon another goes on, and whether anything was read twice.

Stub engine.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from prose import prose
from report import Row, report
from service import TOKENIZER, free_port, stub_engine

from longfold_client import AsyncClient
from longfold_client.types import Mode
from longfold_server.stack import redis

QUESTION = "What is described in the manual?"


def replica(role: str, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "longfold_server.cli", role, "--port", str(port)]
    return subprocess.Popen(command, env=os.environ | environment)


async def until_ready(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(300):
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{url} did not become ready")


async def measure() -> int:
    with stub_engine(latency=0.1) as engine, tempfile.TemporaryDirectory(prefix="longfold-bench-") as folder:
        store, redis_url = redis.child(Path(folder))
        await store.start()
        environment = {
            "LONGFOLD_REDIS_URL": redis_url,
            "LONGFOLD_DATA_DIR": folder,
            "LONGFOLD_ENGINE_URLS": engine,
            "LONGFOLD_TOKENIZER": str(TOKENIZER),
            "LONGFOLD_CHUNK_TOKENS": "256",
        }
        api_port, *worker_ports = (free_port() for _ in range(3))
        api = replica("api", api_port, environment)
        workers = {port: replica("worker", port, environment) for port in worker_ports[:1]}
        try:
            url = f"http://127.0.0.1:{api_port}"
            await asyncio.gather(*(until_ready(f"http://127.0.0.1:{port}") for port in (api_port, *workers)))
            async with AsyncClient(url) as client:
                document = await client.upload(prose(160_000).encode(), title="manual")
                job = await client.submit(QUESTION, [document], mode=Mode.FOLD)
                while (await client.get(job.id)).progress.chunks_read < 20:
                    await asyncio.sleep(0.1)
                # The second worker starts before the first dies, as replicas do.
                workers[worker_ports[1]] = replica("worker", worker_ports[1], environment)
                await until_ready(f"http://127.0.0.1:{worker_ports[1]}")
                workers[worker_ports[0]].kill()
                killed, at = time.perf_counter(), (await client.get(job.id)).progress.chunks_read
                while (await client.get(job.id)).progress.chunks_read <= at:
                    await asyncio.sleep(0.02)
                gap = time.perf_counter() - killed
                done = await client.wait(job.id)
                read = [view.chunk async for view in client.steps(job.id)]
        finally:
            for child in (api, *workers.values()):
                child.kill()
                child.wait()
            await store.stop()
    if done.result is None:
        raise RuntimeError(f"the job did not complete: {done.error}")
    rows = [
        Row("kill -9 of the worker until the next chunk is committed", gap, "s", "<= 15"),
        Row(
            "chunks applied twice or lost",
            len(read) - len(set(read)) + (sorted(set(read)) != list(range(len(set(read))))),
            "chunks",
            "<= 0",
        ),
    ]
    return report("takeover", rows, chunks=len(read))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(measure()))
