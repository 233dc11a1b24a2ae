"""The command line: what is printed where, exit codes, and never a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from longfold_client.cli import commands, main
from longfold_client.cli.text import clean, duration, one_line

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "COLUMNS": "100"}


class Run:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def longfold(service: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("LONGFOLD_URL", service.url)

    def run(*arguments: str) -> Run:
        code = main(list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Run(code, captured.out, captured.err)

    return run


def test_ask_prints_answer_citations_and_summary(longfold: Any) -> None:
    run = longfold("ask", "Where?", "--url", "https://example.com/a")
    assert run.code == 0
    assert run.out.splitlines()[0] == "Paris"
    assert "[1] A page, characters 10-24" in run.out and "“Paris it is.”" in run.out
    assert "fold: too long for one pass · 1,034 tokens in 5 calls · 3.5 s · tiny" in run.out
    assert "A demonstration model." in run.out
    assert "reading: 20%, 1/5 chunks, 100 tokens, 100 tokens/s, about 4.0 s left, memory 1 line" in run.err
    assert "job_1" in run.err and "\x1b" not in run.out + run.err


def test_inspect_prints_what_a_document_would_be(longfold: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "keys.json").write_text('{"https://example.com": {"Authorization": "Bearer hunter2"}}')
    run = longfold("inspect", str(tmp_path / "book.pdf"), "--chunk-tokens", "700")
    assert run.code == 0
    for line in (
        "A book",
        "type       application/pdf",
        "size       5,000 bytes, 4,000 characters",
        "tokens     1,234, 2 chunks of 700",
        "index      3 pages, 1 heading",
        "left out   page 3: it is an image",
        "    p. 2: “What it says.”",
        "        https://example.com/a.pdf#page=2",
    ):
        assert line in run.out.splitlines()
    assert "Setup" in run.out and "\x1b" not in run.out
    url = "https://example.com/a.pdf"
    found = json.loads(longfold("inspect", url, "--json", "--credentials", str(tmp_path / "keys.json")).out)
    assert found["document"]["title"] == "A book"
    assert "hunter2" in json.loads(service.paths("POST", "/fetch")[0][3])["credentials"][0]["headers"]["Authorization"]


def test_inspect_explains_what_it_cannot_take(longfold: Any, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("hunter2")
    for arguments in (
        ["mailto:x"],
        [str(tmp_path / "none")],
        ["https://a.example/", "--credentials", str(tmp_path / "keys.json")],
    ):
        run = longfold("inspect", *arguments)
        assert run.code == 2 and run.err.startswith("longfold: ") and "hunter2" not in run.err


def test_ask_sends_the_documents_in_the_order_given(
    longfold: Any, service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("größe".encode())))
    known = "doc_" + "a" * 64
    options = ["--text", "-", "--file", str(path), "--url", "https://example.com/a", "--document", known]
    options += ["--mode", "fold", "--seconds", "9", "--tokens", "1000", "--priority", "7"]
    run = longfold("ask", "Where?", *options, "--no-progress")
    assert (run.code, run.err) == (0, "")
    body = json.loads(service.paths("POST", "/answer")[0][3])
    assert [next(iter(document)) for document in body["documents"]] == ["text", "document_id", "url", "document_id"]
    assert body["documents"][3]["document_id"] == known != body["documents"][1]["document_id"]
    assert body["documents"][0]["text"] == "größe"
    assert body["mode"] == "fold" and body["limits"] == {"seconds": 9.0, "tokens": 1000} and body["priority"] == 7


def test_citations_lead_to_their_place_and_what_was_not_read_is_listed(
    longfold: Any, service: Any, replies: Any
) -> None:
    result = replies.result()
    result["citations"][0] |= {"locator": "p. 12", "link": "https://example.com/a#page=12"}
    parts = [{"path": f"{n}.png", "reason": "binary", "message": "it is a PNG image"} for n in range(7)]
    detail = "documents[1] (https://example.com/b): there is no such page"
    problem = {"title": "t", "status": 422, "detail": detail, "code": "document_not_found", "document": 1}
    result["manifest"] = [
        {"document": 0, "status": "read", "title": "A page", "skipped": parts, "skipped_count": 9},
        {"document": 1, "status": "skipped", "url": "https://example.com/b", "error": problem},
        {"document": 2, "status": "partly_read", "title": "Third", "characters": 200, "characters_read": 50},
        {"document": 3, "status": "not_read", "title": "Fourth"},
    ]
    job = {**service.job(), "status": "completed", "result": result}
    service.job = lambda job_id="job_1": job
    run = longfold("ask", "Where?", "--url", "https://example.com/a", "--on-document-error", "skip")
    lines = run.out.splitlines()
    assert lines[2:4] == ["[1] A page, p. 12", "    https://example.com/a#page=12"]
    assert "Document 1, A page, has 9 parts that could not be read:" in lines
    assert "    4.png: it is a PNG image" in lines and "    5.png: it is a PNG image" not in lines
    assert "    and 4 more (--json lists the first 7)" in lines
    assert "Document 2, https://example.com/b, was skipped: there is no such page" in lines
    assert "Document 3, Third, was read to 25%." in lines and "Document 4, Fourth, was not read." in lines
    assert json.loads(service.paths("POST", "/answer")[0][3])["on_document_error"] == "skip"


def test_an_answer_of_which_nothing_could_be_read_says_so(longfold: Any, service: Any, replies: Any) -> None:
    result = replies.result() | {"citations": [], "partial": True, "stop": "invalid", "invalid_steps": 5}
    job = {**service.job(), "status": "completed", "result": result}
    service.job = lambda job_id="job_1": job
    lines = longfold("ask", "Where?", "--url", "https://example.com/a").out.splitlines()
    assert "Partial answer: no reply of the reading could be used, so it knows nothing of the documents." in lines
    assert "No usable reply on 5 chunks; what stands there may be missing." in lines


def test_ask_json_is_one_object_on_stdout(longfold: Any) -> None:
    run = longfold("ask", "Where?", "--url", "https://example.com/a", "--json")
    fields = json.loads(run.out)
    assert fields["answer"] == "Paris" and fields["job"] == "job_1" and fields["citations"][0]["chunk"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage"),
        (["ask"], "usage"),
        (["ask", "Where?"], "at least one document"),
        (["ask", "Where?", "--file", "/nowhere"], "document 1: cannot read /nowhere: No such file"),
        (["ask", "Where?", "--url", "nowhere"], "use --file"),
        (["ask", "Where?", "--text", "x", "--seconds", "0"], "seconds"),
        (["ask", "Where?", "--text", "x", "--tokens", "many"], "whole number"),
        (["ask", "Where?", "--text", "x", "--priority", "10"], "priority"),
        (["ask", "Where?", "--text", "-", "--text", "-"], "once only"),
        (["ask", " ", "--text", "x"], "question"),
        (["status", ""], "job"),
        (["steps", "\udcff"], "job"),
        (["ask", "Where?", "--document", "doc_1"], "document_id"),
        (["explode"], "no command 'explode'"),
        (["status", "x", "--server", "nowhere"], "no server address"),
        (["status", "x", "--server", "http://a..example"], "no server address"),
    ],
)
def test_wrong_usage_is_exit_code_2(longfold: Any, arguments: list[str], message: str) -> None:
    run = longfold(*arguments)
    assert run.code == 2 and message in run.err and run.out == ""


def test_a_refusal_is_one_line_and_exit_code_1(longfold: Any, service: Any) -> None:
    service.error = {"title": "t", "status": 404, "detail": "It is gone", "code": "document_not_found", "document": 0}
    service.events[-1]["type"] = "failed"
    run = longfold("ask", "Where?", "--url", "https://example.com/a", "--no-progress")
    assert run.code == 1 and run.out == "" and run.err.count("\n") == 1
    assert re.match(r"longfold: job job_1 failed: document 1 \(https://example.com/a\): It is gone\.", run.err)


def test_no_server_is_one_line(longfold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    run = longfold("status", "job_1", "--server", "http://127.0.0.1:9")
    assert run.code == 1 and run.err.count("\n") == 1 and "cannot reach http://127.0.0.1:9" in run.err


def test_hostile_text_cannot_steer_the_terminal(longfold: Any, service: Any, replies: Any) -> None:
    service.status = "completed"
    hostile = "\x1b]0;owned\x07\x1b[2J[bold]x[/bold]\u202e"
    service.job = lambda job_id="job_1": {  # type: ignore[method-assign]
        "id": "job_1",
        "status": "completed",
        "question": hostile,
        "created_at": "2026-01-01T00:00:00Z",
        "result": replies.result(hostile),
    }
    for arguments in (["ask", "Where?", "--text", "x"], ["status", "job_1"]):
        run = longfold(*arguments)
        assert run.code == 0 and "[bold]x[/bold]" in run.out
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", run.out)


def test_status_steps_events_and_cancel(longfold: Any, service: Any) -> None:
    run = longfold("status", "job_1")
    assert run.code == 0 and "job_1  in progress" in run.out and "Where?" in run.out
    run = longfold("steps", "job_1", "--memory")
    assert run.code == 0 and "+ line 1\n" in run.out and "- line 0\n" in run.out and "memory 201" in run.out
    assert len(re.findall(r"  (rewrite|keep) ", run.out)) == 201
    run = longfold("steps", "job_1", "--json")
    assert [json.loads(line)["seq"] for line in run.out.splitlines()] == list(range(1, 202))
    run = longfold("events", "job_1", "--after", "4")
    assert [line.split()[0] for line in run.out.splitlines()] == ["5", "6"]
    service.status = "in_progress"
    run = longfold("cancel", "job_1")
    assert run.out == "job job_1 is cancelled\n"
    assert json.loads(longfold("status", "job_1", "--json").out)["status"] == "cancelled"


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_the_job_and_says_so(service: Any) -> None:
    import asyncio

    async def forever() -> None:
        await asyncio.sleep(60)

    service.streams.append([1, 2, forever])
    command = [sys.executable, "-m", "longfold_client", "ask", "Where?", "--text", "x", "--server", service.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    while "reading" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == ""
    assert err.splitlines()[-1] == "longfold: interrupted: job job_1 is cancelled." and "Traceback" not in err
    assert service.cancelled == ["job_1"]


def test_on_a_terminal_the_panel_is_live_and_gone_afterwards(service: Any) -> None:
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "longfold_client", "ask", "Where?", "--text", "x", "--server", service.url]
    service.streams.append([1, 2, b"event: reconnect\n\n"])
    service.streams.append([3, lambda: __import__("asyncio").sleep(1.0), 4, 5, 6])
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, env={**ENVIRONMENT, "TERM": "xterm"}
    )
    os.close(slave)
    screen = b""
    try:
        while piece := os.read(master, 65536):
            screen += piece
    except OSError:
        assert screen  # Linux reports EIO when the other side of a terminal closes
    os.close(master)
    assert process.stdout is not None
    out = process.stdout.read().decode()
    process.stdout.close()
    assert process.wait(30) == 0 and out.startswith("Paris\n") and "\x1b" not in out
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen).decode()
    assert "3/5 chunks" in text and "look for 3" in text and "memory  3 lines  + fact 2" in text
    assert b"\x1b[?25h" in screen.rsplit(b"look for", 1)[-1]


def test_a_reader_that_leaves_is_no_error(service: Any) -> None:
    command = f"'{sys.executable}' -m longfold_client steps job_1 --server {service.url} | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_an_output_that_is_closed_is_no_error(service: Any, closed: str) -> None:
    command = f"'{sys.executable}' -m longfold_client ask Where? --text x --server {service.url} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert (done.stdout == "") == (closed == ">&-")


def test_what_the_terminal_cannot_show_does_not_cost_the_answer(service: Any) -> None:
    command = [sys.executable, "-m", "longfold_client", "ask", "Where?", "--text", "x", "--server", service.url]
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "?Paris it is.?" in done.stdout


@pytest.mark.parametrize(("name", "value"), [("HTTPS_PROXY", "nonsense:::"), ("SSL_CERT_FILE", "/nowhere")])
def test_an_environment_that_cannot_be_used_is_one_line(
    longfold: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    run = longfold("status", "job_1", "--server", "https://longfold.example.com")
    assert run.code == 2 and run.err.count("\n") == 1 and name in run.err


def test_version_and_help(longfold: Any) -> None:
    from longfold_client import __version__

    run = longfold("--version")
    assert (run.code, run.out) == (0, f"longfold {__version__}\n")
    run = longfold("--help")
    assert run.code == 0 and "ask" in run.out and "longfold up" in run.out
    assert longfold("ask", "--help").code == 0


def test_up_comes_from_an_entry_point(longfold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longfold_client.cli.find", lambda name: None)
    run = longfold("up")
    assert run.code == 1 and "pip install 'longfold-server[cpu]'" in run.err and run.err.count("\n") == 1
    seen: list[list[str]] = []
    monkeypatch.setattr("longfold_client.cli.find", lambda name: lambda argv: seen.append([name, *argv]) or 7)
    assert longfold("up", "--port", "1").code == 7 and seen == [["up", "--port", "1"]]


def test_an_installed_command_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    points = "[longfold.commands]\ngreet = longfold_greeting:run\nbroken = longfold_nowhere:run\n"
    (info / "entry_points.txt").write_text(points)
    (tmp_path / "longfold_greeting.py").write_text("def run(argv):\n    return len(argv)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    command = commands.find("greet")
    assert command is not None and command(["a", "b"]) == 2
    assert commands.find("nothing") is None
    assert main(["broken"]) == 1
    assert "`longfold broken` of extra does not start: No module named 'longfold_nowhere'" in capsys.readouterr().err


def test_texts() -> None:
    assert clean("a\x1b[0m\r\nb\tc") == "a\ufffd[0m\nb\tc"
    assert one_line(" a\n b   c ", 4) == "a b…"
    assert [duration(s) for s in (0.04, 9.94, 59.4, 65, 3600, 7500)] == [
        "0.0 s",
        "9.9 s",
        "59 s",
        "1 min 05 s",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_a_second_worker_writes_the_answer_anew() -> None:
    from longfold_client import Event
    from longfold_client.cli.progress import Reading

    reading = Reading()
    for seq, data in enumerate(
        [{"offset": 0, "text": "In Pa"}, {"offset": 5, "text": "ris"}, {"offset": 0, "text": "By"}], 1
    ):
        reading.take_event(
            Event.model_validate({"seq": seq, "type": "delta", "at": "2026-01-01T00:00:00Z", "data": data})
        )
    assert reading.answer == "By" and reading.phase == "answering"


def test_a_wait_for_the_engine_is_shown_until_it_is_over() -> None:
    from longfold_client import Event
    from longfold_client.cli.progress import Reading

    reading, phases = Reading(), []
    for seq, (kind, data) in enumerate(
        [("waiting", {"for": "engine", "error": "EngineUnavailable"}), ("waited", {"for": "engine", "seconds": 7.5})], 1
    ):
        event = {"seq": seq, "type": kind, "at": "2026-01-01T00:00:00Z", "data": data}
        reading.take_event(Event.model_validate(event))
        phases.append(reading.phase)
    assert phases == ["waiting for the engine", "going on"]
