"""Two tenants on one service: nothing of the one can be seen, changed or guessed by the other."""

from __future__ import annotations

import asyncio

import pytest

from longfold_client.types import Problem

NO_JOB = "job_" + "0" * 32
NO_DOCUMENT = "doc_" + "0" * 64
QUESTION = "What is the last fact?"


def told(reply, code):
    """The problem without what differs by address; checks its code."""
    found = Problem.model_validate_json(reply.content)
    assert (reply.status_code, found.code) == (found.status, code), reply.text
    return found.model_dump(exclude={"instance"})


@pytest.fixture
async def service(start):
    async with start(require_keys=True) as service:
        yield service


async def ended(service, job, headers):
    reply = await service.client.get(f"/answer/{job}", headers=headers | {"Prefer": "wait=30"})
    assert reply.json()["status"] in ("completed", "failed", "cancelled"), reply.text
    return reply.json()


async def test_every_route_of_another_tenants_job_is_404(service, make):
    """The routes come from the OpenAPI document, so that a later one is tested too."""
    (one, _), (other, _) = await make(), await make()
    body = {"question": QUESTION, "documents": [{"text": "The FACT is here."}]}
    job = (await service.client.post("/answer", json=body, headers=one)).json()["id"]
    await ended(service, job, one)
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    routes = [(method, path) for path, methods in paths.items() if "{job}" in path for method in methods]
    assert len(routes) >= 4
    for method, path in routes:
        for more in ({}, {"Prefer": "wait=5"}, {"Accept": "text/event-stream"}):
            theirs = await service.client.request(method, path.format(job=job), headers=other | more)
            missing = await service.client.request(method, path.format(job=NO_JOB), headers=other | more)
            assert told(theirs, "job_not_found") == told(missing, "job_not_found")
        assert told(await service.client.request(method, path.format(job=job)), "unauthorized")
    for method, path in routes:
        assert (await service.client.request(method, path.format(job=job), headers=one)).status_code == 200


async def test_nobody_cancels_another_tenants_job(start, make):
    async with start(roles=["api"], require_keys=True) as service:
        (one, _), (other, _) = await make(), await make()
        body = {"question": QUESTION, "documents": [{"text": "text"}]}
        where = (await service.client.post("/answer", json=body, headers=one)).headers["location"]
        told(await service.client.delete(where, headers=other), "job_not_found")
        assert (await service.client.get(where, headers=one)).json()["status"] == "queued"
        assert (await service.client.delete(where, headers=one)).json()["status"] == "cancelled"


async def test_keys_of_one_tenant_share_its_jobs(start, make):
    async with start(roles=["api"], require_keys=True) as service:
        (one, _), (two, _) = await make("team"), await make("team")
        body = {"question": QUESTION, "documents": [{"text": "text"}]}
        same = {"Idempotency-Key": "k"}
        first = await service.client.post("/answer", json=body, headers=one | same)
        again = await service.client.post("/answer", json=body, headers=two | same)
        assert first.json()["id"] == again.json()["id"]
        assert (await service.client.get(first.headers["location"], headers=two)).status_code == 200


async def test_an_idempotency_key_means_nothing_to_another_tenant(start, make):
    async with start(roles=["api"], require_keys=True, api_keys=["a-static-key-of-enough-length"]) as service:
        callers = [(await make())[0], (await make())[0], {"Authorization": "Bearer a-static-key-of-enough-length"}]
        body = {"question": QUESTION, "documents": [{"text": "text"}]}
        made = [
            await service.client.post("/answer", json=body, headers=caller | {"Idempotency-Key": "k"})
            for caller in callers
        ]
        assert len({reply.json()["id"] for reply in made}) == 3
        for caller, reply in zip(callers, made, strict=True):
            seen = [await service.client.get(one.headers["location"], headers=caller) for one in made]
            assert [one.status_code for one in seen] == [200 if one is reply else 404 for one in made]


async def test_an_uploads_id_is_of_use_to_its_tenant_only(service, make, tmp_path):
    (one, _), (other, _) = await make("team-one"), await make("team-other")
    content = b"The FACT is an upload."
    made = (await service.client.post("/documents", content=content, headers=one)).json()["document_id"]
    body = {"question": QUESTION, "documents": [{"text": "mine"}, {"document_id": made}]}
    unknown = {"question": QUESTION, "documents": [{"text": "mine"}, {"document_id": NO_DOCUMENT}]}
    theirs = told(await service.client.post("/answer", json=body, headers=other), "document_unknown_id")
    assert theirs == told(await service.client.post("/answer", json=unknown, headers=other), "document_unknown_id")
    assert theirs["document"] == 1
    assert (await service.client.post("/answer", json=body, headers=(await make("team-one"))[0])).status_code == 202
    again = await service.client.post("/documents", content=content, headers=other)
    assert again.json()["document_id"] == made
    assert (await service.client.post("/answer", json=body, headers=other)).status_code == 202
    stored = [path for path in tmp_path.rglob("*.txt") if path.read_bytes() == content]
    assert len(stored) == 1


