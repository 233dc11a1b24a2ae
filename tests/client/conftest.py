"""A small real HTTP server, scripted to misbehave, and both clients behind one blocking face."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from longfold_client import AsyncClient, Client, Retry

AT = "2026-01-02T03:04:05Z"
QUICK = Retry(attempts=4, reconnects=6, first=0.01, longest=0.02)


class Break(Exception):
    """Ends a reply in the middle: the server drops the connection."""


def result_fields(answer: str = "Paris") -> dict[str, Any]:
    return {
        "answer": answer,
        "citations": [
            {
                "document": 0,
                "document_id": "doc_" + "0" * 64,
                "title": "A page",
                "url": "https://example.com/a",
                "start": 10,
                "end": 24,
                "locator": "characters 10-24",
                "quote": "Paris it is.",
                "chunk": 1,
            }
        ],
        "memory": "Paris",
        "route": {"mode": "fold", "reason": "too long for one pass", "window": 4096},
        "model": {"name": "tiny", "profile": "demo", "notice": "A demonstration model."},
        "usage": {"prompt_tokens": 1000, "completion_tokens": 34, "calls": 5},
        "timings": {"total": 3.5},
        "new_field_of_a_later_server": {"x": 1},
    }


class Service:
    """A longfold server with one job at a time, driven by scripts.

    `scripts["POST /answer"]` etc.: replies used up before the normal one; `streams`: one list of actions per connection
    to the events, each an int (that event), bytes (sent as they are), or a callable (awaited if it gives a coroutine).
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.scripts: dict[str, deque[Callable[[], Response] | None]] = {}
        self.streams: deque[list[Any]] = deque()
        self.jobs: dict[str, str] = {}
        self.status = "in_progress"
        self.error: dict[str, Any] | None = None
        self.events = [self.event(n, "step") for n in range(1, 6)] + [{"seq": 6, "type": "completed"}]
        self.event_fields: dict[int, dict[str, Any]] = {}
        self.finish_with_stream = True
        self.polls_until_done: int | None = None
        self.step_pages = 3
        self.cancelled: list[str] = []
        self.url = ""

    @staticmethod
    def event(seq: int, kind: str) -> dict[str, Any]:
        progress = {
            "chunks_read": seq,
            "chunks_total": 5,
            "tokens_read": seq * 100,
            "read_fraction": seq / 5,
            "plan": f"look for {seq}",
            "elapsed_seconds": float(seq),
            "eta_seconds": 5.0 - seq,
        }
        memory = "\n".join(f"fact {n}" for n in range(seq))
        diff = {"added": [f"fact {seq - 1}"], "removed": []}
        return {
            "seq": seq,
            "type": kind,
            "data": {"progress": progress, "memory": memory, "diff": diff, "update": "rewrite"},
        }

    def job(self, job_id: str = "job_1") -> dict[str, Any]:
        fields: dict[str, Any] = {"id": job_id, "status": self.status, "question": "Where?", "created_at": AT}
        if self.status == "completed":
            fields["result"] = result_fields()
        if self.status == "failed":
            fields["error"] = self.error
        return fields

    def script(self, route: str, *replies: Callable[[], Response] | None) -> None:
        self.scripts.setdefault(route, deque()).extend(replies)

    def paths(self, method: str, suffix: str) -> list[tuple[str, str, dict[str, str], bytes]]:
        return [entry for entry in self.seen if entry[0] == method and entry[1].split("?")[0].endswith(suffix)]

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/answer", self._post, methods=["POST"]),
                Route("/answer/{id}", self._get, methods=["GET"]),
                Route("/answer/{id}", self._delete, methods=["DELETE"]),
                Route("/answer/{id}/events", self._events),
                Route("/answer/{id}/steps", self._steps),
                Route("/uploads", self._uploads, methods=["POST"]),
                Route("/uploads/{id}", self._uploads, methods=["PATCH", "HEAD"]),
                Route("/documents", self._documents, methods=["POST"]),
                Route("/documents/fetch", self._fetch, methods=["POST"]),
                Route("/documents/{id}", self._preview),
                Route("/documents/{id}/text", self._text),
            ]
        )

    async def _scripted(self, request: Request, route: str) -> Response | None:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.seen.append((request.method, path, dict(request.headers), await request.body()))
        replies = self.scripts.get(route)
        reply = replies.popleft() if replies else None
        return reply() if reply is not None else None

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        key = request.headers["idempotency-key"]
        scripted = await self._scripted(request, "POST /answer")
        if scripted is not None and scripted.status_code >= 400:
            return scripted
        fingerprint = hashlib.sha256(body).hexdigest()
        assert self.jobs.setdefault(key, fingerprint) == fingerprint
        return scripted or JSONResponse(self.job(), status_code=202)

    async def _get(self, request: Request) -> Response:
        scripted = await self._scripted(request, "GET /answer/{id}")
        if scripted is not None:
            return scripted
        if self.polls_until_done is not None:
            self.polls_until_done -= 1
            if self.polls_until_done <= 0:
                self.status = "completed"
        return JSONResponse(self.job(request.path_params["id"]))

    async def _delete(self, request: Request) -> Response:
        scripted = await self._scripted(request, "DELETE /answer/{id}")
        self.cancelled.append(request.path_params["id"])
        if self.status == "in_progress":
            self.status = "cancelled"
        return scripted or JSONResponse(self.job(request.path_params["id"]))

    async def _steps(self, request: Request) -> Response:
        scripted = await self._scripted(request, "GET /answer/{id}/steps")
        if scripted is not None:
            return scripted
        after, limit = int(request.query_params["after"]), int(request.query_params["limit"])
        total = 2 * limit + 1
        steps = [self.step(n) for n in range(after + 1, min(after + limit, total) + 1)]
        following = after + limit if after + limit < total else None
        return JSONResponse({"job": request.path_params["id"], "steps": steps, "next": following})

    @staticmethod
    def step(seq: int) -> dict[str, Any]:
        return {
            "seq": seq,
            "id": f"read/{seq}",
            "update": "rewrite" if seq % 2 else "keep",
            "chunk": seq - 1,
            "document": 0,
            "start": seq * 10,
            "end": seq * 10 + 10,
            "tokens": 10,
            "memory": f"memory {seq}",
            "plan": "go on",
            "diff": {"added": [f"line {seq}"], "removed": [f"line {seq - 1}"]} if seq % 2 else {},
            "at": AT,
        }

    async def _uploads(self, request: Request) -> Response:
        """Knows no uploads in parts but scripted ones."""
        return await self._scripted(request, f"{request.method} /uploads") or Response(status_code=404)

    async def _documents(self, request: Request) -> Response:
        scripted = await self._scripted(request, "POST /documents")
        if scripted is not None:
            return scripted
        body = await request.body()
        digest = hashlib.sha256(body).hexdigest()
        fields = {
            "document_id": f"doc_{digest}",
            "title": request.query_params.get("title", ""),
            "media_type": request.headers.get("content-type", ""),
            "bytes": len(body),
            "characters": len(body),
            "sha256": digest,
        }
        return JSONResponse(fields, status_code=201)

    async def _fetch(self, request: Request) -> Response:
        scripted = await self._scripted(request, "POST /documents/fetch")
        asked = json.loads(await request.body())
        return scripted or JSONResponse(self.document(url=asked["url"]), status_code=201)

    async def _preview(self, request: Request) -> Response:
        scripted = await self._scripted(request, "GET /documents/{id}")
        document = self.document(document_id=request.path_params["id"], skipped_count=1)
        document["skipped"] = [{"path": "page 3", "reason": "scanned_page", "message": "it is an image"}]
        told = {
            "document": document,
            "tokens": 1234,
            "chunks": 2,
            "chunk_tokens": int(request.query_params.get("chunk_tokens", "8192")),
            "marks": {"page": 3, "heading": 1},
            "outline": [
                {"start": 0, "kind": "page", "value": "1"},
                {"start": 90, "kind": "heading", "value": "Setup\x1b[2J"},
            ],
            "samples": [self.text()],
        }
        return scripted or JSONResponse(told)

    async def _text(self, request: Request) -> Response:
        scripted = await self._scripted(request, "GET /documents/{id}/text")
        return scripted or JSONResponse(self.text())

    @staticmethod
    def document(**fields: Any) -> dict[str, Any]:
        known = {
            "title": "A book",
            "media_type": "application/pdf",
            "bytes": 5000,
            "characters": 4000,
            "sha256": "0" * 64,
        }
        return {"document_id": "doc_" + "0" * 64, **known, **fields}

    @staticmethod
    def text() -> dict[str, Any]:
        place = {"start": 10, "end": 25, "locator": "p. 2", "link": "https://example.com/a.pdf#page=2"}
        return {"document_id": "doc_" + "0" * 64, "text": "What it says.", **place}

    async def _events(self, request: Request) -> Response:
        scripted = await self._scripted(request, "GET /answer/{id}/events")
        if scripted is not None:
            return scripted
        last = int(request.headers.get("last-event-id", "0"))
        actions = (
            self.streams.popleft() if self.streams else [event["seq"] for event in self.events if event["seq"] > last]
        )
        return StreamingResponse(self._stream(actions), media_type="text/event-stream")

    async def _stream(self, actions: list[Any]) -> AsyncIterator[bytes]:
        yield b": hello\n\n"
        for action in actions:
            if isinstance(action, bytes):
                yield action
            elif isinstance(action, int):
                yield self.frame(action)
            else:
                outcome = action()
                if asyncio.iscoroutine(outcome):
                    await outcome

    def frame(self, seq: int) -> bytes:
        event = dict(self.events[seq - 1])
        if event["type"] in ("completed", "failed", "cancelled"):
            if self.finish_with_stream:
                self.status = event["type"]
            event["data"] = self.job()
        event["at"] = AT
        return f"id: {seq}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def problem(
    status: int, code: str, detail: str = "No.", headers: dict[str, str] | None = None, **fields: Any
) -> Response:
    body = {"title": "Problem", "status": status, "detail": detail, "code": code, **fields}
    return JSONResponse(body, status, headers, "application/problem+json")


