"""Many documents in one job: fetched ahead while earlier ones are read, in their order, failing or skipped, told in
the manifest; of all formats, with citations that open at the place."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pypdfium2
import pytest
from samples import docx, packed, pdf

from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_server.ending import end


class Web(ThreadingHTTPServer):
    """Pages by path; one whose gate is closed is held back until `open`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.gates: dict[str, threading.Event] = {}
        self.asked: list[str] = []

    def page(self, path: str, text: str | bytes, content_type: str = "text/plain", *, closed: bool = False) -> str:
        self.pages[path] = (content_type, text.encode() if isinstance(text, str) else text)
        gate = self.gates[path] = threading.Event()
        if not closed:
            gate.set()
        return f"http://127.0.0.1:{self.server_port}{path}"

    def open(self, path: str) -> None:
        self.gates[path].set()


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.server.pages.get(self.path)
        if found is None:
            return self.send_error(404)
        self.server.gates[self.path].wait(30)
        self.send_response(200)
        self.send_header("Content-Type", found[0])
        self.send_header("Content-Length", str(len(found[1])))
        self.end_headers()
        self.wfile.write(found[1])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web():
    server = Web()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    for gate in server.gates.values():
        gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def serve(start, web):
    """Starts a service that may fetch from this machine."""

    def starting(engine=None, **fields):
        return start(engine, **({"fetch_allow_networks": ["127.0.0.0/8"], "fetch_ports": [web.server_port]} | fields))

    return starting


async def ask(service, documents, **fields):
    body = {"question": "What is the last fact?", "documents": documents, **fields}
    reply = await service.client.post("/answer", json=body)
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


async def chunks_read(service, job):
    return (await service.client.get(f"/answer/{job}")).json()["progress"]["chunks_read"]


async def events_of(service, job, kind):
    return [json.loads(fields["data"])["data"] for name, fields in await service.events(job) if name == kind]


@pytest.mark.parametrize("speculation", [0, 3])
async def test_the_first_document_is_read_while_the_second_is_fetched(serve, web, text_with, until, speculation):
    first = web.page("/1", text_with(5, {1: "FACT one is red."}))
    second = web.page("/2", text_with(3, {1: "FACT two is blue."}), closed=True)
    async with serve(speculation=speculation) as service:
        job = await ask(service, [{"url": first}, {"url": second}], mode="fold")

        async def reading():
            return await chunks_read(service, job) >= 5

        await until(reading)
        progress = (await service.client.get(f"/answer/{job}")).json()["progress"]
        assert 0.3 < progress["read_fraction"] < 0.6  # the one to come is taken to be as long
        assert sorted(web.asked) == ["/1", "/2"]  # asked for side by side
        web.open("/2")
        found = await service.finished(job)
        came = await events_of(service, job, "ingested")
    result = found["result"]
    assert result["answer"] == "FACT two is blue." and result["read_fraction"] == 1.0
    assert [citation["document"] for citation in result["citations"]] == [1]
    assert [[document["document"] for document in one["documents"]] for one in came] == [[0], [1]]
    assert [one["missing"] for one in came] == [1, 0]
    assert [entry["status"] for entry in result["manifest"]] == ["read", "read"]
    assert [document["url"] for document in result["documents"]] == [first, second]


async def test_documents_keep_their_order_however_they_come(serve, web, text_with, until):
    urls = [web.page(f"/{n}", text_with(2, {0: f"FACT {n} is it."}), closed=n == 0) for n in range(6)]
    async with serve() as service:
        job = await ask(service, [{"url": url} for url in urls], mode="fold")

        async def others_asked():
            return len(web.asked) >= 4

        await until(others_asked)
        web.open("/0")
        found = await service.finished(job)
        steps = (await service.client.get(f"/answer/{job}/steps", params={"limit": 200})).json()["steps"]
    assert found["result"]["memory"].splitlines() == [f"FACT {n} is it." for n in range(6)]
    documents = [step["document"] for step in steps]
    assert documents == sorted(documents) and set(documents) == set(range(6))


async def test_a_stored_document_is_read_whatever_keeps_the_ones_behind_it(serve, web, text_with, until):
    urls = [web.page(f"/{n}", f"FACT {n} is it.", closed=True) for n in range(5)]
    async with serve() as service:
        reply = await service.client.post("/documents", content=text_with(3, {1: "FACT one is red."}))
        document = {"document_id": reply.json()["document_id"]}
        job = await ask(service, [document, *({"url": url} for url in urls), document], mode="fold")

        async def reading():
            return await chunks_read(service, job) >= 3

        await until(reading)
        assert sorted(web.asked) == ["/0", "/1", "/2", "/3"]
        for n in range(5):
            web.open(f"/{n}")
        found = await service.finished(job)
    assert [entry["status"] for entry in found["result"]["manifest"]] == ["read"] * 7


