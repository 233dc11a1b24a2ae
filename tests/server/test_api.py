"""The HTTP surface: what is accepted, what is refused and how. Every refusal is a problem with a code, none echoes its
input."""

from __future__ import annotations

import asyncio
import json

import pytest

from longfold_client.types import AnswerRequest, Problem
from longfold_server.codes import Code, status_of, title_of

SECRET = "s3cret-marker-value"
GOOD = {"question": "What?", "documents": [{"text": "some text"}]}


@pytest.fixture
async def api(start):
    """A service without a worker: requests only."""
    async with start(roles=["api"], inline_max_bytes=50_000, upload_max_bytes=50_000) as service:
        yield service


def problem_of(reply, code):
    """The reply's problem; checks its form."""
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    found = Problem.model_validate_json(reply.content)
    assert (found.code, found.status) == (code, reply.status_code), reply.text
    assert found.status == status_of(code) and found.title == title_of(code)
    assert SECRET not in reply.text and "Traceback" not in reply.text
    return found


async def test_a_job_is_made_and_found(api):
    reply = await api.client.post("/answer", json=GOOD)
    assert reply.status_code == 202 and reply.headers["retry-after"] == "1"
    job = reply.json()
    assert reply.headers["location"] == f"/answer/{job['id']}"
    assert (job["status"], job["question"], job["result"]) == ("queued", "What?", None)
    assert (await api.client.get(reply.headers["location"])).json() == job


async def test_texts_never_reach_redis(api):
    await api.client.post("/answer", json={"question": "What?", "documents": [{"text": SECRET}]})
    redis = api.app.state.resources.redis
    for key in await redis.keys("*"):
        assert SECRET not in str(await redis.dump(key) if await redis.type(key) != "hash" else await redis.hgetall(key))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"question": "\xff\xfe"}', "invalid_json"),
        (b'{"question": "\\ud800", "documents": [{"text": "x"}]}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"a":' * 50_000, "invalid_json"),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
        (json.dumps(GOOD | {SECRET: 1}).encode().replace(SECRET.encode(), b"colour"), "invalid_request"),
        (json.dumps(GOOD | {"question": ""}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"question": "a\0b"}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"question": " \u200b\ufeff\u00a0"}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"question": SECRET * 2000}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"documents": []}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"documents": [{"text": "a", "url": SECRET}]}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"documents": [{"document_id": SECRET}]}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"mode": SECRET}).encode(), "invalid_request"),
        (json.dumps(GOOD | {"limits": {"seconds": -1}}).encode(), "invalid_request"),
        (b'{"question": "q", "documents": [{"text": "x"}], "limits": {"seconds": NaN}}', "invalid_request"),
        (b'{"question": "q", "documents": [{"text": "x"}], "limits": {"tokens": 1e999}}', "invalid_request"),
        (json.dumps(GOOD | {"documents": [{"text": " \n"}]}).encode(), "document_empty"),
        (json.dumps(GOOD | {"documents": [{"text": "\u200b\u00ad\n\u2060"}]}).encode(), "document_empty"),
        (json.dumps(GOOD | {"documents": [{"text": "\0\0"}]}).encode(), "document_empty"),
        (
            json.dumps(GOOD | {"documents": [{"text": "x"}, {"document_id": "doc_" + "0" * 64}]}).encode(),
            "document_unknown_id",
        ),
    ],
)
async def test_bodies_that_are_refused(api, body, code):
    reply = await api.client.post("/answer", content=body, headers={"Content-Type": "application/json"})
    found = problem_of(reply, code)
    if code == "invalid_request":
        assert found.errors and all({"loc", "msg", "type"} == set(one) for one in found.errors)
    if code == "document_unknown_id":
        assert found.document == 1


async def test_what_is_not_valid_names_its_document(api):
    text = {"text": "some text"}
    for documents, about in (
        ([text, {"txt": "some text"}], 1),
        ([text, text, text | {"url": "http://example.org/"}], 2),
        ([{}, {}], None),
        ([], None),
    ):
        reply = await api.client.post("/answer", json={"question": "What?", "documents": documents})
        assert problem_of(reply, "invalid_request").document == about
    reply = await api.client.post("/answer", json={"question": "", "documents": [text | {"colour": 1}]})
    assert problem_of(reply, "invalid_request").document is None
    reply = await api.client.post("/answer", json={"question": "What?", "documents": [{}]})
    found = problem_of(reply, "invalid_request")
    assert found.detail == "the request has 1 error"
    assert [error["msg"] for error in found.errors] == ["give exactly one of url, text and document_id"]