def broken_reply(body: bytes = b"{") -> Response:
    """A reply whose connection dies before the promised length."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body
        raise Break

    return StreamingResponse(pieces(), headers={"content-length": "1000"}, media_type="application/json")


def unframed() -> Response:
    """A refused stream whose connection dies before its body: no reply arrives at all."""
    reply = broken_reply(b"")
    reply.status_code = 500
    return reply


def drop() -> None:
    raise Break


def serve(app: Any) -> tuple[uvicorn.Server, threading.Thread, str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    return server, thread, f"http://127.0.0.1:{listener.getsockname()[1]}"


class Current:
    """An app that hands each request to the present test's service; one real server is enough for all tests."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Current, str]]:
    current = Current()
    server, thread, url = serve(current)
    yield current, url
    server.force_exit = server.should_exit = True
    thread.join(10)


@pytest.fixture
def service(server: tuple[Current, str]) -> Service:
    service = Service()
    current, service.url = server
    current.app = service.app()
    return service


class Blocking:
    """AsyncClient with Client's calls, so that one test drives both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._made(arguments, options))

    async def _made(self, arguments: Any, options: Any) -> AsyncClient:
        return AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name in ("events", "steps"):
            return lambda *a, **o: self._items(attribute(*a, **o))
        return lambda *a, **o: self._runner.run(attribute(*a, **o))

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, None)

        while (item := self._runner.run(following())) is not None:
            yield item

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(params=[Client, Blocking], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, service: Service) -> Iterator[Any]:
    made = request.param(service.url, "lf_key", retry=QUICK)
    yield made
    made.close()


@pytest.fixture
def replies() -> Any:
    """The makers of odd replies, for tests in other files."""

    class Replies:
        problem = staticmethod(problem)
        broken = staticmethod(broken_reply)
        unframed = staticmethod(unframed)
        drop = staticmethod(drop)
        quick = QUICK
        result = staticmethod(result_fields)
        serve = staticmethod(serve)

    return Replies
