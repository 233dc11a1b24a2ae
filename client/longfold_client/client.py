"""`Client` and `AsyncClient`: the SDK's two faces over the same plans; they know which effects to run, not what to do
about outcomes.

httpx and the pydantic types load with the first client, not with the import, so that `longfold --help` and `import
longfold_client` stay fast.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from .errors import InvalidArgument, LongfoldError
from .retry import Retry
from .settings import api_key as read_api_key
from .settings import base_url as read_base_url
from .settings import is_loopback
from .version import __version__

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

    from .documents import Document
    from .effects import Plan
    from .plans import Asking
    from .types import (
        AnswerResult,
        DocumentInfo,
        DocumentPreview,
        DocumentText,
        Event,
        Job,
        Limits,
        Mode,
        OnDocumentError,
        StepView,
    )
    from .upload import Source
    from .watch import OnEvent, OnJob, OnProgress, Watch

T = TypeVar("T")

Credentials: TypeAlias = Mapping[str, Mapping[str, str]]
"""Headers by origin, `https://host` or `https://host:port`."""

CONNECT_TIMEOUT = 5.0
"""Seconds to reach the server; a longer silence means a wrong address."""


class _Base:
    """What both clients share: the settings and the plans."""

    base_url: str
    retry: Retry

    def __init__(self, base_url: str | None, api_key: str | None, timeout: float, retry: Retry | None) -> None:
        from .plans import Plans

        if timeout <= 0:
            raise InvalidArgument("timeout: more than 0 seconds.")
        self.base_url = read_base_url(base_url)
        self.retry = retry or Retry()
        self._timeout = timeout
        self._key = read_api_key(api_key)
        self._plans = Plans(self.base_url, self.retry)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def _http_options(self) -> dict[str, Any]:
        import httpx

        headers = {"user-agent": f"longfold-client/{__version__}", "accept": "application/json"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        return {
            "base_url": self.base_url,
            "headers": headers,
            "timeout": httpx.Timeout(self._timeout, connect=min(self._timeout, CONNECT_TIMEOUT)),
            "trust_env": not is_loopback(self.base_url),
        }


@contextmanager
def _environment() -> Iterator[None]:
    """Around the making of an httpx client, which reads variables that others may have set."""
    import httpx

    try:
        yield
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise InvalidArgument(
            f"a proxy (HTTPS_PROXY, ALL_PROXY ...) or certificates (SSL_CERT_FILE) of the environment cannot be used: "
            f"{str(error).rstrip('.')}."
        ) from error


class Client(_Base):
    """The blocking SDK. Threads may share one; close it, or use it as a context manager.

    `base_url`: default LONGFOLD_URL, else http://127.0.0.1:8080. `api_key`: default LONGFOLD_API_KEY. `timeout`:
    seconds of silence after which a plain
    call counts as lost. `retry`: see Retry. `transport`: any httpx transport, for tests and special networks. Every
    call may raise APIError,
    ConnectionFailed and ProtocolError; what a method says about errors comes on top.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        import httpx

        super().__init__(base_url, api_key, timeout, retry)
        with _environment():
            self._http = httpx.Client(transport=transport, **self._http_options())

    def answer(
        self,
        question: str,
        documents: Document | Iterable[Document],
        *,
        mode: Mode | str = "auto",
        limits: Limits | Mapping[str, Any] | None = None,
        on_document_error: OnDocumentError | str = "fail",
        credentials: Credentials | None = None,
        priority: int = 0,
        webhook: str | None = None,
        on_event: OnEvent | None = None,
        on_progress: OnProgress | None = None,
        on_job: OnJob | None = None,
        idempotency_key: str | None = None,
        cancel_on_interrupt: bool = False,
    ) -> AnswerResult:
        """Asks and waits for the answer, over any number of dropped connections.

        `documents`: URLs, `pathlib.Path`s (uploaded first), DocumentRefs, dicts, uploaded DocumentInfos. Local files
        are read here, URLs by the server. `on_document_error`: `skip` answers from the other documents when one cannot
        be read, and lists it in the result's `manifest`. `priority`: 0 to 9, a higher one is begun before your other
        jobs. `webhook`: an https URL that is sent a signed message when the job has ended (`verify_webhook` checks it).
        `credentials`: headers that the documents' servers ask for, by origin: `{"https://host": {"Authorization":
        "Bearer ..."}}`; each is sent to its origin only.
        KeyboardInterrupt leaves the job running, unless `cancel_on_interrupt`; then a note on the exception says what
        became of the job.
        Raises JobFailed, JobCancelled, InvalidArgument.
        """
        asking = _asking(
            question, documents, mode, limits, idempotency_key, webhook, priority, on_document_error, credentials
        )
        watch = _watch(on_event, on_progress, on_job)
        try:
            return self._run(self._plans.answer(asking), watch)
        except KeyboardInterrupt as interrupt:
            if cancel_on_interrupt:
                interrupt.add_note(self._abandon(asking, watch))
            raise

    def submit(
        self,
        question: str,
        documents: Document | Iterable[Document],
        *,
        mode: Mode | str = "auto",
        limits: Limits | Mapping[str, Any] | None = None,
        on_document_error: OnDocumentError | str = "fail",
        credentials: Credentials | None = None,
        priority: int = 0,
        webhook: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Starts a job and returns at once. Raises InvalidArgument."""
        asking = _asking(
            question, documents, mode, limits, idempotency_key, webhook, priority, on_document_error, credentials
        )
        return self._run(self._plans.submit(asking))

    def get(self, job: str | Job) -> Job:
        """The job's present state. Raises NotFound."""
        return self._run(self._plans.get(_job_id(job)))

    def wait(self, job: str | Job, timeout: float | None = None) -> Job:
        """The job once it has finished, however it ended. Raises WaitTimeout after `timeout` seconds, NotFound;
        where the server has told no state by then, ConnectionFailed or its refusal."""
        return self._run(self._plans.wait(_job_id(job), timeout))

    def cancel(self, job: str | Job) -> Job:
        """Cancels the job; a finished one stays as it is. Raises NotFound."""
        return self._run(self._plans.cancel(_job_id(job)))

    def events(self, job: str | Job, after: int = 0) -> Iterator[Event]:
        """Every event after number `after`, live until the final one, each once and in order, over any number of
        connections. Raises NotFound.
        """
        return self._emitted(self._plans.events(_job_id(job), after))

    def steps(self, job: str | Job, after: int = 0) -> Iterator[StepView]:
        """Every reading step committed so far, oldest first. Raises NotFound."""
        return self._emitted(self._plans.steps(_job_id(job), after))

    def upload(self, source: Source, *, title: str | None = None, media_type: str | None = None) -> DocumentInfo:
        """Sends a document in pieces: a path, bytes, or a file open in binary mode. A large one that can be read from
        any place is sent in parts and goes on behind the last one when the connection breaks. Raises InvalidArgument
        when it cannot be read.
        """
        return self._run(self._plans.upload_source(source, title, media_type))

    def fetch(self, url: str, *, title: str | None = None, credentials: Credentials | None = None) -> DocumentInfo:
        """Has the server fetch a document now, so that questions may name it by its id."""
        return self._run(self._plans.fetch(url, title, credentials))

    def inspect(
        self, document: Document, *, chunk_tokens: int | None = None, credentials: Credentials | None = None
    ) -> DocumentPreview:
        """What a document would be to a job: its type, tokens, chunks, outline, and lines as they would be cited. A
        file is uploaded first, a URL fetched. Raises InvalidArgument.
        """
        return self._run(self._plans.inspect(document, chunk_tokens, credentials))

    def text(self, document: str | DocumentInfo, start: int = 0, end: int | None = None) -> DocumentText:
        """Characters `start` to `end` of a document's text, at most 100,000 of them. Raises InvalidArgument."""
        return self._run(self._plans.text(_document_id(document), start, end))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.__exit__(kind, error, trace)

    def _emitted(self, plan: Plan[None]) -> Iterator[Any]:
        from .drive import Drive

        return iter(Drive(self._http, plan))

    def _run(self, plan: Plan[T], watch: Watch | None = None) -> T:
        from .drive import Drive

        drive = Drive(self._http, plan)
        with closing(iter(drive)) as items:
            for item in items:
                for returned in watch.calls(item) if watch is not None else ():
                    if inspect.iscoroutine(returned):
                        returned.close()
                        raise InvalidArgument("Client takes plain callbacks; coroutine functions need AsyncClient.")
        return drive.value

    def _abandon(self, asking: Asking, watch: Watch) -> str:
        try:
            return _abandoned(self._run(self._plans.abandon(asking), watch))
        except LongfoldError as error:
            return _not_abandoned(asking, error)


class AsyncClient(_Base):
    """The async SDK (asyncio): `Client` with `await`, `async for` and callbacks that may be coroutine functions."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx

        super().__init__(base_url, api_key, timeout, retry)
        with _environment():
            self._http = httpx.AsyncClient(transport=transport, **self._http_options())

    async def answer(
        self,
        question: str,
        documents: Document | Iterable[Document],
        *,
        mode: Mode | str = "auto",
        limits: Limits | Mapping[str, Any] | None = None,
        on_document_error: OnDocumentError | str = "fail",
        credentials: Credentials | None = None,
        priority: int = 0,
        webhook: str | None = None,
        on_event: OnEvent | None = None,
        on_progress: OnProgress | None = None,
        on_job: OnJob | None = None,
        idempotency_key: str | None = None,
        cancel_on_interrupt: bool = False,
    ) -> AnswerResult:
        """As `Client.answer`; what is said there of KeyboardInterrupt holds for CancelledError too."""
        asking = _asking(
            question, documents, mode, limits, idempotency_key, webhook, priority, on_document_error, credentials
        )
        watch = _watch(on_event, on_progress, on_job)
        try:
            return await self._run(self._plans.answer(asking), watch)
        except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
            if cancel_on_interrupt:
                interrupt.add_note(await asyncio.shield(self._abandon(asking, watch)))
            raise

    async def submit(
        self,
        question: str,
        documents: Document | Iterable[Document],
        *,
        mode: Mode | str = "auto",
        limits: Limits | Mapping[str, Any] | None = None,
        on_document_error: OnDocumentError | str = "fail",
        credentials: Credentials | None = None,
        priority: int = 0,
        webhook: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """As `Client.submit`."""
        asking = _asking(
            question, documents, mode, limits, idempotency_key, webhook, priority, on_document_error, credentials
        )
        return await self._run(self._plans.submit(asking))

    async def get(self, job: str | Job) -> Job:
        """As `Client.get`."""
        return await self._run(self._plans.get(_job_id(job)))

    async def wait(self, job: str | Job, timeout: float | None = None) -> Job:
        """As `Client.wait`."""
        return await self._run(self._plans.wait(_job_id(job), timeout))

    async def cancel(self, job: str | Job) -> Job:
        """As `Client.cancel`."""
        return await self._run(self._plans.cancel(_job_id(job)))

    def events(self, job: str | Job, after: int = 0) -> AsyncIterator[Event]:
        """As `Client.events`, for `async for`."""
        return self._emitted(self._plans.events(_job_id(job), after))

    def steps(self, job: str | Job, after: int = 0) -> AsyncIterator[StepView]:
        """As `Client.steps`, for `async for`."""
        return self._emitted(self._plans.steps(_job_id(job), after))

    async def upload(self, source: Source, *, title: str | None = None, media_type: str | None = None) -> DocumentInfo:
        """As `Client.upload`; files are read in a thread."""
        return await self._run(self._plans.upload_source(source, title, media_type))

    async def fetch(
        self, url: str, *, title: str | None = None, credentials: Credentials | None = None
    ) -> DocumentInfo:
        """As `Client.fetch`."""
        return await self._run(self._plans.fetch(url, title, credentials))

    async def inspect(
        self, document: Document, *, chunk_tokens: int | None = None, credentials: Credentials | None = None
    ) -> DocumentPreview:
        """As `Client.inspect`."""
        return await self._run(self._plans.inspect(document, chunk_tokens, credentials))

    async def text(self, document: str | DocumentInfo, start: int = 0, end: int | None = None) -> DocumentText:
        """As `Client.text`."""
        return await self._run(self._plans.text(_document_id(document), start, end))

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    def _emitted(self, plan: Plan[None]) -> AsyncIterator[Any]:
        from .drive import AsyncDrive

        return aiter(AsyncDrive(self._http, plan))

    async def _run(self, plan: Plan[T], watch: Watch | None = None) -> T:
        from .drive import AsyncDrive

        drive = AsyncDrive(self._http, plan)
        async with aclosing(aiter(drive)) as items:
            async for item in items:
                for returned in watch.calls(item) if watch is not None else ():
                    if inspect.isawaitable(returned):
                        await returned
        return drive.value

    async def _abandon(self, asking: Asking, watch: Watch) -> str:
        try:
            return _abandoned(await self._run(self._plans.abandon(asking), watch))
        except LongfoldError as error:
            return _not_abandoned(asking, error)


def _asking(
    question: str,
    documents: Any,
    mode: Mode | str,
    limits: Limits | Mapping[str, Any] | None,
    key: str | None,
    webhook: str | None,
    priority: int,
    on_document_error: OnDocumentError | str,
    credentials: Credentials | None,
) -> Asking:
    from .plans import Asking

    asking = Asking(
        question,
        documents,
        mode,
        limits,
        webhook=webhook,
        priority=priority,
        on_document_error=on_document_error,
        credentials=credentials,
    )
    if key is None:
        return asking
    if not key or not key.isascii() or not key.isprintable():
        raise InvalidArgument("idempotency_key: printable ASCII characters, at least one.")
    return replace(asking, key=key)


def _watch(on_event: OnEvent | None, on_progress: OnProgress | None, on_job: OnJob | None) -> Watch:
    from .watch import Watch

    return Watch(on_event, on_progress, on_job)


def _job_id(job: str | Job) -> str:
    job_id = job if isinstance(job, str) else job.id
    if not job_id.strip() or not job_id.isprintable() or job_id in (".", ".."):
        raise InvalidArgument("job: an id as `submit` returns it.")
    return job_id


def _document_id(document: str | DocumentInfo) -> str:
    return document if isinstance(document, str) else document.document_id


def _abandoned(job: Job | None) -> str:
    if job is None:
        return "nothing was started."
    if job.finished and job.status != "cancelled":
        return f"job {job.id} had already {job.status.value}."
    return f"job {job.id} is cancelled."


def _not_abandoned(asking: Asking, error: LongfoldError) -> str:
    which = f"job {asking.job.id}" if asking.job is not None else "the job"
    return f"{which} could not be cancelled and may still run: {error}"
