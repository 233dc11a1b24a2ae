"""Documents over HTTP: resumable uploads, fetching, previews, texts, and what becomes of what nobody uses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from longfold_client import AsyncClient, Retry
from longfold_client import plans as client_plans
from longfold_client.types import DocumentPreview
from longfold_server import previews
from longfold_server.resources import make_expiry

TUS = {"Tus-Resumable": "1.0.0"}
PART = TUS | {"Content-Type": "application/offset+octet-stream"}
TEXT = "The harbour was dug in 1871 by two hundred men.\n" * 40


@pytest.fixture
def site():
    """A web server: `site.pages[path] = text`; it knows entity tags, and asks for a key below /private."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.path, dict(self.headers)))
            page = server.pages.get(self.path)
            body = (page or "").encode()
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            status = 404 if page is None else 200
            if self.path.startswith("/private") and self.headers.get("Authorization") != "Bearer hunter2-secret":
                status = 401
            if status == 200 and self.headers.get("If-None-Match") == etag:
                status = 304
            body = body if status == 200 else b""
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.pages, server.asked = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetching(site):
    return {"fetch_allow_networks": ["127.0.0.0/8"], "fetch_ports": [site.server_port]}


def metadata(**fields):
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())


async def begin(service, length, **headers):
    reply = await service.client.post("/uploads", headers=TUS | {"Upload-Length": str(length)} | headers)
    assert reply.status_code == 201, reply.text
    return reply.headers["location"]


async def test_a_file_in_parts_becomes_a_document(start):
    body = TEXT.encode()
    async with start() as service:
        told = (await service.client.options("/uploads")).headers
        assert told["tus-version"] == "1.0.0" and "creation" in told["tus-extension"]
        named = {"Upload-Metadata": metadata(filename="härbour.txt", filetype="text/plain")}
        where = await begin(service, len(body), **named)
        for start_at in (0, 1_000):
            part = body[start_at : start_at + 1_000] if not start_at else body[start_at:]
            reply = await service.client.patch(where, headers=PART | {"Upload-Offset": str(start_at)}, content=part)
            assert (reply.status_code, reply.headers["upload-offset"]) == (204, str(start_at + len(part)))
            if not start_at:
                early = await service.client.post(f"{where}/document", headers=TUS)
                assert early.json()["code"] == "upload_incomplete"
        reply = await service.client.head(where, headers=TUS)
        assert (reply.headers["upload-offset"], reply.headers["upload-length"]) == (str(len(body)),) * 2
        assert reply.headers["cache-control"] == "no-store" and "GMT" in reply.headers["upload-expires"]
        made = (await service.client.post(f"{where}/document", headers=TUS)).json()
        again = (await service.client.post(f"{where}/document", headers=TUS)).json()
        whole = (await service.client.post("/documents", content=body, headers={"Content-Type": "text/plain"})).json()
        assert made == again and made["document_id"] == whole["document_id"] and made["title"] == "härbour.txt"
        assert (await service.client.delete(where, headers=TUS)).status_code == 204
        assert (await service.client.head(where, headers=TUS)).status_code == 404


async def test_who_asks_twice_at_once_gets_one_document(start, monkeypatch):
    async with start(roles=["api"]) as service:
        where = await begin(service, len(TEXT.encode()))
        await service.client.patch(where, headers=PART | {"Upload-Offset": "0"}, content=TEXT.encode())
        uploads, first = service.app.state.resources.uploads, []
        content = uploads.content

        async def overtaken(*upload):
            monkeypatch.setattr(uploads, "content", content)
            first.append((await service.client.post(f"{where}/document", headers=TUS)).json())
            async for piece in content(*upload):
                yield piece

        monkeypatch.setattr(uploads, "content", overtaken)
        second = await service.client.post(f"{where}/document", headers=TUS)
        assert second.status_code == 201 and [second.json()] == first


@pytest.mark.parametrize(
    ("method", "headers", "status", "code"),
    [
        ("POST", {"Upload-Length": "5"}, 412, "tus_version"),
        ("POST", TUS, 422, "invalid_request"),
        ("POST", TUS | {"Upload-Length": "-1"}, 422, "invalid_request"),
        ("POST", TUS | {"Upload-Length": "1001"}, 413, "request_too_large"),
        ("POST", TUS | {"Upload-Length": "5", "Upload-Metadata": "filename %%%"}, 422, "invalid_request"),
        ("PATCH", PART, 422, "invalid_request"),
        ("PATCH", TUS | {"Upload-Offset": "0"}, 415, "unsupported_media_type"),
        ("PATCH", PART | {"Upload-Offset": "3"}, 409, "upload_conflict"),
    ],
)
async def test_wrong_requests_have_their_codes(start, method, headers, status, code):
    async with start(upload_max_bytes=1_000) as service:
        where = "/uploads" if method == "POST" else await begin(service, 5)
        reply = await service.client.request(
            method, where, headers=headers, content=b"ab" if method == "PATCH" else None
        )
        assert (reply.status_code, reply.json()["code"]) == (status, code)
        assert reply.headers.get_list("tus-resumable") == ["1.0.0"]


