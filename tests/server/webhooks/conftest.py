"""A real receiver on loopback, and jobs that have ended and must be told of."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from longfold_client.types import JobStatus
from longfold_server.ingest.addresses import AddressPolicy
from longfold_server.ingest.guard import Guard, GuardedTransport
from longfold_server.jobs.records import Claim, Lease, Source, StoredRequest, new_job_id
from longfold_server.jobs.store import JobStore
from longfold_server.webhooks.sender import Sender

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RESULT = (
    '{"answer": "in 1871", "memory": "built 1871", "route": {"mode": "fold", "reason": "long", "window": 100},'
    ' "model": {"name": "m", "profile": "demo"}}'
)
DOCUMENT = "doc_" + "0" * 64


class Receiver:
    """Answers POSTs with the scripted statuses, then with 204; keeps what it was sent."""

    def __init__(self) -> None:
        self.statuses: deque[int] = deque()
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.retry_after = ""
        self.held = threading.Event()
        """Paths that begin with /slow answer when it is set."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                if self.path.startswith("/slow"):
                    receiver.held.wait(10)
                with suppress(OSError):  # the sender may have gone
                    self.send_response(receiver.statuses.popleft() if receiver.statuses else 204)
                    self.send_header("Location", "/elsewhere")
                    if receiver.retry_after:
                        self.send_header("Retry-After", receiver.retry_after)
                    self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def sender_to(*networks: str) -> Sender:
    """A sender that reaches the public internet and `networks`, on any port."""
    return Sender(GuardedTransport(Guard(AddressPolicy(networks), range(1, 65_536))))


@pytest.fixture
def sender() -> Callable[..., Sender]:
    return sender_to


@pytest.fixture
def store(redis: Any) -> JobStore:
    return JobStore(redis, lease_seconds=10)


async def end_a_job(
    store: JobStore, url: str, status: JobStatus = JobStatus.COMPLETED, *, tenant: str = "", result: str = RESULT
) -> str:
    """A job with a webhook that has ended with `status`."""
    job = new_job_id()
    request = StoredRequest("When was it built?", (Source(document_id=DOCUMENT),), webhook=url)
    await store.create(job, "body", request, tenant=tenant)
    if status is JobStatus.CANCELLED:
        await store.cancel(job)
        return job
    claim = await store.claim("worker")
    assert isinstance(claim, Claim) and claim.job == job
    field, value = ("result", result)
    if status is JobStatus.FAILED:
        field, value = "error", '{"title": "t", "status": 503, "detail": "d", "code": "engine_unavailable"}'
    await store.finish(Lease(claim), status, field, value)
    return job


@pytest.fixture
def ended() -> Callable[..., Any]:
    return end_a_job
