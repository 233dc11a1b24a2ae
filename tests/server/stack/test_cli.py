"""The command line: quick help, mistakes answered in one sentence, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from longfold_server import cli

HEAVY = ("asyncio", "fastapi", "pydantic", "redis", "httpx", "rich", "uvicorn", "vllm", "torch")


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LONGFOLD_")}
    return subprocess.run(
        [sys.executable, "-m", "longfold_server.cli", *argv],
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["serve", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from longfold_server import cli\n"
        f"try: cli.main({words!r})\n"
        f"finally: sys.stderr.write(repr(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "longfold-server" in done.stdout
    assert done.stderr == "[]"


def test_up_documents_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.up(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--model", "--engine-url", "--profile", "--tokenizer", "--port", "--data-dir", "--max-model-len"):
        assert option in text
    assert "--allow-network" in text and "longfold up" in text


def test_the_client_finds_up_by_its_entry_point() -> None:
    (entry,) = entry_points(group="longfold.commands", name="up")
    assert entry.load() is cli.up


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["fly"],
        ["up", "--port", "70000"],
        ["up", "--port", "-1"],
        ["up", "--max-model-len", "0"],
        ["up", "--allow-network", "10.0.0"],
        ["up", "--engine-url", "localhost:8000"],
        ["up", "--profile", "unknown"],
        ["up", "--data-dir", ""],
        ["up", "--data-dir", "~no-such-user/data"],
        ["up", "--tokenizer", "~no-such-user/tokenizer.json"],
        ["api", "--port", "x"],
    ],
)
def test_wrong_usage_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["up", "--model", "org/model", "--tokenizer", "/no/tokenizer.json"], "no tokenizer file"),
        (["up", "--model", "/no/such/model"], "no model folder at /no/such/model"),
        (["up", "--model", "~no-such-user/model"], "no model folder at ~no-such-user/model"),
        (["up", "--engine-url", "http://127.0.0.1:1", "--max-model-len", "4096"], "--max-model-len"),
        (["up", "--engine-url", "http://127.0.0.1:1"], "no vLLM answers at http://127.0.0.1:1"),
        (["up", "--engine-url", "http://127.0.0.1:1", "--redis-url", "redis://127.0.0.1:1"], "does not answer"),
    ],
)
def test_up_says_in_a_sentence_why_it_cannot_start(argv: list[str], words: str, tmp_path: Path) -> None:
    done = run(*argv, "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("longfold-server: ") and words in line
    assert not (tmp_path / "data" / "stack.json").exists()


def test_up_listens_where_the_variable_says(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        up = ["up", "--engine-url", "http://127.0.0.1:1", "--data-dir", str(tmp_path / "data")]
        done = run(*up, LONGFOLD_PORT=port)
        assert done.returncode == 1 and f"cannot listen on 127.0.0.1 port {port}" in done.stderr
        assert run(*up, LONGFOLD_PORT="x").returncode == 2


def test_a_data_directory_that_is_not_ours_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    done = run("up", "--engine-url", "http://127.0.0.1:1", "--port", "0", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"longfold-server: the stack cannot run: {tmp_path / 'logs'}: File exists\n"


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_wrong_settings_are_named_without_their_values(command: str) -> None:
    done = run(command, LONGFOLD_API_KEYS="tooshort", LONGFOLD_LEASE_SECONDS="minus-one")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "LONGFOLD_API_KEYS" in done.stderr and "LONGFOLD_LEASE_SECONDS" in done.stderr
    assert "tooshort" not in done.stderr and "minus-one" not in done.stderr


def test_an_open_address_without_keys_is_refused() -> None:
    done = run("serve", "--host", "0.0.0.0")
    assert done.returncode == 1 and "API keys" in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "environment", "words"),
    [
        (["--host", "0.0.0.0"], {}, "API keys"),
        (["--host", "0.0.0.0"], {"LONGFOLD_REQUIRE_KEYS": "false"}, "API keys"),
        ([], {"LONGFOLD_LEASE_SECONDS": "minus-one"}, "LONGFOLD_LEASE_SECONDS"),
    ],
)
def test_up_refuses_wrong_settings_of_the_service_before_it_starts_anything(
    argv: list[str], environment: dict[str, str], words: str, tmp_path: Path
) -> None:
    done = run("up", *argv, "--port", "0", "--data-dir", str(tmp_path / "data"), **environment)
    assert done.returncode == 1 and "minus-one" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert words in line
    assert done.stdout == "" and not (tmp_path / "data").exists()
