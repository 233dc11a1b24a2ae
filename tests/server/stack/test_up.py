"""The whole stack as a process of its own: real Redis, the real service, and a running engine given by its URL."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import tokenizers
from tests.server.stack.conftest import Marked, eventually
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from longfold_server.stack.processes import Child, Command, Patience
from longfold_server.stack.up import Stack, StackOptions


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE tokenizer."""
    made = tokenizers.Tokenizer(BPE())
    pieces = Split(tokenizers.Regex(r" ?\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s+"), "isolated")
    made.pre_tokenizer = Sequence([pieces, ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = ByteLevelDecoder()
    specials = ["<pad>", "<chunk>", "<q>", "<mem>", "<plan>", "<out>", "<eos>", "<ans>", "<opt>", "<keep>"]
    trainer = BpeTrainer(
        vocab_size=300, special_tokens=specials, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(["the quick brown fox and the lazy dog"], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """What a running vLLM tells about itself; no completion is asked of it here."""
    served = {"id": "small", "root": "/no/such/folder/here", "max_model_len": 4096}
    replies = {"/health": b"", "/v1/models": json.dumps({"object": "list", "data": [served]}).encode()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = replies.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Up:
    """A running `longfold-server up`."""

    def __init__(self, marked: Marked, data_dir: Path, tokenizer: Path, engine: str, *more: str) -> None:
        self.record = data_dir / "stack.json"
        self.output = data_dir.parent / f"{data_dir.name}-{time.monotonic_ns()}.out"
        argv = [sys.executable, "-m", "longfold_server.cli", "up", "--data-dir", str(data_dir), "--port", "0"]
        argv += ["--engine-url", engine, "--tokenizer", str(tokenizer), "--profile", "general", *more]
        env = {name: value for name, value in marked.env.items() if not name.startswith("LONGFOLD_URL")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(argv, env=env, stdout=output, stderr=output)

    @property
    def text(self) -> str:
        return self.output.read_text()

    def state(self) -> dict[str, Any]:
        """`stack.json`, empty when there is none."""
        try:
            found = json.loads(self.record.read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(found, dict)
        return found

    def component(self, name: str) -> dict[str, Any]:
        found = self.state().get("components", {}).get(name, {})
        assert isinstance(found, dict)
        return found

    def has_restarted(self, name: str) -> bool:
        return bool(self.component(name)["restarts"] == 1)

    def wait_ready(self) -> str:
        """The service's URL once it can be asked."""
        assert eventually(lambda: "longfold is ready at" in self.text or self.process.poll() is not None, 120), (
            self.text
        )
        assert self.process.poll() is None, self.text
        return str(self.state()["url"])


Launch = Callable[..., Up]


@pytest.fixture
def launch(marked: Marked, tmp_path: Path, tokenizer: Path, engine: str) -> Iterator[Launch]:
    """Starts a stack with further arguments; what is left at the end of a test is killed."""
    started: list[Up] = []

    def start(*more: str, tokenizer: Path = tokenizer) -> Up:
        started.append(Up(marked, tmp_path / "data", tokenizer, engine, *more))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_stack_starts_heals_and_ends(marked: Marked, launch: Launch) -> None:
    one = launch()
    url = one.wait_ready()
    assert ready(url)
    assert re.search(r"redis +ready", one.text) and re.search(r"vllm +ready", one.text) and url in one.text
    assert one.state()["pid"] == one.process.pid
    assert one.record.stat().st_mode & 0o077 == 0

    second = launch()
    assert second.process.wait(120) == 1
    assert "already runs" in second.text and url in second.text and "--data-dir" in second.text
    assert ready(url), "the refused stack has not touched the running one"

    for name in ("redis", "server"):
        os.kill(one.component(name)["pid"], signal.SIGKILL)
        assert eventually(partial(one.has_restarted, name), 120), one.text
        assert eventually(lambda: ready(url), 120), one.text

    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(120) == 0
    assert marked.pids() == set()
    assert not one.record.exists()


def test_killing_the_supervisor_leaves_nothing_and_blocks_nothing(marked: Marked, launch: Launch) -> None:
    first = launch()
    first.wait_ready()
    first.process.kill()
    first.process.wait()
    second = launch()
    url = second.wait_ready()
    assert ready(url)
    second.process.terminate()
    assert second.process.wait(120) == 0
    assert eventually(lambda: marked.pids() == set())


def test_ctrl_c_while_starting_leaves_nothing(marked: Marked, launch: Launch) -> None:
    one = launch()
    assert eventually(lambda: re.search(r"server +starting", one.text) is not None, 120), one.text
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(120) == 130
    assert marked.pids() == set() and "ready at" not in one.text and "Traceback" not in one.text


def test_a_taken_port_is_refused_in_a_sentence(marked: Marked, launch: Launch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one = launch("--port", str(port))
        assert one.process.wait(120) == 1
    assert f"port {port}" in one.text and "--port" in one.text and "Traceback" not in one.text
    assert marked.pids() == set()


def test_a_service_that_cannot_start_shows_the_tail_of_its_log(marked: Marked, launch: Launch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    one = launch(tokenizer=broken)
    assert one.process.wait(120) == 1
    assert "server ended with status" in one.text and "last lines of the log" in one.text
    assert "server.log" in one.text
    assert marked.pids() == set()


async def test_stop_ends_also_a_watcher_that_loses_a_cancellation(marked: Marked, tmp_path: Path) -> None:
    checking, lost = asyncio.Event(), []

    async def healthy() -> bool:
        """Loses the first cancellation, as `asyncio.wait_for` of Python 3.11 does when one comes as its work ends."""
        if lost:
            return True
        checking.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            lost.append("cancellation")
        return True

    async def ready() -> bool:
        return True

    stack = Stack(StackOptions(tmp_path, engine_urls=("http://127.0.0.1:1",)))
    sleeper = Command((sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)"), marked.env)
    patience = Patience(check_every=0.01, unhealthy=7200.0)
    await stack._start_child(Child("redis", sleeper, healthy, tmp_path / "log", ready=ready, patience=patience))
    async with asyncio.timeout(60):
        await checking.wait()
        await stack.stop()
    assert lost and marked.pids() == set()