async def test_a_url_that_nobody_can_fetch_makes_no_job(api):
    for url, code in (
        ("not a url", "document_invalid"),
        ("http://", "document_invalid"),
        ("http://1.2.3.4.5/a", "document_invalid"),
        ("example.org/a", "document_blocked"),
        ("ftp://example.org/a", "document_blocked"),
        (f"https://user:{SECRET}@example.org/a?token={SECRET}", "document_blocked"),
    ):
        body = {"question": "What?", "documents": [{"text": "some text"}, {"url": url}]}
        found = problem_of(await api.client.post("/answer", json=body), code)
        assert found.document == 1 and found.detail.startswith("documents[1] (")
        assert (await api.client.post("/answer", json=body | {"on_document_error": "skip"})).status_code == 202
    for url in ("s3://bucket/a", "gs://bucket/a", "file:///folder/a", "http://10.0.0.1:9/a"):  # the worker's to say
        body = {"question": "What?", "documents": [{"url": url}]}
        assert (await api.client.post("/answer", json=body)).status_code == 202


async def test_texts_with_strange_characters_are_taken(api):
    body = {"question": "What?", "documents": [{"text": "a\0b \ufeff\u202e\U0001f600"}]}
    assert (await api.client.post("/answer", json=body)).status_code == 202


async def test_a_million_errors_are_told_shortly(api):
    body = json.dumps(GOOD | {f"{SECRET[0]}{n}" * 3: 1 for n in range(5000)}).encode()
    reply = await api.client.post("/answer", content=body, headers={"Content-Type": "application/json"})
    assert len(problem_of(reply, "invalid_request").errors) == 20 and len(reply.content) < 10_000


async def test_large_bodies_are_refused_by_length_and_while_reading(api):
    headers = {"Content-Type": "application/json"}
    body = json.dumps(GOOD | {"documents": [{"text": "x" * 2_000_000}]}).encode()
    problem_of(await api.client.post("/answer", content=body, headers=headers), "request_too_large")

    async def chunked():
        for at in range(0, len(body), 65_536):
            yield body[at : at + 65_536]

    problem_of(await api.client.post("/answer", content=chunked(), headers=headers), "request_too_large")
    inline = json.dumps(GOOD | {"documents": [{"text": "x" * 30_000}, {"text": "y" * 30_000}]}).encode()
    problem_of(await api.client.post("/answer", content=inline, headers=headers), "request_too_large")
    problem_of(await api.client.post("/documents", content=b"x" * 60_000), "request_too_large")

    async def upload():
        for _ in range(60):
            yield b"x" * 1000

    problem_of(await api.client.post("/documents", content=upload()), "request_too_large")


async def test_other_refusals(api):
    problem_of(
        await api.client.post("/answer", content=b"{}", headers={"Content-Type": "text/plain"}),
        "unsupported_media_type",
    )
    problem_of(await api.client.get("/nothing"), "not_found")
    reply = await api.client.put("/answer", json={})
    problem_of(reply, "method_not_allowed")
    assert reply.headers["allow"] == "POST"
    for job in ("job_" + "0" * 32, "x", "%00", "job_" + "0" * 32 + "%7D", "a" * 90):
        for path in ("", "/events", "/steps"):
            problem_of(await api.client.get(f"/answer/{job}{path}"), "job_not_found")
        problem_of(await api.client.delete(f"/answer/{job}"), "job_not_found")
    job = (await api.ask("text"))["id"]
    for path in ("steps?limit=0", "steps?limit=9999", "steps?after=-1", "steps?after=x", "events?starting_after=-1"):
        problem_of(await api.client.get(f"/answer/{job}/{path}"), "invalid_request")
    for value in ("x", "-1", "9" * 30):
        reply = await api.client.get(f"/answer/{job}/events", headers={"Last-Event-ID": value})
        problem_of(reply, "invalid_request")


async def test_a_bug_is_a_problem_with_a_reference(api, monkeypatch, caplog):
    async def broken(*args):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(api.app.state.resources.store, "status", broken)
    reply = await api.client.get("/answer/job_" + "0" * 32)
    found = problem_of(reply, "internal_error")
    assert reply.headers["x-request-id"] in found.detail
    assert (await api.client.get("/livez")).status_code == 200


async def test_idempotency(api):
    headers = {"Idempotency-Key": "k1"}
    first = await api.client.post("/answer", json=GOOD, headers=headers)
    again = await api.client.post("/answer", json=dict(reversed(GOOD.items())), headers=headers)
    assert first.json()["id"] == again.json()["id"]
    problem_of(await api.client.post("/answer", json=GOOD | {"mode": "fold"}, headers=headers), "idempotency_mismatch")
    other = await api.client.post("/answer", json=GOOD, headers={"Idempotency-Key": "k2"})
    assert other.json()["id"] != first.json()["id"]
    long = await api.client.post("/answer", json=GOOD, headers={"Idempotency-Key": "k" * 300})
    problem_of(long, "invalid_request")


async def test_uploads_become_documents(api, start, reader):
    reply = await api.client.post("/documents", content=b"The FACT is here.", params={"title": "Notes"})
    assert reply.status_code == 201
    document = reply.json()
    assert (document["title"], document["characters"], document["bytes"]) == ("Notes", 17, 17)
    assert document["document_id"] == "doc_" + document["sha256"]
    problem_of(await api.client.post("/documents", content=b""), "document_empty")
    problem_of(await api.client.post("/documents", content=b"\x7fELF" + bytes(range(256)) * 8), "document_unsupported")
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    problem_of(await api.client.post("/documents", content=b"--x", headers=form), "unsupported_media_type")
    async with start() as worker:
        body = {"question": "What?", "documents": [{"document_id": document["document_id"], "title": "Mine"}]}
        job = await worker.finished((await worker.client.post("/answer", json=body)).json()["id"])
    assert job["result"]["answer"] == "The FACT is here." and job["result"]["documents"][0]["title"] == "Mine"


