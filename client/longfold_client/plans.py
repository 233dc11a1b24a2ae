"""Every call of the SDK as a plan: which requests, in which order, repeated when. Knows no HTTP library, no thread and
no event loop.
"""

from __future__ import annotations

import base64
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from .documents import DOCUMENT_ID, Document, names, prepare, validation_message
from .effects import Emit, Lost, Pause, Plan, Reply, Request, send
from .errors import ConnectionFailed, InvalidArgument, LongfoldError, ProtocolError, WaitTimeout
from .follow import Follow, StreamUnusable, Tail, job_path
from .replies import api_error, parse, result_of, retry_after
from .retry import RETRYABLE, Retry
from .types import (
    AnswerRequest,
    AnswerResult,
    DocumentInfo,
    DocumentPreview,
    DocumentRef,
    DocumentText,
    FetchRequest,
    Job,
    Limits,
    Mode,
    OnDocumentError,
    Steps,
)
from .upload import Source, Upload

WAIT = 20.0
"""Seconds of one long poll: below the 30 s after which common proxies cut an idle request."""
LATE = 3.0
"""Seconds that the reply to the last poll of a `wait` with a timeout may come late."""
POLL_FIRST, POLL_LONGEST = 0.2, 5.0
"""Seconds between polls of a server that answers at once; doubled in between."""
UPLOAD_TIMEOUT = 600.0
"""Seconds for the reply to an upload or a fetch: the server has the whole document before it answers."""
IN_PARTS = 32 * 1024 * 1024
"""Bytes above which a file is sent in parts, so that a connection that breaks costs one of them;"""
PART = 16 * 1024 * 1024
"""bytes of each."""
PART_TYPE = "application/offset+octet-stream"
OFFSET = re.compile(r"[0-9]{1,19}")
"""A number of bytes, of a file that can be; Python reads no number of more than 4,300 digits."""
NEW_FIELDS = ("credentials", "on_document_error")
"""Of a request, unknown to a server of version 0.1.0."""
TUS = {"tus-resumable": "1.0.0"}
UPLOADED = DocumentRef(document_id="doc_" + "0" * 64)
"""Stands for a local file until that has its id."""
INTERRUPT_TIMEOUT = 5.0
"""Seconds for a cancel on the way out: somebody pressed Ctrl-C and is watching."""


@dataclass
class Asking:
    """One logical `answer` or `submit`; its Idempotency-Key is made once, so no retry can start a second job."""

    question: str
    documents: Document | Iterable[Document]
    mode: Mode | str = Mode.AUTO
    limits: Limits | Mapping[str, Any] | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    webhook: str | None = None
    priority: int = 0
    credentials: Mapping[str, Mapping[str, str]] | None = field(default=None, repr=False)
    on_document_error: OnDocumentError | str = OnDocumentError.FAIL
    names: list[str] = field(default_factory=list)
    """The documents' names for messages, known once they are prepared."""
    post: Request | None = None
    """The POST, from the moment it may have reached the server."""
    job: Job | None = None


