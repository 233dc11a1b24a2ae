"""Name, profile and tokenizer of the model to serve or of the one a running engine serves."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from longfold_server.stack import models
from longfold_server.stack.errors import BadConfiguration, StackError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_folder_brings_its_own_tokenizer_and_name(folder: Path) -> None:
    found = models.resolve(str(folder), None, None)
    assert (found.name, found.profile, found.tokenizer) == ("my-model", "general", folder / "tokenizer.json")


def test_what_is_given_wins(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    found = models.resolve(str(folder), "qwenlong", other, name="served")
    assert (found.name, found.profile, found.tokenizer) == ("served", "qwenlong", other)


def test_without_a_model_the_demo_policy_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "POLICY", folder)
    with pytest.raises(BadConfiguration, match="--model"):
        models.resolve(None, None, None)
    (folder / "config.json").write_text("{}")
    found = models.resolve(None, None, None)
    assert (found.name, found.profile) == (models.POLICY_NAME, "demo")
    assert models.resolve(str(folder), None, None).profile == "demo"


def test_a_hub_model_is_looked_up_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadConfiguration, match="pass --tokenizer"):
        models.resolve("org/model", None, None)
    with pytest.raises(BadConfiguration, match="pass --tokenizer"):
        models.resolve("not a name", None, None)
    snapshot = tmp_path / "models--org--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    refs = tmp_path / "models--org--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    found = models.resolve("org/model", None, None)
    assert (found.name, found.tokenizer) == ("org/model", snapshot / "tokenizer.json")


def test_missing_tokenizers_are_refused_in_words(folder: Path) -> None:
    with pytest.raises(BadConfiguration, match="no tokenizer file"):
        models.resolve(str(folder), None, folder / "none.json")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadConfiguration, match="pass --tokenizer"):
        models.resolve(str(folder), None, None)


@pytest.mark.parametrize("missing", ["/no/such/model", "./no-such-model", "~/no-such-model", "~no-such-user/model"])
def test_a_missing_folder_is_not_taken_for_a_hub_name(missing: str, folder: Path) -> None:
    with pytest.raises(BadConfiguration, match="no model folder"):
        models.resolve(missing, None, folder / "tokenizer.json")


def test_a_running_engine_may_serve_a_folder_of_another_machine(folder: Path) -> None:
    given = folder / "tokenizer.json"
    for name in ("served", "/no/such/model"):
        found = models.resolve("/no/such/model", None, given, name=name)
        assert (found.name, found.profile, found.tokenizer) == (name, "general", given)
    with pytest.raises(BadConfiguration, match=r"/no/such/model.*pass --tokenizer"):
        models.resolve("/no/such/model", None, None, name="served")


@pytest.fixture
def engine() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    """A small HTTP server: its URL and what it answers per path."""
    replies: dict[str, tuple[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = replies.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", replies
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_running_engine_tells_what_it_serves(engine: tuple[str, dict[str, tuple[int, bytes]]]) -> None:
    url, replies = engine
    replies["/v1/models"] = (200, json.dumps({"data": [{"id": "demo", "root": "/models/demo"}]}).encode())
    assert await models.served(url, None) == ("demo", "/models/demo")
    replies["/v1/models"] = (200, json.dumps({"data": [{"id": "demo"}]}).encode())
    assert await models.served(url + "/", "key") == ("demo", "demo")


async def test_an_engine_is_asked_without_the_environments_proxy(
    engine: tuple[str, dict[str, tuple[int, bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, replies = engine
    replies["/v1/models"] = (200, json.dumps({"data": [{"id": "demo"}]}).encode())
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert await models.served(url, None) == ("demo", "demo")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((401, b"{}"), "LONGFOLD_ENGINE_API_KEY"),
        ((500, b"{}"), "status 500"),
        ((200, b"<html>"), "not an OpenAI-compatible engine"),
        ((200, b'{"data": []}'), "not an OpenAI-compatible engine"),
    ],
)
async def test_a_wrong_engine_is_refused_in_words(
    engine: tuple[str, dict[str, tuple[int, bytes]]], reply: tuple[int, bytes], words: str
) -> None:
    url, replies = engine
    replies["/v1/models"] = reply
    with pytest.raises(StackError, match=words):
        await models.served(url, None)


async def test_no_engine_is_refused_in_words() -> None:
    with pytest.raises(StackError, match="no vLLM answers at"):
        await models.served("http://127.0.0.1:1", None)


def test_importing_this_loads_no_hub_client() -> None:
    import subprocess

    code = "import sys, longfold_server.stack.models; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