class Cutting(httpx.AsyncBaseTransport):
    """A network that loses a request to /uploads on its way, or its reply, every second time."""

    def __init__(self):
        self._inner, self.asked = httpx.AsyncHTTPTransport(), []

    async def handle_async_request(self, request):
        self.asked.append((request.method, request.url.path))
        turn = len(self.asked) % 4
        if "/uploads/" in request.url.path and turn == 1:
            raise httpx.WriteError("cut on the way there")
        reply = await self._inner.handle_async_request(request)
        if "/uploads/" in request.url.path and turn == 3:
            await reply.aclose()
            raise httpx.ReadError("cut on the way back")
        return reply

    async def aclose(self):
        await self._inner.aclose()


async def test_the_sdk_sends_large_files_in_parts_over_a_bad_network(start, tmp_path, monkeypatch):
    monkeypatch.setattr(client_plans, "IN_PARTS", 10_000)
    monkeypatch.setattr(client_plans, "PART", 9_000)
    path = tmp_path / "big.txt"
    path.write_text("".join(f"line {number} of the file\n" for number in range(4_000)))
    network = Cutting()
    async with start() as service:
        retry = Retry(first=0.01, longest=0.02, attempts=8)
        async with AsyncClient(str(service.client.base_url), retry=retry, transport=network) as client:
            info = await client.upload(path)
            assert (info.title, info.bytes) == ("big.txt", path.stat().st_size)
            assert (await client.text(info, info.characters - 22)).text.endswith("line 3999 of the file\n")
            with path.open("rb") as file:
                file.seek(5)
                rest = await client.upload(file)
            assert rest.bytes == info.bytes - 5
    assert tuple(sorted({method for method, _ in network.asked} - {"POST", "GET"})) == ("HEAD", "PATCH")
    assert ("POST", "/documents") not in network.asked


async def test_a_preview_tells_what_a_job_would_read(start, tmp_path):
    page = "<html><head><title>Harbours</title></head><body>" + "".join(
        f"<h2 id=part{n}>Part {n}</h2><p>The harbour number {n} was dug by two hundred men with spades.</p>"
        for n in range(60)
    )
    (tmp_path / "page.html").write_text(page)
    async with start() as service, AsyncClient(str(service.client.base_url)) as client:
        found = await client.inspect(tmp_path / "page.html", chunk_tokens=100)
        assert isinstance(found, DocumentPreview)
        document = found.document
        assert (document.media_type, document.encoding, document.title) == ("text/html", "utf-8", "page.html")
        text = await client.text(document)
        assert found.tokens == len(text.text.split()) and text.end == document.characters
        assert found.chunk_tokens == 100 and found.tokens / 100 <= found.chunks <= found.tokens / 80
        assert found.marks["heading"] == 60 and found.outline[3].value == "Part 3"
        assert text.text[found.outline[3].start :].lstrip("# ").startswith("Part 3")
        assert len(found.samples) == 5
        for sample in found.samples:
            assert text.text[sample.start : sample.end] == sample.text and "Part" in sample.locator
        again = await client.inspect(document)  # by its id, with the profile's own chunks
        assert (again.chunk_tokens, again.tokens, again.document) == (40, found.tokens, document)
        short = await client.inspect({"text": "Short."})
        assert (short.tokens, short.chunks, short.samples, short.marks) == (1, 1, [], {})


async def test_a_very_long_text_is_counted_in_part(start, monkeypatch):
    monkeypatch.setattr(previews, "COUNTED", 5_000)
    async with start() as service, AsyncClient(str(service.client.base_url)) as client:
        found = await client.inspect({"text": TEXT * 20})
        assert found.estimated and abs(found.tokens - len((TEXT * 20).split())) < 50
        assert abs(found.chunks - found.tokens / 40) < 0.15 * found.tokens / 40
        found = await client.inspect({"text": TEXT})
        assert not found.estimated and found.tokens == len(TEXT.split())


async def test_texts_end_where_the_document_ends(start):
    async with start() as service:
        made = (await service.client.post("/documents", content="äöü 🙂 text".encode())).json()
        where = f"/documents/{made['document_id']}/text"
        for query, text in (("", "äöü 🙂 text"), ("?start=4&end=5", "🙂"), ("?start=9&end=99", "t"), ("?start=99", "")):
            found = (await service.client.get(where + query)).json()
            assert (found["text"], found["end"] - found["start"]) == (text, len(text))
        assert (await service.client.get(where + "?start=5&end=4")).json()["code"] == "invalid_request"
        assert (await service.client.get(f"/documents/doc_{'0' * 64}/text")).json()["code"] == "document_unknown_id"
        assert (await service.client.get("/documents/doc_1")).json()["code"] == "invalid_request"


