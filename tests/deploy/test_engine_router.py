"""The engine's router: haproxy.cfg under a real HAProxy, in front of stand-in engines that it finds by DNS."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

CONFIG = Path(__file__).parents[2] / "deploy/kubernetes/components/engine/haproxy.cfg"
NAME = "vllm.longfold.svc.cluster.local"
HEADER = "X-Longfold-Document"
COMPLETIONS = "/v1/chat/completions"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy on PATH (the Debian package)"),
]


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Names(asyncio.DatagramProtocol):
    """A name server that knows one name."""

    def __init__(self):
        self.addresses: list[str] = []

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, source):
        """One question: labels, each after its length, then type and class (RFC 1035, 4.1)."""
        labels, at = [], 12
        while size := data[at]:
            labels.append(data[at + 1 : at + 1 + size].decode())
            at += 1 + size
        question = data[12 : at + 5]
        [kind] = struct.unpack(">H", question[-4:-2])
        found = self.addresses if kind == 1 and ".".join(labels) == NAME else []
        answers = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(one) for one in found)
        header = data[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0)
        self._transport.sendto(header + question + answers, source)


class Engine:
    """Answers completions with its address; holds them while `gate` is shut."""

    def __init__(self, address, port):
        self.address, self._port = address, port
        self.gate = asyncio.Event()
        self.gate.set()
        self.open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, self.address, self._port)

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head, re.I)
                await reader.readexactly(int(length[1]) if length else 0)
                if b"completions" in head.split(b"\r\n")[0]:
                    self.open += 1
                    await self.gate.wait()
                    self.open -= 1
                body = self.address.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class Router:
    def __init__(self, names, engines, url, probes):
        self.names, self.engines, self.probes = names, {one.address: one for one in engines}, probes
        self.client = httpx.AsyncClient(base_url=url, timeout=20, limits=httpx.Limits(max_connections=None))

    async def call(self, document):
        """The address of the engine that answered for a document."""
        reply = await self.client.post(COMPLETIONS, headers={HEADER: document}, content=b"{}")
        return reply.text if reply.status_code == 200 else f"status {reply.status_code}"

    async def places(self, documents=60):
        return {f"doc-{n}": await self.call(f"doc-{n}") for n in range(documents)}

    async def until_there_are(self, number):
        """Waits until the router sends to so many engines."""
        for _ in range(200):
            found = {await self.call(f"probe-{n}") for n in range(30)}
            if len(found) == number and not any("status" in one for one in found):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"the router sends to {found}")


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Router]:
    port, own, probes = free_port(), free_port(), free_port()
    engines = [Engine(f"127.0.0.{n}", port) for n in (2, 3, 4)]
    for engine in engines:
        await engine.start()
    names_port = free_port(socket.SOCK_DGRAM)
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(Names, ("127.0.0.1", names_port))
    names.addresses = [engine.address for engine in engines]
    text = CONFIG.read_text()
    for old, new in {
        "parse-resolv-conf": f"nameserver test 127.0.0.1:{names_port}",
        "bind :8000": f"bind 127.0.0.1:{own}",
        "bind :8404": f"bind 127.0.0.1:{probes}",
        f"{NAME}:8000": f"{NAME}:{port}",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "haproxy.cfg").write_text(text)
    process = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg"))
    found = Router(names, engines, f"http://127.0.0.1:{own}", f"http://127.0.0.1:{probes}")
    try:
        for _ in range(100):
            try:
                await found.client.get("/health")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        await found.until_there_are(3)
        yield found
    finally:
        process.kill()
        await process.wait()
        transport.close()
        await found.client.aclose()
        for engine in engines:
            await engine.stop()


def test_the_file_is_valid(tmp_path):
    done = subprocess.run(["haproxy", "-c", "-f", str(CONFIG)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()


async def test_a_document_stays_on_its_engine(router):
    first = await router.places()
    assert first == await router.places()
    shares = Counter(first.values())
    assert len(shares) == 3 and min(shares.values()) >= 5, shares


async def test_a_dead_engine_costs_no_call_and_moves_no_other_document(router):
    before = await router.places()
    gone = "127.0.0.3"
    await router.engines[gone].stop()
    after = await router.places()
    assert gone not in after.values() and not any("status" in place for place in after.values())
    assert {doc for doc in before if before[doc] != after[doc]} == {doc for doc in before if before[doc] == gone}
    assert len({after[doc] for doc in before if before[doc] == gone}) == 2, "its documents spread over the others"
    await router.engines[gone].start()
    await router.until_there_are(3)
    assert await router.places() == before


async def test_an_engine_that_leaves_the_names_ends_its_calls_first(router):
    places = await router.places()
    leaving = "127.0.0.4"
    document = next(doc for doc, place in places.items() if place == leaving)
    engine = router.engines[leaving]
    engine.gate.clear()
    call = asyncio.create_task(router.call(document))
    while not engine.open:
        await asyncio.sleep(0.01)
    router.names.addresses.remove(leaving)
    for _ in range(400):
        if await goes_elsewhere(router, document, leaving):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("new calls still go to the engine that left")
    assert not call.done()
    engine.gate.set()
    assert await call == leaving


async def goes_elsewhere(router, document, left):
    """Whether a new call of the document is answered by another engine than the one whose gate is shut."""
    try:
        return await asyncio.wait_for(router.call(document), 0.5) != left
    except TimeoutError:
        return False


async def test_a_busy_engine_is_passed_over(router):
    for engine in router.engines.values():
        engine.gate.clear()
    calls = [asyncio.create_task(router.call("one-document")) for _ in range(30)]
    for _ in range(200):
        if sum(engine.open for engine in router.engines.values()) == 30:
            break
        await asyncio.sleep(0.05)
    spread = sorted(engine.open for engine in router.engines.values())
    for engine in router.engines.values():
        engine.gate.set()
    assert sum(spread) == 30 and spread[-1] <= 16 and spread[1] > 0, spread
    assert not any("status" in place for place in await asyncio.gather(*calls))


async def test_without_engines_it_says_so_at_once(router):
    for engine in router.engines.values():
        await engine.stop()
    for _ in range(100):
        if await asyncio.wait_for(router.call("doc"), 12) == "status 503":
            break
        await asyncio.sleep(0.1)
    began = asyncio.get_running_loop().time()
    assert await router.call("doc") == "status 503"
    assert asyncio.get_running_loop().time() - began < 5
    for engine in router.engines.values():
        await engine.start()
    await router.until_there_are(3)


@pytest.mark.parametrize("path", ["/metrics", "/invocations", "/tokenize", "/", "/pause"])
async def test_what_the_key_does_not_guard_stays_inside(router, path):
    assert (await router.client.post(path, content=b"{}")).status_code == 404


async def test_it_is_alive_and_counts(router):
    assert (await router.client.get(router.probes + "/livez")).status_code == 200
    assert "haproxy_backend_http_responses_total" in (await router.client.get(router.probes + "/metrics")).text