@dataclass(frozen=True)
class Plans:
    """The calls, for one base URL and one policy."""

    base_url: str
    retry: Retry = field(default_factory=Retry)
    silence: float = 45.0
    """Seconds without a byte before an event stream counts as lost: three missed heartbeats."""

    def submit(self, asking: Asking) -> Plan[Job]:
        """Uploads local files, then POST /answer -> the job, at once. Raises InvalidArgument."""
        prepared = prepare(asking.documents)
        asking.names = names(prepared)
        # Before minutes of uploads: what is wrong with the question is known now.
        _request(asking, [UPLOADED if isinstance(document, Upload) else document for document in prepared])
        references = []
        for document in prepared:
            if isinstance(document, Upload):
                info = yield from self.upload(document)
                document = DocumentRef(document_id=info.document_id, title=(document.title or info.title)[:500])
            references.append(document)
        request = _request(asking, references)
        # What is not asked for is not sent, so that an older server takes the request.
        unasked = {name for name in NEW_FIELDS if getattr(request, name) == AnswerRequest.model_fields[name].default}
        body = request.model_dump_json(exclude_none=True, exclude=unasked).encode()
        headers = {"content-type": "application/json", "idempotency-key": asking.key, "prefer": "respond-async"}
        asking.post = Request("POST", "/answer", headers=headers, body=body)
        reply = yield from self.call(asking.post)
        asking.job = parse(reply, Job, asking.names)
        return asking.job

    def answer(self, asking: Asking) -> Plan[AnswerResult]:
        """Submits and follows to the end. Emits the job (accepted, polled, finished) and its events."""
        job = yield from self.submit(asking)
        yield Emit(job)
        if not job.finished:
            job = yield from self._finish(job.id)
            asking.job = job
            yield Emit(job)
        return result_of(job, asking.names)

    def abandon(self, asking: Asking) -> Plan[Job | None]:
        """Cancels what `asking` started, one try per request -> the job, None if nothing was sent yet.

        A POST whose reply was lost to the interrupt is sent again under its key, which tells the id of the job it made.
        """
        if asking.post is None:
            return None
        if asking.job is None:
            reply = yield from self._once(asking.post)
            asking.job = parse(reply, Job)
            yield Emit(asking.job)
        reply = yield from self._once(Request("DELETE", job_path(asking.job.id)))
        job = parse(reply, Job)
        yield Emit(job)
        return job

    def get(self, job_id: str) -> Plan[Job]:
        """GET /answer/{id}."""
        return parse((yield from self.call(Request("GET", job_path(job_id)))), Job)

    def cancel(self, job_id: str) -> Plan[Job]:
        """DELETE /answer/{id}; a finished job stays as it is."""
        return parse((yield from self.call(Request("DELETE", job_path(job_id)))), Job)

    def events(self, job_id: str, after: int = 0) -> Plan[None]:
        """Emits every event with a number above `after`, until the final one."""
        if after < 0:
            raise InvalidArgument("after: an event number, 0 for the beginning.")
        yield from Follow(job_id, self.retry, self.silence, strict=True).run(Tail(after))

    def wait(self, job_id: str, timeout: float | None = None) -> Plan[Job]:
        """Long polls until the job has finished, however it ended. Emits each state. Raises WaitTimeout after `timeout`
        seconds, the time of failed tries included; before the first state, the failure itself.
        """
        ends = math.inf if timeout is None else timeout
        attempts = self.retry.reconnects if timeout is None else None
        spent, tries, pause = 0.0, 0, POLL_FIRST
        job: Job | None = None
        while True:
            tries += 1
            found, seconds, rest = yield from self._poll(job_id, max(0.0, ends - spent), tries, attempts)
            spent += seconds
            left = max(0.0, ends - spent)
            if isinstance(found, Job):
                job, tries = found, 0
                yield Emit(job)
                if job.finished:
                    return job
                rest = 0.0 if seconds >= 1.0 else min(pause, left)
                pause = POLL_FIRST if seconds >= 1.0 else min(POLL_LONGEST, pause * 2)
            elif rest is None or (job is None and rest >= left):
                raise found
            if job is not None and (left == 0.0 or rest > left):
                yield Pause(left)
                raise WaitTimeout(job, ends)
            yield Pause(rest)
            spent += rest

    def _poll(
        self, job_id: str, left: float, tries: int, attempts: int | None
    ) -> Plan[tuple[Job | LongfoldError, float, float | None]]:
        """One long poll of at most `left` seconds -> the job, or why there is none; the seconds it took; after a
        failure, the pause before the next try, None to give up. Raises the errors that another try would not mend."""
        wait = int(min(WAIT, left))
        headers = {"prefer": f"wait={wait}"} if wait else {}
        timeout = min(WAIT + self.silence, left + LATE)
        try:
            reply = yield from send(Request("GET", job_path(job_id), headers=headers, read_timeout=timeout))
        except Lost as lost:
            failure = ConnectionFailed(self._unreachable(str(lost), tries), job_id)
            return failure, lost.seconds, self.retry.pause(tries, limit=attempts)
        if reply.status in RETRYABLE:
            return api_error(reply), reply.seconds, self.retry.pause(tries, retry_after(reply), attempts)
        return parse(reply, Job), reply.seconds, None

    def steps(self, job_id: str, after: int = 0, page: int = 100) -> Plan[None]:
        """Emits every committed step, oldest first, page by page."""
        position: int | None = after
        while position is not None:
            params = {"after": str(position), "limit": str(page)}
            reply = yield from self.call(Request("GET", f"{job_path(job_id)}/steps", params=params))
            steps = parse(reply, Steps)
            for step in steps.steps:
                yield Emit(step)
            if steps.next is not None and steps.next <= position:
                raise ProtocolError(f"the steps of job {job_id} do not advance beyond {position}.")
            position = steps.next

    def upload(self, upload: Upload) -> Plan[DocumentInfo]:
        """POST /documents, or a large file in parts; repeating it is safe, since documents are addressed by their
        content."""
        if upload.size is not None and upload.size > IN_PARTS and upload.repeatable:
            found = yield from self._upload_in_parts(upload, upload.size)
            if found is not None:
                return found
        headers = {"content-type": upload.media_type}
        if upload.size is not None:
            headers["content-length"] = str(upload.size)
        params = {"title": upload.title[:500]} if upload.title else {}
        request = Request("POST", "/documents", params, headers, upload, read_timeout=UPLOAD_TIMEOUT)
        return parse((yield from self.call(request)), DocumentInfo, [upload.title or "the upload"])

    def _upload_in_parts(self, upload: Upload, size: int) -> Plan[DocumentInfo | None]:
        """By the tus protocol (https://tus.io/protocols/resumable-upload); None from a server that does not know it."""
        label = [upload.title or "the upload"]
        named = {"filename": upload.title or "", "filetype": upload.media_type}
        metadata = ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in named.items() if value
        )
        begin = {**TUS, "upload-length": str(size), "upload-metadata": metadata}
        reply = yield from self.call(Request("POST", "/uploads", headers=begin))
        if reply.status in (404, 405):
            return None
        if reply.status != 201:
            raise api_error(reply, label)
        path = f"/uploads/{quote(reply.headers.get('location', '').rpartition('/')[2], safe='')}"
        offset = reached = tries = 0
        while offset < size:
            if offset > reached:  # news; what a server lost and was sent again is none
                reached, tries = offset, 0
            part = upload.part(offset, min(PART, size - offset))
            headers = {**TUS, "upload-offset": str(offset), "content-length": str(part.size), "content-type": PART_TYPE}
            pause: float | None = None
            try:
                reply = yield from send(Request("PATCH", path, headers=headers, body=part))
            except Lost as lost:
                tries += 1
                pause = self.retry.pause(tries)
                if pause is None:
                    raise ConnectionFailed(self._unreachable(str(lost), tries)) from None
            else:
                if reply.status == 204:
                    before, offset = offset, _offset(reply)
                    if offset <= before:
                        raise ProtocolError("the server took a part of the upload, and its Upload-Offset did not move.")
                    continue
                tries += 1
                pause = self.retry.pause(tries, retry_after(reply)) if reply.status in {409, *RETRYABLE} else None
                if pause is None:
                    raise api_error(reply, label)
            yield Pause(pause)
            reply = yield from self.call(Request("HEAD", path, headers=TUS))
            if reply.status != 200:
                raise api_error(reply, label)
            offset = _offset(reply)  # a part that broke in the middle counts as far as it came
        reply = yield from self.call(Request("POST", f"{path}/document", headers=TUS, read_timeout=UPLOAD_TIMEOUT))
        return parse(reply, DocumentInfo, label)

    def fetch(
        self, url: str, title: str | None, credentials: Mapping[str, Mapping[str, str]] | None
    ) -> Plan[DocumentInfo]:
        """POST /documents/fetch."""
        try:
            asked = FetchRequest.model_validate({"url": url, "title": title, "credentials": _credentials(credentials)})
        except ValidationError as error:
            raise InvalidArgument(f"{validation_message(error)}.") from None
        body = asked.model_dump_json(exclude_none=True).encode()
        headers = {"content-type": "application/json"}
        request = Request("POST", "/documents/fetch", headers=headers, body=body, read_timeout=UPLOAD_TIMEOUT)
        return parse((yield from self.call(request)), DocumentInfo, [url])

    def inspect(
        self,
        document: Document,
        chunk_tokens: int | None = None,
        credentials: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Plan[DocumentPreview]:
        """Has the document taken in, where it is not yet, then GET /documents/{id}."""
        [prepared] = prepare([document])
        if isinstance(prepared, Upload):
            document_id = (yield from self.upload(prepared)).document_id
        elif prepared.url is not None:
            document_id = (yield from self.fetch(prepared.url, prepared.title, credentials)).document_id
        elif prepared.text is not None:
            given = Upload(prepared.text.encode(), prepared.title, "text/plain; charset=utf-8")
            document_id = (yield from self.upload(given)).document_id
        else:
            document_id = str(prepared.document_id)
        params = {} if chunk_tokens is None else {"chunk_tokens": str(chunk_tokens)}
        request = Request("GET", f"/documents/{document_id}", params, read_timeout=UPLOAD_TIMEOUT)
        return parse((yield from self.call(request)), DocumentPreview, names([prepared]))

    def text(self, document_id: str, start: int, end: int | None) -> Plan[DocumentText]:
        """GET /documents/{id}/text."""
        if not DOCUMENT_ID.fullmatch(document_id):
            raise InvalidArgument("document: an id as `upload` returns it.")
        if start < 0 or (end is not None and end < start):
            raise InvalidArgument("start and end: characters from 0 on, end not before start.")
        params = {"start": str(start)} | ({} if end is None else {"end": str(end)})
        reply = yield from self.call(Request("GET", f"/documents/{document_id}/text", params))
        return parse(reply, DocumentText, [document_id])

    def upload_source(self, source: Source, title: str | None, media_type: str | None) -> Plan[DocumentInfo]:
        """`upload` of whatever the caller named."""
        return (yield from self.upload(Upload(source, title, media_type)))

    def call(self, request: Request, attempts: int | None = None, job_id: str | None = None) -> Plan[Reply]:
        """One request until a reply that is worth keeping, after at most `attempts` tries. Raises ConnectionFailed."""
        tries = 0
        while True:
            tries += 1
            try:
                reply = yield from send(request)
            except Lost as lost:
                pause = self.retry.pause(tries, limit=attempts) if _repeatable(request) else None
                if pause is None:
                    raise ConnectionFailed(self._unreachable(str(lost), tries), job_id) from None
            else:
                if reply.status not in RETRYABLE or not _repeatable(request):
                    return reply
                pause = self.retry.pause(tries, retry_after(reply), attempts)
                if pause is None:
                    return reply
            yield Pause(pause)

    def _once(self, request: Request) -> Plan[Reply]:
        hurried = Request(
            request.method, request.path, request.params, request.headers, request.body, INTERRUPT_TIMEOUT
        )
        try:
            return (yield from send(hurried))
        except Lost as lost:
            raise ConnectionFailed(self._unreachable(str(lost), 1)) from None

    def _finish(self, job_id: str) -> Plan[Job]:
        tail = Tail()
        try:
            yield from Follow(job_id, self.retry, self.silence, strict=False).run(tail)
        except StreamUnusable:
            return (yield from self.wait(job_id))
        if tail.final is not None:
            try:
                job = Job.model_validate(tail.final.data)
            except ValidationError:
                return (yield from self.wait(job_id))
            if job.finished:
                return job
        return (yield from self.wait(job_id))

    def _unreachable(self, reason: str, tries: int) -> str:
        times = f" ({tries} tries)" if tries > 1 else ""
        return (
            f"cannot reach {self.base_url}: {reason}{times}. Is the server running there? "
            "Start one with `longfold up`, or name another by LONGFOLD_URL."
        )


def _repeatable(request: Request) -> bool:
    return not isinstance(request.body, Upload) or request.body.repeatable


def _request(asking: Asking, references: list[DocumentRef]) -> AnswerRequest:
    """The body of the POST. Raises InvalidArgument."""
    try:
        return AnswerRequest.model_validate(
            {
                "question": asking.question,
                "documents": references,
                "mode": asking.mode,
                "limits": asking.limits or Limits(),
                "on_document_error": asking.on_document_error,
                "priority": asking.priority,
                "webhook": None if asking.webhook is None else {"url": asking.webhook},
                "credentials": _credentials(asking.credentials),
            }
        )
    except ValidationError as error:
        raise InvalidArgument(f"{validation_message(error)}.") from None


def _credentials(given: Mapping[str, Mapping[str, str]] | None) -> list[dict[str, Any]]:
    return [{"origin": origin, "headers": dict(headers)} for origin, headers in (given or {}).items()]


def _offset(reply: Reply) -> int:
    value = reply.headers.get("upload-offset", "")
    if not OFFSET.fullmatch(value):
        raise ProtocolError("the reply to an upload holds no Upload-Offset.")
    return int(value)