async def test_a_long_beginning_is_routed_before_the_rest_has_come(serve, web, text_with, reader, until):
    first = web.page("/1", text_with(60, {1: "FACT one is red."}))
    second = web.page("/2", "FACT two is blue.", closed=True)
    async with serve(ScriptedEngine(reader, window=6000)) as service:
        job = await ask(service, [{"url": first}, {"url": second}])

        async def reading():
            return await chunks_read(service, job) >= 1

        await until(reading)
        web.open("/2")
        found = await service.finished(job)
    assert found["result"]["route"]["mode"] == "fold" and "at least" in found["result"]["route"]["reason"]
    assert found["result"]["answer"] == "FACT two is blue."


async def test_a_single_pass_waits_for_all_documents(serve, web, until):
    first = web.page("/1", "FACT one is red.")
    second = web.page("/2", "FACT two is blue.", closed=True)
    async with serve() as service:
        job = await ask(service, [{"url": first}, {"url": second}])

        async def understanding():
            return "/2" in web.asked and service.engine.calls >= 1

        await until(understanding)
        web.open("/2")
        found = await service.finished(job)
        kinds = [kind for kind, _ in await service.events(job)]
    assert found["result"]["route"]["mode"] == "direct" and found["result"]["answer"] == "FACT two is blue."
    assert kinds.count("ingested") == 2 and kinds.count("routed") == 1


async def test_a_document_that_fails_later_ends_the_job(serve, web, text_with, until):
    first = web.page("/1", text_with(5, {1: "FACT one is red."}))
    second = web.page("/2", random_bytes(), closed=True)
    async with serve() as service:
        job = await ask(service, [{"url": first}, {"url": second}], mode="fold")

        async def reading():
            return await chunks_read(service, job) >= 2

        await until(reading)
        web.open("/2")
        found = await service.finished(job)
    assert found["status"] == "failed"
    assert (found["error"]["code"], found["error"]["document"]) == ("document_unsupported", 1)


def random_bytes() -> bytes:
    return bytes(range(256)) * 40


@pytest.mark.parametrize("mode", ["fold", "direct"])
async def test_documents_that_cannot_be_read_are_skipped_and_told(serve, web, text_with, mode):
    gone = web.page("/x", "").replace("/x", "/gone")
    good = web.page("/1", text_with(3, {1: "FACT one is red."}))
    binary = web.page("/2", random_bytes())
    async with serve() as service:
        documents = [{"url": gone + "?token=secret"}, {"url": good}, {"url": binary, "title": "A picture"}]
        job = await ask(service, documents, mode=mode, on_document_error="skip")
        found = await service.finished(job)
        came = await events_of(service, job, "ingested")
    result = found["result"]
    assert result["answer"] == "FACT one is red."
    assert [citation["document"] for citation in result["citations"]] == [1]
    assert result["citations"][0]["url"] == good
    manifest = result["manifest"]
    assert [(entry["document"], entry["status"]) for entry in manifest] == [(0, "skipped"), (1, "read"), (2, "skipped")]
    assert [entry["error"] and entry["error"]["code"] for entry in manifest] == [
        "document_not_found",
        None,
        "document_unsupported",
    ]
    assert manifest[2]["title"] == "A picture" and manifest[1]["characters_read"] == manifest[1]["characters"] > 0
    assert "secret" not in manifest[0]["error"]["detail"]
    assert [document["url"] for document in result["documents"]] == [good]
    assert sorted(problem["document"] for one in came for problem in one["skipped"]) == [0, 2]


async def test_a_job_none_of_whose_documents_can_be_read_fails(serve, web):
    binary = web.page("/1", random_bytes())
    async with serve() as service:
        job = await ask(service, [{"url": binary}, {"url": binary + "/gone"}], on_document_error="skip")
        found = await service.finished(job)
        assert service.engine.calls <= 1  # the question is split while the second one may still be coming
    assert found["status"] == "failed"
    assert (found["error"]["code"], found["error"]["document"]) == ("document_unsupported", 0)
    assert found["error"]["detail"].startswith("no document can be read; ")


async def test_the_deadline_cuts_the_wait_for_a_document(serve, web, text_with):
    first = web.page("/1", text_with(3, {1: "FACT one is red."}))
    second = web.page("/2", "FACT two is blue.", closed=True)
    async with serve() as service:
        job = await ask(service, [{"url": first}, {"url": second}], mode="fold", limits={"seconds": 2.0})
        found = await service.finished(job)
    result = found["result"]
    assert (result["partial"], result["stop"], result["answer"]) == (True, "deadline", "FACT one is red.")
    assert [entry["status"] for entry in result["manifest"]] == ["read", "not_read"]
    assert result["manifest"][1]["url"] == second and 0 < result["read_fraction"] < 1


async def test_a_deadline_before_any_document_has_come_fails(serve, web):
    url = web.page("/1", "FACT one is red.", closed=True)
    async with serve() as service:
        found = await service.finished(await ask(service, [{"url": url}], limits={"seconds": 0.5}))
    assert found["error"]["code"] == "deadline_exceeded"


