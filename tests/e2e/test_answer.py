"""Questions to the real stack: answers over many chunks, progress, citations, resume, cancel, upload."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import Documents, RunningStack, planted

from longfold_client import AnswerResult, Client, Event, EventType, JobFailed, JobStatus

LONG = 30_000
"""Characters; well above sixteen chunks of 256 tokens."""


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()


def check_citations(result: AnswerResult, texts: list[str]) -> None:
    """Every quote stands where its citation says."""
    assert result.citations
    for citation in result.citations:
        assert texts[citation.document][citation.start : citation.end] == citation.quote
        assert citation.document_id == result.documents[citation.document].document_id


def test_a_single_fact_far_inside(client: Client, documents: Documents) -> None:
    text = planted(1, LONG, {0.6: "The access code of Norwick Library is 7306."})
    result = client.answer("What is the access code of Norwick Library?", [documents.put(text)])
    assert result.answer == "7306"
    assert result.route.mode == "fold" and result.route.reason
    assert not result.partial and result.read_fraction == 1.0
    assert result.usage.calls > 16 and result.usage.prompt_tokens > 16 * 200
    check_citations(result, [text])
    assert any("7306" in citation.quote for citation in result.citations)


def test_the_last_of_several_values_counts(client: Client, documents: Documents) -> None:
    facts = {
        0.1: "The budget of project Falcon is 41,200 euros.",
        0.4: "The budget of project Heron is 66,700 euros.",
        0.7: "The budget of project Falcon was raised from 41,200 euros to 52,300 euros.",
    }
    result = client.answer("What is the budget of project Falcon?", [documents.put(planted(2, LONG, facts))])
    assert result.answer == "52,300 euros"


def test_multiple_choice_is_answered_by_the_letter(client: Client, documents: Documents) -> None:
    text = planted(3, LONG, {0.8: "The home port of the Silver Heron is Odense."})
    question = "What is the home port of the Silver Heron? A) Bergen B) Cadiz C) Odense D) Leith"
    assert client.answer(question, [documents.put(text)]).answer == "C"


def test_documents_keep_their_order_and_identity(client: Client, documents: Documents) -> None:
    first = planted(4, LONG // 2, {0.5: "The access code of Mill Lane Bakery is 1182."})
    second = planted(5, LONG // 2, {0.5: "The access code of Mill Lane Bakery was changed from 1182 to 9047."})
    question = "What is the access code of Mill Lane Bakery?"
    urls = [documents.put(first), documents.put(second)]
    forward = client.answer(question, urls)
    assert forward.answer == "9047"
    assert [document.url for document in forward.documents] == urls
    check_citations(forward, [first, second])
    assert forward.citations[-1].document == 1
    alone = client.answer(question, [{"url": urls[0], "title": "The old list"}])
    assert alone.answer == "1182" and alone.documents[0].title == "The old list"


def test_an_upload_is_read_like_a_page(client: Client, tmp_path: Path) -> None:
    text = planted(6, LONG // 2, {0.3: "The access code of Norwick Library is 3318."})
    file = tmp_path / "notes.txt"
    file.write_text(text)
    uploaded = client.upload(file)
    assert uploaded.characters == len(text) and uploaded.title == "notes.txt"
    assert client.upload(text.encode()).document_id == uploaded.document_id, "addressed by content"
    result = client.answer("What is the access code of Norwick Library?", [{"document_id": uploaded.document_id}])
    assert result.answer == "3318"


def test_a_web_page_is_read_as_its_text(client: Client, documents: Documents) -> None:
    body = planted(7, LONG // 3, {0.5: "The access code of Norwick Library is 6651."}).replace("<", "&lt;")
    paragraphs = "".join(f"<p>{part}</p>" for part in body.split("\n\n"))
    page = f"<html><head><title>Notes</title><script>var a = 'x';</script></head><body>{paragraphs}</body></html>"
    result = client.answer("What is the access code of Norwick Library?", [documents.put(page, "text/html")])
    assert result.answer == "6651"
    assert result.documents[0].title == "Notes" and result.documents[0].media_type == "text/html"


def test_progress_events_tell_the_whole_story_in_order(client: Client, documents: Documents) -> None:
    text = planted(8, LONG, {0.5: "The access code of Norwick Library is 7306."})
    seen: list[Event] = []
    result = client.answer("What is the access code of Norwick Library?", [documents.put(text)], on_event=seen.append)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    kinds = [event.type for event in seen]
    order = [EventType.CREATED, EventType.INGESTED, EventType.DECOMPOSED, EventType.ROUTED, EventType.STEP]
    assert [kinds.index(kind) for kind in order] == [0, 1, 2, 3, 4]
    assert kinds[-1] is EventType.COMPLETED
    steps = [event.data for event in seen if event.type is EventType.STEP]
    assert [step["chunk"] for step in steps] == list(range(len(steps))) and len(steps) >= 16
    fractions = [step["progress"]["read_fraction"] for step in steps]
    assert all(before < after for before, after in pairwise(fractions)) and fractions[-1] == 1.0
    deltas = "".join(str(event.data.get("text", "")) for event in seen if event.type is EventType.DELTA)
    assert deltas.strip() in ("", result.answer)


def test_steps_show_what_entered_the_memory_and_when(client: Client, documents: Documents) -> None:
    facts = {
        0.3: "The budget of project Falcon is 41,200 euros.",
        0.7: "The budget of project Falcon was raised from 41,200 euros to 52,300 euros.",
    }
    text = planted(9, LONG, facts)
    job = client.wait(client.submit("What is the budget of project Falcon?", [documents.put(text)]))
    assert job.status is JobStatus.COMPLETED
    steps = list(client.steps(job))
    places = [(step.start, step.end) for step in steps]
    assert places[0][0] == 0 and places[-1][1] == len(text)
    assert all(before[1] == after[0] for before, after in pairwise(places)), "no gap, nothing twice"
    for place, value in ((facts[0.3], "41,200"), (facts[0.7], "52,300")):
        at = text.index(place) + place.rindex(value)
        (reading,) = [number for number, (start, end) in enumerate(places) if start <= at < end]
        assert steps[reading].update == "rewrite" and value in steps[reading].memory
        assert any(value in line for line in steps[reading].diff.added)
        assert reading == 0 or value not in steps[reading - 1].memory
    for before, after in pairwise(steps):
        if after.update != "rewrite":
            assert after.memory == before.memory and not after.diff.added and not after.diff.removed


def test_a_dropped_stream_is_resumed_without_gap_or_repeat(
    stack: RunningStack, client: Client, documents: Documents
) -> None:
    text = planted(10, LONG, {0.5: "The access code of Norwick Library is 7306."})
    job = client.submit("What is the access code of Norwick Library?", [documents.put(text)])

    def read(after: int, most: int | None) -> list[int]:
        ids: list[int] = []
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with httpx.stream("GET", f"{stack.url}/answer/{job.id}/events", headers=headers, timeout=60) as reply:
            for line in reply.iter_lines():
                if line.startswith("id:"):
                    ids.append(int(line.removeprefix("id:")))
                    if most is not None and len(ids) >= most:
                        break
        return ids

    first = read(0, 5)
    rest = read(first[-1], None)
    assert first + rest == list(range(1, rest[-1] + 1))
    assert client.get(job).status is JobStatus.COMPLETED
    assert [event.seq for event in client.events(job, after=3)] == list(range(4, rest[-1] + 1))


def test_cancel_ends_the_reading_at_once(client: Client, documents: Documents) -> None:
    job = client.submit("What is the access code of Norwick Library?", [documents.put(planted(11, 20 * LONG, {}))])
    assert eventually(lambda: client.get(job).progress.chunks_read >= 3, 60)
    client.cancel(job)
    ended = client.wait(job, timeout=10)
    assert ended.status is JobStatus.CANCELLED and ended.result is None
    read = ended.progress.chunks_read
    time.sleep(0.5)
    assert client.get(job).progress.chunks_read == read
    assert client.cancel(job).status is JobStatus.CANCELLED


def test_a_limit_gives_the_best_partial_answer(client: Client, documents: Documents) -> None:
    text = planted(12, 20 * LONG, {0.01: "The access code of Norwick Library is 7306."})
    question = "What is the access code of Norwick Library?"
    result = client.answer(question, [documents.put(text)], limits={"tokens": 8_000})
    assert result.partial and result.stop == "tokens" and 0 < result.read_fraction < 0.5
    assert result.answer == "7306"


def test_mode_direct_over_a_long_document_is_refused_with_a_reason(client: Client, documents: Documents) -> None:
    with pytest.raises(JobFailed) as failure:
        client.answer(
            "What is the access code of Norwick Library?", [documents.put(planted(13, LONG, {}))], mode="direct"
        )
    assert failure.value.problem.code == "direct_too_large"


def test_a_document_that_is_not_there_is_named(client: Client, documents: Documents) -> None:
    good = documents.put(planted(14, 2_000, {}))
    with pytest.raises(JobFailed) as failure:
        client.answer("What is the access code of Norwick Library?", [good, f"{documents.base}/missing.txt"])
    assert failure.value.problem.code == "document_not_found" and failure.value.problem.document == 1


def test_one_idempotency_key_is_one_job(stack: RunningStack, documents: Documents) -> None:
    body = {
        "question": "What is the access code of Norwick Library?",
        "documents": [{"url": documents.put("Empty hall.")}],
    }
    replies = [httpx.post(f"{stack.url}/answer", json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert replies[0].json()["id"] == replies[1].json()["id"]
    other = httpx.post(
        f"{stack.url}/answer", json={**body, "question": "Another?"}, headers={"Idempotency-Key": "once"}
    )
    assert other.status_code == 422 and other.json()["code"] == "idempotency_mismatch"


def test_a_killed_service_comes_back_and_the_job_goes_on(
    stack: RunningStack, client: Client, documents: Documents
) -> None:
    """kill -9 in the middle of a reading: another process continues at the next chunk, none is applied twice."""
    text = planted(15, 8 * LONG, {0.05: "The access code of Norwick Library is 7306."})
    job = client.submit("What is the access code of Norwick Library?", [documents.put(text)])
    assert eventually(lambda: client.get(job).progress.chunks_read >= 10, 60)
    restarts = stack.component("server")["restarts"]
    os.kill(stack.component("server")["pid"], signal.SIGKILL)
    assert eventually(lambda: stack.component("server")["restarts"] == restarts + 1, 90)
    ended = client.wait(job, timeout=300)
    assert ended.status is JobStatus.COMPLETED and ended.result is not None and ended.result.answer == "7306"
    assert [step.chunk for step in client.steps(job)] == list(range(ended.progress.chunks_read))


def test_the_command_line_asks_and_cites(stack: RunningStack, documents: Documents) -> None:
    text = planted(16, LONG, {0.5: "The access code of Norwick Library is 7306."})
    words = stack.command("ask", "What is the access code of Norwick Library?", "--url", documents.put(text))
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "7306" and "The access code of Norwick Library is 7306." in done.stdout
    asked: dict[str, Any] = json.loads(subprocess.run([*words, "--json"], capture_output=True, check=True).stdout)
    assert asked["answer"] == "7306"


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_at_the_command_line_cancels_the_job(stack: RunningStack, client: Client, documents: Documents) -> None:
    words = stack.command(
        "ask", "What is the access code of Norwick Library?", "--url", documents.put(planted(17, 20 * LONG, {}))
    )
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or []))
    reader.start()
    assert eventually(lambda: any("chunk" in line for line in said), 90), said
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    reader.join()
    process.stderr.close()
    if process.stdout is not None:
        process.stdout.close()
    note = said[-1].split()
    job = client.get(next(word for word in note if word.startswith(JOB_PREFIX)))
    assert job.status is JobStatus.CANCELLED


JOB_PREFIX = "job_"
