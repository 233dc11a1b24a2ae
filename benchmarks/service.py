"""A whole longfold on free ports for one benchmark: the embedded stack, over a real vLLM or over the stub engine.

Measures nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from longfold_server.stack import vllm
from longfold_server.stack.up import Stack, StackOptions

HERE = Path(__file__).parent
POLICY = HERE.parent / "server" / "longfold_server" / "policy"
TOKENIZER = POLICY / "tokenizer.json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def stub_engine(latency: float, rewrite_every: int = 20, window: int = 32768) -> Iterator[str]:
    """URL of a running stub engine with `latency` seconds per call."""
    port = free_port()
    options = [
        "--port",
        str(port),
        "--latency",
        str(latency),
        "--rewrite-every",
        str(rewrite_every),
        "--window",
        str(window),
    ]
    child = subprocess.Popen([sys.executable, str(HERE / "stub_engine.py"), *options])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            raise RuntimeError("the stub engine did not start")
        yield url
    finally:
        child.terminate()
        child.wait()


@asynccontextmanager
async def real_engine(*flags: str, model: Path = POLICY) -> AsyncIterator[str]:
    """URL of a vLLM with a policy folder, the demo policy, and without a key, so that a benchmark can also speak to it
    directly."""
    with tempfile.TemporaryDirectory(prefix="longfold-bench-") as folder:
        options = vllm.Options(model=str(model), name="demo", port=free_port(), extra=flags)
        child, url = vllm.child(vllm.find(), options, Path(folder) / "vllm.log")
        await child.start()
        try:
            yield url
        finally:
            await child.stop()


@asynccontextmanager
async def stack(engine_url: str, profile: str = "general", **settings: object) -> AsyncIterator[Stack]:
    """A started stack over a running engine.

    `settings` become LONGFOLD_ variables of the service, e.g. `chunk_tokens=256`.
    """
    variables = {f"LONGFOLD_{name.upper()}": str(value) for name, value in settings.items()}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with tempfile.TemporaryDirectory(prefix="longfold-bench-") as folder:
            options = StackOptions(
                data_dir=Path(folder), port=0, engine_urls=(engine_url,), profile=profile, tokenizer=TOKENIZER
            )
            running = Stack(options)
            try:
                await running.start()
                yield running
            finally:
                await running.stop()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