async def test_waiting_gives_the_finished_job_or_the_job_so_far(start, api):
    reply = await api.client.post("/answer", json=GOOD, headers={"Prefer": "respond-async, wait=0"})
    assert (reply.status_code, reply.headers["preference-applied"]) == (202, "wait=0")
    reply = await api.client.get(reply.headers["location"], headers={"Prefer": "wait=1"})
    assert (reply.status_code, reply.json()["status"]) == (200, "queued")
    async with start() as service:
        reply = await service.client.post("/answer", json=GOOD, headers={"Prefer": "wait=30"})
    assert (reply.status_code, reply.json()["status"]) == (200, "completed")
    reply = await api.client.get(reply.headers["location"], headers={"Prefer": f"wait={'9' * 400}"})
    assert reply.headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/event-stream;q=0", "application/json"),
        ("application/json, text/event-stream", "application/json"),
        ("text/event-stream;q=0.5, application/json;q=0.9", "application/json"),
        ("Text/Event-Stream; charset=utf-8", "text/event-stream"),
        ("text/event-stream, application/json", "text/event-stream"),
        ("application/json;q=0.2, text/event-stream;q=0.3, */*", "text/event-stream"),
    ],
)
async def test_a_stream_is_what_the_caller_likes_best(api, accept, kind):
    job = (await api.ask("text"))["id"]
    await api.client.delete(f"/answer/{job}")
    reply = await api.client.get(f"/answer/{job}", headers={"Accept": accept})
    assert reply.headers["content-type"].partition(";")[0] == kind


async def test_a_stream_may_be_asked_for_at_once_and_resumed_elsewhere(start):
    headers = {"Accept": "text/event-stream"}
    async with start() as one, start(roles=["api"]) as other:
        reply = await one.client.post("/answer", json=GOOD, headers=headers)
        assert reply.headers["content-type"].startswith("text/event-stream")
        where = reply.headers["location"]
        ids = [line for line in reply.text.splitlines() if line.startswith("id: ")]
        assert ids == [f"id: {n}" for n in range(1, len(ids) + 1)] and reply.text.count("event: completed") == 1
        again = await other.client.get(where, headers=headers | {"Last-Event-ID": "3"})
        assert again.text == reply.text[reply.text.index("id: 4\n") :]


async def test_keys_guard_everything_but_the_probes(start):
    key = "a-key-of-enough-length"
    async with start(roles=["api"], api_keys=[key, "another-key-of-enough-length"]) as service:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": key}, {"Authorization": f"Basic {key}"}):
            for method, path in (
                ("POST", "/answer"),
                ("GET", "/answer/x"),
                ("POST", "/documents"),
                ("DELETE", "/answer/x"),
            ):
                reply = await service.client.request(method, path, headers=wrong)
                problem_of(reply, "unauthorized")
                assert reply.headers["www-authenticate"] == "Bearer"
        one, two = ({"Authorization": f"Bearer {key}"}, {"Authorization": "bearer another-key-of-enough-length"})
        same = {"Idempotency-Key": "same"}
        first = await service.client.post("/answer", json=GOOD, headers=one | same)
        second = await service.client.post("/answer", json=GOOD, headers=two | same)
        assert first.status_code == second.status_code == 202 and first.json()["id"] != second.json()["id"]
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await service.client.get(path)).status_code == 200


async def test_openapi_documents_requests_and_problems(api):
    schema = (await api.client.get("/openapi.json")).json()
    assert "AnswerRequest" in schema["components"]["schemas"] and "Problem" in schema["components"]["schemas"]
    post = schema["paths"]["/answer"]["post"]
    example = post["requestBody"]["content"]["application/json"]["example"]
    assert AnswerRequest.model_validate(example)
    for operations in (schema["paths"]["/answer"], schema["paths"]["/answer/{job}"], schema["paths"]["/documents"]):
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert "application/problem+json" in response["content"], (operation["summary"], status)
    text = json.dumps(schema)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in schema["components"]["schemas"]


def test_every_code_has_a_status_and_a_title():
    for code in Code:
        assert 400 <= status_of(code) < 600 and title_of(code)
    assert status_of("something_new") == 422


async def test_a_caller_that_leaves_in_the_middle_is_no_bug(api, caplog, until):
    head = "POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
    address = api.client.base_url
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(head.encode() + b"some text")
    await writer.drain()

    async def arrived():
        return any((api.app.state.settings.data_dir / "tmp").iterdir())

    async def counted():
        told = (await api.client.get("/metrics")).text
        return any('route="/documents"' in line and 'status="499"' in line for line in told.splitlines())

    await until(arrived)
    writer.close()
    await until(counted)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
