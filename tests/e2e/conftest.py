"""One real stack for the whole run (Redis, vLLM with the demo policy, the service) and an HTTP server of documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pydoc_data import topics
from random import Random
from typing import Any

import pytest

from longfold_client import Client

START_SECONDS = 600.0
"""vLLM needs half a minute on two idle cores, and minutes where they are shared."""


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A started `longfold-server up`."""

    url: str
    data_dir: Path

    def component(self, name: str) -> dict[str, Any]:
        """Pid, state and restarts of "redis", "vllm" or "server"."""
        found = json.loads((self.data_dir / "stack.json").read_text())["components"][name]
        assert isinstance(found, dict)
        return found

    def command(self, *words: str) -> list[str]:
        """A `longfold` command line against this stack."""
        name, *rest = words
        return [sys.executable, "-m", "longfold_client", name, *rest, "--server", self.url]


class Documents:
    """Pages on a loopback HTTP server."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.pages: dict[str, tuple[str, bytes]] = {}

    def put(self, content: str | bytes, media_type: str = "text/plain; charset=utf-8", name: str = "page.txt") -> str:
        """Serve a page; its URL, which ends with `name`."""
        path = f"/{len(self.pages)}/{name}"
        self.pages[path] = (media_type, content.encode() if isinstance(content, str) else content)
        return self.base + path


@pytest.fixture(scope="session")
def documents() -> Iterator[Documents]:
    """An HTTP server on loopback; `put` adds a page and gives its URL."""
    pages: Documents

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.pages.get(self.path)
            self.send_response(200 if found else 404)
            media_type, body = found or ("text/plain", b"no such page")
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages = Documents(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield pages
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, documents: Documents) -> Iterator[RunningStack]:
    """The stack, started by its command as a user would; fails with what it said when it does not come up."""
    folder = tmp_path_factory.mktemp("stack")
    output = folder / "up.out"
    argv = [sys.executable, "-m", "longfold_server.cli", "up", "--port", "0", "--data-dir", str(folder / "data")]
    argv += ["--allow-network", "127.0.0.0/8", "--allow-port", documents.base.rpartition(":")[2]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGFOLD_")}
    with output.open("wb") as file:
        process = subprocess.Popen(argv, env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "longfold is ready at" not in output.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the stack did not start:\n{output.read_text()}", pytrace=False)
            time.sleep(0.1)
        record = json.loads((folder / "data" / "stack.json").read_text())
        yield RunningStack(record["url"], folder / "data")
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def client(stack: RunningStack) -> Iterator[Client]:
    """The SDK against the stack."""
    with Client(stack.url) as client:
        yield client


def prose(seed: int, characters: int) -> list[str]:
    """Paragraphs of ordinary English without a planted fact, from the language reference (unseen in training)."""
    rng = Random(seed)
    paragraphs = [
        part.strip()
        for _, text in sorted(topics.topics.items())
        for part in text.split("\n\n")
        if len(part) > 120 and part.strip()[0].isalpha() and part.rstrip().endswith(".") and "::" not in part
    ]
    rng.shuffle(paragraphs)
    chosen: list[str] = []
    while sum(map(len, chosen)) < characters:
        chosen.append(paragraphs[len(chosen) % len(paragraphs)])
    return chosen


def planted(seed: int, characters: int, facts: dict[float, str]) -> str:
    """A document with sentences at given fractions of its length, each a line of its own."""
    paragraphs = prose(seed, characters)
    count = len(paragraphs)
    for place, sentence in sorted(facts.items(), reverse=True):
        paragraphs.insert(round(place * count), sentence)
    return "\n\n".join(paragraphs) + "\n"
