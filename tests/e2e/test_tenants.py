"""Real vLLM: what one tenant has read answers another tenant not a token faster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.e2e.conftest import Documents, RunningStack, planted

from longfold_client import Client

KEYS = ["the-key-of-the-first-tenant", "the-key-of-the-second-tenant"]
START_SECONDS = 120.0


@pytest.fixture
def url(stack: RunningStack, tmp_path: Path) -> Iterator[str]:
    """A second service beside the stack's own, on the same Redis and vLLM, which asks for keys."""
    own = Path(f"/proc/{stack.component('server')['pid']}/environ").read_bytes().split(b"\0")
    environment = dict(os.fsdecode(pair).split("=", 1) for pair in own if b"=" in pair)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment |= {"LONGFOLD_PORT": str(port), "LONGFOLD_REDIS_PREFIX": "tenants", "LONGFOLD_API_KEYS": ",".join(KEYS)}
    address, output = f"http://127.0.0.1:{port}", tmp_path / "server.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "longfold_server.cli", "serve"], env=environment, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            try:
                if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def test_the_prefix_cache_is_shared_within_a_tenant_only(url: str, documents: Documents) -> None:
    page = documents.put(planted(71, 6_000, {0.5: "The access code of Norwick Mill is 4471."}))

    def cached(key: str) -> int:
        with Client(url, key) as client:
            result = client.answer("What is the access code of Norwick Mill?", [page], mode="fold")
        assert result.usage.prompt_tokens > 1_000
        return result.usage.cached_tokens

    first, second = KEYS
    alone = cached(first)
    assert cached(first) > alone + 500
    assert cached(second) == alone
    assert cached(second) > alone + 500
