"""Both clients against a real server that misbehaves: retries, idempotency, errors, uploads, steps, waiting."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse

from longfold_client import (
    Client,
    ConnectionFailed,
    Invalid,
    InvalidArgument,
    JobCancelled,
    JobFailed,
    NotFound,
    ProtocolError,
    RateLimited,
    ServerFault,
    Unauthorized,
    Unavailable,
    WaitTimeout,
    plans,
)

URL = "https://example.com/a"


def test_submit_sends_one_complete_request(client: Any, service: Any) -> None:
    job = client.submit("  Where? ", [URL, {"text": "t"}], mode="fold", limits={"seconds": 5, "tokens": None})
    assert (job.id, job.finished) == ("job_1", False)
    ((_, path, headers, body),) = service.seen
    assert path == "/answer" and headers["authorization"] == "Bearer lf_key" and headers["idempotency-key"]
    assert json.loads(body) == {
        "question": "Where?",
        "documents": [{"url": URL}, {"text": "t"}],
        "mode": "fold",
        "limits": {"seconds": 5.0},
        "priority": 0,
    }


def test_a_priority_is_sent_or_refused(client: Any, service: Any) -> None:
    client.submit("Where?", [URL], priority=9)
    assert json.loads(service.seen[0][3])["priority"] == 9
    with pytest.raises(InvalidArgument, match="priority"):
        client.submit("Where?", [URL], priority=10)


def test_a_webhook_is_asked_for(client: Any, service: Any) -> None:
    client.submit("Where?", [URL], webhook="https://example.com/hook")
    assert json.loads(service.seen[0][3])["webhook"] == {"url": "https://example.com/hook"}
    with pytest.raises(InvalidArgument, match="webhook"):
        client.submit("Where?", [URL], webhook="")


def test_retries_carry_one_key_so_that_one_job_starts(client: Any, service: Any, replies: Any) -> None:
    unavailable = lambda: replies.problem(503, "store_unavailable", headers={"retry-after": "0"})  # noqa: E731
    service.script("POST /answer", unavailable, replies.broken, unavailable)
    assert client.submit("Where?", [URL]).id == "job_1"
    keys = [headers["idempotency-key"] for _, _, headers, _ in service.seen]
    assert len(keys) == 4 and len(set(keys)) == 1 and len(service.jobs) == 1
    client.submit("Where?", [URL])
    assert len(service.jobs) == 2


def test_a_reply_that_was_damaged_on_its_way_is_asked_for_again(client: Any, service: Any) -> None:
    damaged = lambda: Response(b"{}", headers={"content-encoding": "gzip"})  # noqa: E731
    service.script("POST /answer", damaged)
    assert client.submit("Where?", [URL]).id == "job_1"


def test_a_key_of_the_caller_is_used(client: Any, service: Any) -> None:
    client.submit("Where?", [URL], idempotency_key="mine")
    client.submit("Where?", [URL], idempotency_key="mine")
    assert list(service.jobs) == ["mine"]


def test_after_the_last_try_the_servers_own_error_is_raised(client: Any, service: Any, replies: Any) -> None:
    service.script("GET /answer/{id}", *[lambda: replies.problem(503, "store_unavailable", "Redis is away")] * 4)
    with pytest.raises(Unavailable, match=r"Redis is away\. \[store_unavailable\] .*try again") as caught:
        client.get("job_1")
    assert caught.value.status == 503 and len(service.seen) == replies.quick.attempts


def test_a_long_retry_after_is_reported_at_once(client: Any, service: Any, replies: Any) -> None:
    service.script("POST /answer", lambda: replies.problem(429, "rate_limited", headers={"retry-after": "3600"}))
    with pytest.raises(RateLimited, match="wait 3600 s") as caught:
        client.submit("Where?", [URL])
    assert caught.value.problem.retry_after == 3600 and len(service.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (413, Invalid),
        (422, Invalid),
        (500, ServerFault),
    ],
)
def test_refusals_are_typed_and_not_repeated(client: Any, service: Any, replies: Any, status: int, kind: type) -> None:
    service.script("GET /answer/{id}", lambda: replies.problem(status, "some_code", "Because."))
    with pytest.raises(kind, match=r"Because\. \[some_code\]"):
        client.get("job_1")
    assert len(service.seen) == 1


def test_validation_errors_name_the_fields(client: Any, service: Any, replies: Any) -> None:
    errors = [{"loc": ["body", "documents", 0, "url"], "msg": "too long", "type": "x"}]
    service.script("POST /answer", lambda: replies.problem(422, "invalid_request", "Not acceptable", errors=errors))
    with pytest.raises(Invalid, match=r"Not acceptable: documents\.0\.url: too long\. \[invalid_request\]"):
        client.submit("Where?", [URL])


def test_a_document_is_named_in_the_message(client: Any, service: Any, replies: Any) -> None:
    service.script("POST /answer", lambda: replies.problem(422, "document_unknown_id", "Not here", document=1))
    with pytest.raises(Invalid, match=r"document 2 \(Mine\): Not here\. .*[Uu]pload"):
        client.submit("Where?", [URL, {"text": "x", "title": "Mine"}])


def test_a_document_is_not_named_twice(client: Any, service: Any, replies: Any) -> None:
    detail = f"documents[0] ({URL}): it is blocked"
    service.script("POST /answer", lambda: replies.problem(422, "document_blocked", detail, document=0))
    with pytest.raises(Invalid, match=rf"^document 1 \({URL}\): it is blocked\. \[document_blocked\] The server"):
        client.submit("Where?", [URL])


@pytest.mark.parametrize("body", [b"<html>nginx</html>", b"[1]", b"", b"\xff", b'{"title": 3}', b"[" * 20000])
def test_a_proxys_error_page_is_not_echoed(client: Any, service: Any, body: bytes) -> None:
    from starlette.responses import Response

    service.script("GET /answer/{id}", lambda: Response(body, 500))
    with pytest.raises(ServerFault, match=r"answered 500 Internal Server Error without an explanation\. \[http_500\]"):
        client.get("job_1")


def test_a_redirect_is_explained(client: Any, service: Any) -> None:
    from starlette.responses import RedirectResponse

    service.script("GET /answer/{id}", lambda: RedirectResponse("https://elsewhere.example/"))
    with pytest.raises(Invalid, match=r"elsewhere\.example.*base URL"):
        client.get("job_1")
    assert len(service.seen) == 1


@pytest.mark.parametrize("body", [b"hello", b"{}", b'{"id": 1}'])
def test_a_success_that_is_no_job_is_a_protocol_error(client: Any, service: Any, body: bytes) -> None:
    from starlette.responses import Response

    service.script("GET /answer/{id}", lambda: Response(body, 200))
    with pytest.raises(ProtocolError, match="not a Job"):
        client.get("job_1")


def test_nobody_there(replies: Any) -> None:
    with Client("http://127.0.0.1:9", retry=replies.quick) as client, pytest.raises(ConnectionFailed) as caught:
        client.get("job_1")
    assert "http://127.0.0.1:9" in str(caught.value) and "longfold up" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://x", "http://", "http://a:b:c", "http://x/?y", "x", "http://h:99999"]
)
def test_a_wrong_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InvalidArgument, match="no server address"):
        Client(url)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, service: Any) -> None:
    monkeypatch.setenv("LONGFOLD_URL", service.url + "/")
    monkeypatch.setenv("LONGFOLD_API_KEY", "lf_env")
    with Client() as client:
        client.get("job_1")
        assert "lf_env" not in repr(client)
    assert service.seen[0][2]["authorization"] == "Bearer lf_env"


def test_a_garbled_key_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Client("http://localhost", "geheim\u00fc")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("question", "options"), [("  ", {}), ("x" * 20_001, {}), ("q", {"mode": "slow"}), ("q", {"limits": {"tokens": 0}})]
)
def test_a_wrong_request_is_not_sent(client: Any, service: Any, question: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        client.submit(question, [URL], **options)
    assert service.seen == []


@pytest.mark.parametrize("job_id", ["", " ", ".."])
def test_a_wrong_id_is_not_sent(client: Any, service: Any, job_id: str) -> None:
    with pytest.raises(InvalidArgument):
        client.get(job_id)
    assert service.seen == []


def test_an_id_is_quoted(client: Any, service: Any) -> None:
    with pytest.raises(NotFound):
        client.get("a/b?c")
    client.get("jöb")
    assert service.seen[0][1] == "/answer/jöb"


def test_upload_of_path_bytes_and_file(client: Any, service: Any, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    path = tmp_path / "größe & more.txt"
    path.write_bytes(data)
    documents = [
        client.upload(path),
        client.upload(data, title="B"),
        client.upload(io.BytesIO(data), media_type="text/plain"),
    ]
    assert {info.bytes for info in documents} == {len(data)} and len({info.document_id for info in documents}) == 1
    assert [info.title for info in documents] == ["größe & more.txt", "B", ""]
    assert [info.media_type for info in documents] == ["text/plain", "application/octet-stream", "text/plain"]
    assert {headers["content-length"] for _, _, headers, _ in service.seen} == {str(len(data))}


def test_an_upload_is_repeated_from_its_start(client: Any, service: Any, replies: Any) -> None:
    service.script("POST /documents", lambda: replies.problem(503, "store_unavailable"), replies.broken)
    file = io.BytesIO(b"abcdef")
    file.seek(2)
    assert client.upload(file).bytes == 4
    assert [body for _, _, _, body in service.seen] == [b"cdef"] * 3


def test_an_empty_upload_arrives(client: Any, service: Any) -> None:
    assert client.upload(b"").bytes == 0


def test_a_large_upload_to_a_server_without_parts_goes_as_a_whole(
    client: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "IN_PARTS", 10)
    assert client.upload(b"x" * 11).bytes == 11
    assert [path for _, path, _, _ in service.seen] == ["/uploads", "/documents"]


def at(offset: int, status: int = 204) -> Response:
    """Of an upload that stands at `offset`."""
    return Response(status_code=status, headers={"location": "/uploads/u1", "upload-offset": str(offset)})


def test_a_server_that_takes_parts_and_keeps_none_is_not_asked_for_ever(
    client: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "IN_PARTS", 10)
    service.script("POST /uploads", lambda: at(0, 201))
    service.script("PATCH /uploads", *[lambda: at(0)] * 9)
    with pytest.raises(ProtocolError, match="Upload-Offset"):
        client.upload(b"x" * 11)


@pytest.mark.parametrize("offset", ["", "-1", "x", "²", "9" * 4301])
def test_an_offset_that_is_none_is_a_protocol_error(
    client: Any, service: Any, monkeypatch: pytest.MonkeyPatch, offset: str
) -> None:
    monkeypatch.setattr(plans, "IN_PARTS", 10)
    service.script("POST /uploads", lambda: at(0, 201))
    reply = Response(status_code=204, headers={"upload-offset": offset})
    service.script("PATCH /uploads", lambda: reply)
    with pytest.raises(ProtocolError, match="Upload-Offset"):
        client.upload(b"x" * 11)


def test_a_server_that_loses_parts_again_and_again_is_not_asked_for_ever(
    client: Any, service: Any, replies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "IN_PARTS", 10)
    monkeypatch.setattr(plans, "PART", 8)
    service.script("POST /uploads", lambda: at(0, 201))
    service.script("PATCH /uploads", *[lambda: at(8), lambda: replies.problem(409, "upload_conflict")] * 9)
    service.script("HEAD /uploads", *[lambda: at(0, 200)] * 9)
    with pytest.raises(Invalid, match="upload_conflict"):
        client.upload(b"x" * 11)


def test_fetch_and_inspect_send_credentials_and_questions_only_when_given(client: Any, service: Any) -> None:
    ours = {"https://example.com": {"Authorization": "Bearer secret"}}
    assert client.fetch(URL, title="T", credentials=ours).url == URL
    assert json.loads(service.seen[0][3]) == {
        "url": URL,
        "title": "T",
        "credentials": [{"origin": "https://example.com", "headers": {"Authorization": "Bearer secret"}}],
    }
    client.submit("Where?", [URL], credentials=ours)
    assert json.loads(service.seen[1][3])["credentials"][0]["headers"] == {"Authorization": "Bearer secret"}
    for document in (URL, b"x".decode(), {"text": "hello"}, "doc_" + "0" * 64):
        service.seen.clear()
        if document == "x":
            with pytest.raises(InvalidArgument):
                client.inspect(document)
            continue
        found = client.inspect(document, chunk_tokens=99)
        assert (found.chunk_tokens, found.samples[0].locator) == (99, "p. 2")
        assert service.seen[-1][1].endswith("?chunk_tokens=99")


def test_a_part_of_a_text_is_asked_for_by_characters(client: Any, service: Any) -> None:
    assert client.text("doc_" + "0" * 64, 10, 25).text == "What it says."
    assert service.seen[0][1].endswith("/text?start=10&end=25")
    for arguments in (("nothing",), ("doc_" + "0" * 64, -1), ("doc_" + "0" * 64, 5, 4)):
        with pytest.raises(InvalidArgument):
            client.text(*arguments)


def test_a_refused_upload_names_the_document(client: Any, service: Any, replies: Any) -> None:
    service.script("POST /documents", lambda: replies.problem(413, "document_too_large", "Too large", document=0))
    with pytest.raises(Invalid, match=r"document 1 \(big\): Too large\. \[document_too_large\] Split"):
        client.upload(b"x", title="big")


def test_files_are_uploaded_before_the_question(client: Any, service: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    client.submit("Where?", [URL, path])
    assert [entry[1].split("?")[0] for entry in service.seen] == ["/documents", "/answer"]
    documents = json.loads(service.seen[1][3])["documents"]
    assert (
        documents[0] == {"url": URL}
        and documents[1]["title"] == "a.txt"
        and documents[1]["document_id"].startswith("doc_")
    )


@pytest.mark.parametrize(
    ("question", "asked"), [("  ", {}), ("Where?", {"mode": "both"}), ("Where?", {"limits": {"seconds": -1}})]
)
def test_a_question_that_cannot_be_asked_costs_no_upload(
    client: Any, service: Any, tmp_path: Path, question: str, asked: dict[str, Any]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with pytest.raises(InvalidArgument):
        client.answer(question, [path], **asked)
    assert service.seen == []


def test_steps_runs_over_all_pages(client: Any, service: Any) -> None:
    steps = list(client.steps("job_1"))
    assert [step.seq for step in steps] == list(range(1, 202))
    assert len(service.seen) == 3
    assert [step.seq for step in client.steps("job_1", after=199)] == [200, 201]


def test_pages_that_do_not_advance_end_in_an_error(client: Any, service: Any) -> None:
    from starlette.responses import JSONResponse

    service.script("GET /answer/{id}/steps", lambda: JSONResponse({"job": "job_1", "steps": [], "next": 0}))
    with pytest.raises(ProtocolError, match="advance"):
        list(client.steps("job_1"))


def test_wait_polls_until_the_end(client: Any, service: Any, replies: Any) -> None:
    service.polls_until_done = 2
    service.script("GET /answer/{id}", replies.broken, lambda: replies.problem(502, "x"))
    job = client.wait("job_1")
    assert job.finished and job.result.answer == "Paris"
    assert service.seen[0][2]["prefer"] == "wait=20"


def test_wait_gives_up_in_time_and_leaves_the_job(client: Any, service: Any) -> None:
    with pytest.raises(WaitTimeout, match=r"job_1 is still in_progress after 0\.3 s") as caught:
        client.wait("job_1", timeout=0.3)
    assert caught.value.job.id == "job_1" and service.cancelled == []


def test_wait_counts_the_time_of_a_reply_that_never_comes(
    client: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b"{}"

    monkeypatch.setattr(plans, "LATE", 0.2)
    service.script("GET /answer/{id}", *[lambda: StreamingResponse(nothing())] * 10)
    with pytest.raises(ConnectionFailed, match="no reply in time"):
        client.wait("job_1", timeout=0.3)
    assert len(service.seen) == 1


def test_wait_returns_a_failed_job(client: Any, service: Any) -> None:
    service.status = "failed"
    service.error = {"title": "t", "status": 502, "detail": "d", "code": "engine_unavailable"}
    job = client.wait("job_1")
    assert job.status == "failed" and job.error.code == "engine_unavailable"


def test_cancel(client: Any, service: Any) -> None:
    job = client.submit("Where?", [URL])
    assert client.cancel(job).status == "cancelled"
    assert service.cancelled == ["job_1"]


def test_a_failed_job_says_which_document_and_what_to_do(client: Any, service: Any) -> None:
    service.error = {"title": "t", "status": 404, "detail": "It is gone", "code": "document_not_found", "document": 0}
    service.events[-1]["type"] = "failed"
    with pytest.raises(
        JobFailed, match=rf"job job_1 failed: document 1 \({URL}\): It is gone\. \[document_not_found\] Check"
    ) as c:
        client.answer("Where?", [URL])
    assert c.value.problem.code == "document_not_found" and c.value.job.finished


def test_a_cancelled_job_is_its_own_error(client: Any, service: Any) -> None:
    service.events[-1]["type"] = "cancelled"
    with pytest.raises(JobCancelled, match="job_1"):
        client.answer("Where?", [URL])