async def test_texts_and_fetched_pages_belong_to_who_asked(start, make):
    async def page(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\nConnection: close\r\n\r\nThe FACT is a page.\n\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as site:
        port = site.sockets[0].getsockname()[1]
        networks = {"fetch_allow_networks": ["127.0.0.0/8"], "fetch_ports": [port]}
        async with start(require_keys=True, **networks) as service:
            (one, _), (other, _) = await make(), await make()
            documents = [{"url": f"http://127.0.0.1:{port}/"}, {"text": "The FACT is a text."}]
            body = {"question": QUESTION, "documents": documents}
            job = (await service.client.post("/answer", json=body, headers=one)).json()["id"]
            result = (await ended(service, job, one))["result"]
            assert len(result["documents"]) == 2
            for document in result["documents"]:
                body = {"question": QUESTION, "documents": [{"document_id": document["document_id"]}]}
                told(await service.client.post("/answer", json=body, headers=other), "document_unknown_id")
                assert (await service.client.post("/answer", json=body, headers=one)).status_code == 202


async def test_tenants_share_no_prefix_in_the_engines_cache(start, make, text_with):
    async with start(require_keys=True, cache_salt_secret="s" * 32) as service:
        salts = []
        for headers in ((await make("a"))[0], (await make("b"))[0], (await make("a"))[0]):
            body = {"question": QUESTION, "documents": [{"text": text_with(3, {1: "FACT it is."})}], "mode": "fold"}
            before = service.engine.calls
            job = (await service.client.post("/answer", json=body, headers=headers)).json()["id"]
            assert (await ended(service, job, headers))["status"] == "completed"
            requests = service.engine.requests[before:]
            assert len(requests) >= 4  # decomposition, chunks, the answer
            [salt] = {str(request.sampling.extra["cache_salt"]) for request in requests}
            salts.append(salt)
    assert salts[0] == salts[2] != salts[1] and all(len(salt) == 64 and "a" * 32 not in salt for salt in salts)


async def test_without_keys_there_is_no_salt(start):
    async with start() as service:
        await service.finished((await service.ask("The FACT is here."))["id"])
        assert service.engine.requests
        assert not any("cache_salt" in request.sampling.extra for request in service.engine.requests)


async def test_jobs_made_without_keys_are_nobodys_once_keys_are_required(start, make):
    async with start(roles=["api"]) as free, start(roles=["api"], require_keys=True) as closed:
        job = (await free.ask("text"))["id"]
        headers, _ = await make()
        told(await closed.client.get(f"/answer/{job}", headers=headers), "job_not_found")
        made = await closed.client.post(
            "/answer", json={"question": QUESTION, "documents": [{"text": "text"}]}, headers=headers
        )
        told(await free.client.get(made.headers["location"]), "job_not_found")


async def test_every_route_of_another_tenants_document_is_as_if_there_were_none(service, make):
    (one, _), (other, _) = await make(), await make()
    made = (await service.client.post("/documents", content=b"The FACT is here.", headers=one)).json()["document_id"]
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    routes = [(method, path) for path, methods in paths.items() if "{document}" in path for method in methods]
    assert len(routes) >= 2
    for method, path in routes:
        theirs = await service.client.request(method, path.format(document=made), headers=other)
        missing = await service.client.request(method, path.format(document=NO_DOCUMENT), headers=other)
        assert told(theirs, "document_unknown_id") == told(missing, "document_unknown_id")
        assert told(await service.client.request(method, path.format(document=made)), "unauthorized")
        assert (await service.client.request(method, path.format(document=made), headers=one)).status_code == 200


async def test_every_route_of_another_tenants_upload_is_404(service, make):
    (one, _), (other, _) = await make(), await make()
    tus = {"Tus-Resumable": "1.0.0"}
    part = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    begun = await service.client.post("/uploads", headers=one | tus | {"Upload-Length": "4"})
    upload = begun.headers["location"].rpartition("/")[2]
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    routes = [(method, path) for path, methods in paths.items() if "{upload}" in path for method in methods]
    assert len(routes) >= 4
    for method, path in routes:
        send = {"headers": other | tus | part, "content": b"text"} if method == "patch" else {"headers": other | tus}
        theirs = await service.client.request(method, path.format(upload=upload), **send)
        missing = await service.client.request(method, path.format(upload="0" * 32), **send)
        assert theirs.status_code == missing.status_code == 404
        assert theirs.text == missing.text.replace("0" * 32, upload)
    whole = await service.client.patch(f"/uploads/{upload}", headers=one | tus | part, content=b"text")
    assert whole.status_code == 204  # untouched by the others
    assert (await service.client.post(f"/uploads/{upload}/document", headers=one | tus)).status_code == 201


async def test_a_text_that_another_tenant_brought_is_told_as_ones_own(service, make):
    (one, _), (other, _) = await make(), await make()
    ids = []
    for title, headers in (("Mine", one), ("Yours", other)):
        reply = await service.client.post(f"/documents?title={title}", content=b"The same text.", headers=headers)
        ids.append(reply.json()["document_id"])
    assert ids[0] == ids[1]
    for title, headers in (("Mine", one), ("Yours", other)):
        found = (await service.client.get(f"/documents/{ids[0]}", headers=headers)).json()
        assert found["document"]["title"] == title
