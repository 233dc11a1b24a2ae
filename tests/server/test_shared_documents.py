"""Replicas that share no folder: documents through a bucket, or fetched again; buckets that are away."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longfold_agent.engines.scripted import ScriptedEngine
from longfold_server.ending import end

FACTS = {1: "FACT one is red.", 4: "FACT two is blue.", 8: "FACT three is green."}


@pytest.fixture
def page():
    """A web page that can be changed: `page.text`, `page.url`, `page.asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked += 1
            body = server.text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.text, server.asked, server.url = "", 0, f"http://127.0.0.1:{server.server_port}/page.txt"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def replica(start, tmp_path, page):
    """Starts a service with a folder of its own."""

    def starting(name, engine=None, **fields):
        fetching = {"fetch_allow_networks": ["127.0.0.0/8"], "fetch_ports": [page.server_port]}
        return start(engine, data_dir=tmp_path / name, **({"lease_seconds": 0.6} | fetching | fields))

    return starting


async def ask(service, document):
    reply = await service.client.post(
        "/answer", json={"question": "What is the last fact?", "documents": [document], "mode": "fold"}
    )
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


async def killed_in_the_middle(service, job, until):
    """Reads some chunks, then ends like a power cut."""

    async def reading():
        return (await service.client.get(f"/answer/{job}")).json()["progress"]["chunks_read"] >= 3

    await until(reading)
    await end(*(task for task in service.app.state.resources.tasks if task.get_name() in ("worker", "bell")))


async def steps_of(service, job):
    return (await service.client.get(f"/answer/{job}/steps", params={"limit": 200})).json()["steps"]


@pytest.mark.parametrize("shared", [True, False])
async def test_a_takeover_elsewhere_reads_the_same_page(replica, page, text_with, reader, until, tmp_path, shared):
    page.text = text_with(12, FACTS)
    fields = {"blob_url": f"file://{tmp_path}/bucket"} if shared else {}
    async with replica("one", ScriptedEngine(reader, latency=0.1), **fields) as one:
        job = await ask(one, {"url": page.url})
        await killed_in_the_middle(one, job, until)
        async with replica("two", **fields) as two:
            found = await two.finished(job)
            steps = await steps_of(two, job)
    assert found["result"]["answer"] == "FACT three is green."
    assert found["result"]["citations"][0]["quote"] == "FACT three is green."
    assert max(Counter(step["id"] for step in steps).values()) == 1
    assert page.asked == (1 if shared else 2)


async def test_a_page_that_changed_ends_the_job_and_says_so(replica, page, text_with, reader, until):
    page.text = text_with(12, FACTS)
    async with replica("one", ScriptedEngine(reader, latency=0.1)) as one:
        job = await ask(one, {"url": page.url})
        await killed_in_the_middle(one, job, until)
        page.text = text_with(12, {3: "FACT four is black."})
        async with replica("two") as two:
            found = await two.finished(job)
            steps = await steps_of(two, job)
    assert (found["status"], found["error"]["code"], found["error"]["document"]) == ("failed", "document_changed", 0)
    assert len(steps) >= 3


@pytest.mark.parametrize("shared", [True, False])
async def test_an_upload_is_read_where_it_can_be_reached(replica, text_with, reader, until, tmp_path, shared):
    fields = {"blob_url": f"file://{tmp_path}/bucket"} if shared else {}
    async with replica("one", ScriptedEngine(reader, latency=0.1), **fields) as one:
        reply = await one.client.post("/documents", content=text_with(12, FACTS))
        job = await ask(one, {"document_id": reply.json()["document_id"]})
        await killed_in_the_middle(one, job, until)
        async with replica("two", **fields) as two:
            found = await two.finished(job)
    if shared:
        assert found["result"]["answer"] == "FACT three is green."
    else:
        assert (found["error"]["code"], found["error"]["status"]) == ("document_missing", 410)


def break_bucket(tmp_path):
    """A bucket that refuses everything; gives what mends it."""
    (tmp_path / "bucket").mkdir(exist_ok=True)
    broken = tmp_path / "bucket" / "blobs"
    broken.write_text("not a folder")
    return broken.unlink


async def test_uploads_are_refused_while_the_bucket_is_away(replica, tmp_path):
    mend = break_bucket(tmp_path)
    async with replica("one", blob_url=f"file://{tmp_path}/bucket") as one:
        body = {"question": "What?", "documents": [{"text": "FACT one is red."}]}
        for reply in (await one.client.post("/documents", content="text"), await one.client.post("/answer", json=body)):
            assert (reply.status_code, reply.json()["code"]) == (503, "documents_unavailable")
            assert int(reply.headers["retry-after"]) >= 1
        mend()
        assert (await one.client.post("/documents", content="text")).status_code == 201
        job = (await one.client.post("/answer", json=body)).json()["id"]
        assert (await one.finished(job))["status"] == "completed"


async def test_a_job_waits_for_a_bucket_that_is_away(replica, page, text_with, tmp_path):
    page.text = text_with(3, {1: "FACT one is red."})
    mend = break_bucket(tmp_path)
    async with replica("one", blob_url=f"file://{tmp_path}/bucket") as one:
        job = await ask(one, {"url": page.url})
        await asyncio.sleep(0.7)
        assert (await one.client.get(f"/answer/{job}")).json()["status"] == "in_progress"
        mend()
        found = await one.finished(job)
    assert found["result"]["answer"] == "FACT one is red."


async def test_a_bucket_that_stays_away_fails_the_job(replica, page, text_with, tmp_path):
    page.text = text_with(3, {1: "FACT one is red."})
    break_bucket(tmp_path)
    async with replica("one", blob_url=f"file://{tmp_path}/bucket", engine_patience_seconds=0.5) as one:
        found = await one.finished(await ask(one, {"url": page.url}))
    assert (found["error"]["code"], found["error"]["status"]) == ("documents_unavailable", 503)
