"""A web server on loopback that can misbehave byte by byte, and a document store that may reach it."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from longfold_server.ingest import DocumentStore, FetchLimits
from longfold_server.ingest.folder import Folder

Handler = Callable[[socket.socket, str], None]


def response(body: bytes, content_type: str = "text/plain", status: str = "200 OK", **headers: str) -> bytes:
    """A correct HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8") + body


@dataclass
class Site:
    """Paths and what they answer: bytes as they are, or a function of the socket and the request's head."""

    port: int
    pages: dict[str, bytes | Handler] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def page(self, path: str, body: bytes, content_type: str = "text/plain", **headers: str) -> str:
        self.pages[path] = response(body, content_type, **headers)
        return self.url(path)


@pytest.fixture
def site() -> Iterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    found = Site(listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            head = b""
            try:
                while b"\r\n\r\n" not in head:
                    data = connection.recv(65536)
                    if not data:
                        return
                    head += data
                request = head.decode("latin-1")
                found.requests.append(request)
                path = request.split(" ")[1].partition("?")[0]
                page = found.pages.get(path, response(b"no such page", status="404 Not Found"))
                if callable(page):
                    page(connection, request)
                else:
                    connection.sendall(page)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # closing with unread input would reset the connection
                        continue
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    yield found
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    acceptor.join(5)
    for thread in threads:
        thread.join(5)


LIMITS = FetchLimits(
    allow_networks=("127.0.0.0/8",),
    ports=tuple(range(1, 65_536)),
    max_bytes=1_000_000,
    connect_seconds=5,
    read_seconds=3,
    total_seconds=20,
    slow_after_seconds=10,
    backoff_seconds=(0.01, 0.02),
)


@pytest.fixture
def limits() -> FetchLimits:
    return LIMITS


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fills the disk of every folder of texts: whatever is written to this device meets a full one."""

    @contextmanager
    def temporary(folder: Folder) -> Iterator[Path]:
        path = tmp_path / uuid.uuid4().hex
        path.symlink_to("/dev/full")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    return lambda: monkeypatch.setattr(Folder, "temporary", temporary)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DocumentStore]:
    made = DocumentStore(tmp_path / "data", limits=replace(LIMITS, max_bytes=30_000_000), upload_max_bytes=30_000_000)
    yield made
    await made.aclose()