async def test_a_worker_that_takes_over_fetches_what_had_not_come(serve, web, text_with, reader, until):
    first = web.page("/1", text_with(4, {1: "FACT one is red."}))
    second = web.page("/2", text_with(4, {1: "FACT two is blue."}), closed=True)
    gone = web.page("/x", "").replace("/x", "/gone")
    documents = [{"url": first}, {"url": gone}, {"url": second}]
    async with serve(ScriptedEngine(reader), lease_seconds=0.6) as one:
        job = await ask(one, documents, mode="fold", on_document_error="skip")

        async def reading():
            return await chunks_read(one, job) >= 3

        await until(reading)
        await end(*(task for task in one.app.state.resources.tasks if task.get_name() in ("worker", "bell")))
        web.open("/2")
        async with serve(ScriptedEngine(reader), lease_seconds=0.6) as two:
            found = await two.finished(job)
            steps = (await two.client.get(f"/answer/{job}/steps", params={"limit": 200})).json()["steps"]
    result = found["result"]
    assert result["memory"].splitlines() == ["FACT one is red.", "FACT two is blue."]
    assert [entry["status"] for entry in result["manifest"]] == ["read", "skipped", "read"]
    assert web.asked.count("/1") == 1 and web.asked.count("/gone") == 1
    assert [step["id"] for step in steps] == [f"read/{n}" for n in range(len(steps))]


async def test_a_cancelled_job_stops_fetching(serve, web, until):
    url = web.page("/1", "FACT one is red.", closed=True)
    async with serve() as service:
        job = await ask(service, [{"url": url}])

        async def fetching():
            return web.asked == ["/1"]

        await until(fetching)
        await service.client.delete(f"/answer/{job}")
        found = await asyncio.wait_for(service.finished(job), 10)
    assert found["status"] == "cancelled"


PAGE = """<html><body><h2 id='before'>Before</h2><p>Nothing.</p><h2 id='colours'>Colours</h2>
<p>After that, FACT of the house is green since 1871.</p></body></html>"""
SOURCE = "def build():\n    # Nothing.\n    # FACT of the roof is yellow since 1850.\n    return 1\n"


async def test_a_mixed_set_is_answered_with_citations_that_open_at_the_place(serve, web, reader):
    def telling_all(request):
        text = prompt_text(request.prompt)
        if "was kept in the memory below" not in text:
            return reader(request)
        [memory] = re.findall(r"<memory>\n(.*?)\n</memory>", text, re.DOTALL)
        return " ".join(memory.splitlines())

    book = pdf("Nothing.", "Nothing here.", "FACT of the bridge is red since 1920.", None)
    sources = packed({"src/empty.py": "", "src/build.py": SOURCE, "logo.png": b"\x89PNG\r\n\x1a\n\0\0"})
    page_url, book_url = web.page("/page.html", PAGE, "text/html"), web.page("/book", book, "application/octet-stream")
    async with serve(ScriptedEngine(telling_all)) as service:
        uploads = []
        for name, data in (
            ("report.docx", docx("Nothing.", "FACT of the door is blue since 1999.")),
            ("a.zip", sources),
        ):
            reply = await service.client.post("/documents", content=data, params={"title": name})
            assert reply.status_code == 201, reply.text
            uploads.append(reply.json())
        documents = [
            {"url": book_url},
            {"document_id": uploads[0]["document_id"], "title": "The report"},
            {"url": page_url + "#top"},
            {"document_id": uploads[1]["document_id"]},
        ]
        found = await service.finished(await ask(service, documents, mode="fold"))
    assert uploads[1]["skipped"] == [
        {"path": "logo.png", "reason": "binary", "message": "it is a PNG image (not supported)"}
    ]
    result = found["result"]
    cited = {citation["document"]: citation for citation in result["citations"]}
    assert sorted(cited) == [0, 1, 2, 3]

    assert (cited[0]["locator"], cited[0]["link"]) == ("p. 3", f"{book_url}#page=3")
    opened = pypdfium2.PdfDocument(book)
    assert cited[0]["quote"] in opened[int(cited[0]["link"].rpartition("=")[2]) - 1].get_textpage().get_text_range()
    opened.close()

    assert (cited[1]["locator"], cited[1]["link"], cited[1]["title"]) == ('section "Setup"', None, "The report")

    assert cited[2]["locator"] == 'section "Colours"'
    start, _, directive = cited[2]["link"].partition(":~:text=")
    assert start == f"{page_url}#colours" and "<h2 id='colours'>" in PAGE
    assert unquote(directive) == cited[2]["quote"] and unquote(directive) in PAGE

    path, _, line = cited[3]["locator"].partition(":")
    with zipfile.ZipFile(io.BytesIO(sources)) as archive:
        assert cited[3]["quote"] in archive.read(path).decode().splitlines()[int(line) - 1]
    assert (path, line, cited[3]["link"]) == ("src/build.py", "3", None)

    skipped = [
        (entry["document"], part["path"], part["reason"]) for entry in result["manifest"] for part in entry["skipped"]
    ]
    assert skipped == [(0, "page 4", "scanned_page"), (3, "logo.png", "binary")]
