"""The load balancer of compose.yaml: nginx.conf under a real nginx."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from balancer import NoBalancer, find_nginx

from longfold_server import sse
from longfold_server.routes.answer import LONGEST_WAIT
from longfold_server.settings import Settings

CONFIG = Path(__file__).parents[2] / "deploy/nginx/nginx.conf"


def test_silence_and_bodies_within_the_service_s_own_limits():
    text = CONFIG.read_text()
    limit = int(re.search(r"client_max_body_size (\d+)m;", text)[1]) * 1024 * 1024
    assert limit >= Settings().upload_max_bytes and limit >= Settings().json_max_bytes
    assert float(re.search(r"proxy_read_timeout (\d+)s;", text)[1]) > max(LONGEST_WAIT, sse.HEARTBEAT_SECONDS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Api:
    """A stand-in replica: records what reaches it and answers as a test says."""

    def __init__(self, answer):
        self.port = free_port()
        self.seen: list[str] = []
        self._answer = answer

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head.split(b" ")[1].decode())
            await self._answer(head, reader, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def ok(head, reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """nginx, fetched where it is not installed; skips, naming what is missing, where neither works."""
    try:
        return str(find_nginx(tmp_path_factory.mktemp("nginx")))
    except NoBalancer as missing:
        pytest.skip(str(missing))


class Nginx:
    def __init__(self, program, folder, ports):
        self._program = program
        self.port = free_port()
        servers = "".join(f" server 127.0.0.1:{port};" for port in ports)
        text = CONFIG.read_text().replace("/tmp/", f"{folder}/").replace("/dev/stderr", f"{folder}/error.log")
        for old, new in {
            "listen 8080;": f"listen 127.0.0.1:{self.port};",
            "set $api http://api:8080;": "set $api http://api;",
            "    server {\n": f"    upstream api {{{servers} }}\n    server {{\n",
            "/dev/stdout brief": f"{folder}/access.log brief",
        }.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.file = folder / "nginx.conf"
        self.file.write_text(text)
        self.access = folder / "access.log"

    async def __aenter__(self):
        # Started by root, nginx would hand its requests to a user who may not enter pytest's folder.
        user = " user root;" if os.geteuid() == 0 else ""
        argv = [self._program, "-e", "stderr", "-c", str(self.file), "-g", f"daemon off;{user}"]
        self._process = await asyncio.create_subprocess_exec(*argv)
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        for _ in range(100):
            try:
                await self.client.get("/livez")
                return self
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        raise AssertionError("nginx did not start")

    async def __aexit__(self, *error):
        await self.client.aclose()
        self._process.terminate()
        await self._process.wait()


@pytest.mark.slow
def test_the_file_is_valid(tmp_path, program):
    nginx = Nginx(program, tmp_path, [free_port()])
    argv = [program, "-e", "stderr", "-t", "-c", str(nginx.file)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    original = subprocess.run([program, "-e", "stderr", "-t", "-c", str(CONFIG)], capture_output=True, text=True)
    assert "syntax is ok" in original.stderr, original.stderr


@pytest.mark.slow
async def test_an_event_arrives_before_the_next_is_sent(tmp_path, program):
    heard = asyncio.Event()

    async def stream(head, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nid: 1\n\n")
        await writer.drain()
        await asyncio.wait_for(heard.wait(), 15)
        writer.write(b"id: 2\n\n")

    url = "/answer/job_1/events"
    async with (
        Api(stream) as api,
        Nginx(program, tmp_path, [api.port]) as nginx,
        nginx.client.stream("GET", url) as reply,
    ):
        pieces = reply.aiter_bytes()
        assert await asyncio.wait_for(anext(pieces), 10) == b"id: 1\n\n"
        heard.set()
        assert await asyncio.wait_for(anext(pieces), 10) == b"id: 2\n\n"


@pytest.mark.slow
async def test_an_upload_is_passed_on_as_it_arrives(tmp_path, program):
    arrived = asyncio.Event()

    async def first_piece(head, reader, writer):
        await reader.read(10)
        arrived.set()
        await ok(head, reader, writer)

    async def body():
        yield b"x" * 1000
        await asyncio.wait_for(arrived.wait(), 10)
        yield b"y" * 1000

    async with Api(first_piece) as api, Nginx(program, tmp_path, [api.port]) as nginx:
        # The stand-in answers before it has read everything, which nginx may pass on as a broken connection.
        with suppress(httpx.TransportError):
            await nginx.client.post("/documents", content=body(), headers={"Content-Length": "2000"})
        assert arrived.is_set()


@pytest.mark.slow
async def test_a_dead_replica_is_passed_over(tmp_path, program):
    async with Api(ok) as api, Nginx(program, tmp_path, [free_port(), api.port]) as nginx:
        replies = [await nginx.client.post("/answer", content=b"{}") for _ in range(6)]
        assert [reply.status_code for reply in replies] == [200] * 6
        assert api.seen == ["/answer"] * 6


@pytest.mark.slow
async def test_only_what_clients_use_is_reachable_and_no_query_is_logged(tmp_path, program):
    async with Api(ok) as api, Nginx(program, tmp_path, [api.port]) as nginx:
        for path in ("/metrics", "/readyz", "/", "/docs", "/redoc"):
            reply = await nginx.client.get(path)
            assert reply.status_code == 404 and reply.json()["code"] == "not_found"
            assert reply.headers["content-type"] == "application/problem+json"
        assert api.seen == []
        public = ["/answer", "/answer/job_1/events?starting_after=3", "/documents", "/uploads/upl_1", "/openapi.json"]
        for path in public:
            assert (await nginx.client.get(path)).status_code == 200
        assert api.seen == public
        log = nginx.access.read_text()
        assert "/answer/job_1/events " in log and "starting_after" not in log