async def test_a_text_of_a_request_is_a_document_too(start):
    async with start() as service, AsyncClient(str(service.client.base_url)) as client:
        job = await service.finished((await service.ask("The first line of this text.\nThe FACT one is red."))["id"])
        [document] = job["result"]["documents"]
        assert document["title"] == "The first line of this text."
        found = await client.inspect(document["document_id"])
        assert (found.document.title, found.samples[0].locator) == ("The first line of this text.", "line 1")


async def test_a_fetched_document_is_asked_for_again_and_sent_only_when_it_changed(start, site):
    site.pages["/a.txt"] = TEXT
    contact = "https://example.org/bots"
    async with (
        start(**fetching(site), fetch_contact=contact) as service,
        AsyncClient(str(service.client.base_url)) as client,
    ):
        first = await client.fetch(f"{site.url}/a.txt")
        again = await client.fetch(f"{site.url}/a.txt", title="Mine")
        assert again == first.model_copy(update={"title": "Mine"})
        assert "If-None-Match" in site.asked[1][1]
        agent = site.asked[0][1]["User-Agent"]
        assert re.fullmatch(r"longfold/[\d.]+ \(document fetcher; \+https://example\.org/bots\)", agent)
        site.pages["/a.txt"] = "Another text."
        changed = await client.fetch(f"{site.url}/a.txt")
        assert changed.document_id != first.document_id
        preview = await client.inspect(f"{site.url}/a.txt")
        assert preview.document.url == f"{site.url}/a.txt"
        job = await client.submit("What?", changed.document_id)  # by its id it is cited under its URL, too
        found = await client.wait(job, 30)
        assert found.result is not None
        assert (found.result.documents[0].url, found.result.documents[0].title) == (changed.url, changed.title)


async def test_credentials_reach_their_origin_and_stay_nowhere(start, site, redis, tmp_path, caplog):
    site.pages["/private/a.txt"] = "FACT one is red. And so on, for a while."
    credentials = {site.url: {"Authorization": "Bearer hunter2-secret"}}
    caplog.set_level("DEBUG")
    async with start(**fetching(site)) as service, AsyncClient(str(service.client.base_url)) as client:
        job = await client.submit("What is the last fact?", f"{site.url}/private/a.txt", credentials=credentials)
        found = await client.wait(job, 30)
        assert found.result is not None and found.result.answer == "FACT one is red."
        assert (await client.fetch(f"{site.url}/private/a.txt", credentials=credentials)).bytes > 0
        denied = await client.wait(await client.submit("What?", f"{site.url}/private/a.txt"), 30)
        assert denied.error is not None and denied.error.code == "document_http_error"
        wrong = {"question": "What?", "documents": [{"text": "x"}]}
        for headers in ({"Host": "hunter2-secret"}, {"Authorization": "hunter2-secret\n"}):
            body = wrong | {"credentials": [{"origin": site.url, "headers": headers}]}
            reply = await service.client.post("/answer", json=body)
            assert reply.status_code == 422 and "hunter2" not in reply.text
        for page in (f"/answer/{job.id}", f"/answer/{job.id}/steps"):
            assert "hunter2" not in (await service.client.get(page)).text
    for name in await redis.keys("*"):
        kind = await redis.type(name)
        held = await (redis.hgetall(name) if kind in ("hash", b"hash") else redis.dump(name))
        assert "hunter2" not in repr(held)
    files = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(b"hunter2" in held for held in files)
    assert "hunter2" not in caplog.text


async def test_files_are_read_below_the_operators_folder_only(start, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "a.txt").write_text("The FACT one is red.")
    (tmp_path / "b.txt").write_text("secret")
    async with start(fetch_file_root=tmp_path / "shared") as service:
        async with AsyncClient(str(service.client.base_url)) as client:
            assert (await client.fetch(f"file://{tmp_path}/shared/a.txt")).title == "a.txt"
        reply = await service.client.post("/documents/fetch", json={"url": f"file://{tmp_path}/b.txt"})
        assert reply.json()["code"] == "document_blocked" and "secret" not in reply.text


async def test_what_nobody_uses_is_removed_and_what_a_job_reads_stays(start, tmp_path):
    async with start(document_retention_seconds=2) as service:
        held = service.app.state.resources
        expiry = make_expiry(held)
        ids = [
            (await service.client.post("/documents", content=f"text number {n}".encode())).json()["document_id"]
            for n in range(2)
        ]
        texts = list((tmp_path / "data" / "blobs").glob("*/*.txt"))
        assert len(texts) == 2
        for path in texts:
            os.utime(path.with_suffix(".json"), (time.time() - 60,) * 2)
        assert await expiry.remove() == (0, 0)  # both were used just now
        await asyncio.sleep(1.2)
        await held.tenancy.owners.use(ids[1])
        await asyncio.sleep(1.2)
        assert await expiry.remove() == (1, 0)
        assert (await service.client.get(f"/documents/{ids[0]}")).json()["code"] == "document_unknown_id"
        assert (await service.client.get(f"/documents/{ids[1]}")).status_code == 200
        again = await service.client.post("/documents", content=b"text number 0")
        assert again.json()["document_id"] == ids[0]
        assert (await service.client.get(f"/documents/{ids[0]}")).status_code == 200
