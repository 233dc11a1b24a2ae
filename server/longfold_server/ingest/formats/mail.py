"""A mail (RFC 5322, MIME): its header, its text, its attachments as the files they are. The whole mail is held in
memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email import message_from_binary_file, policy
from email.message import EmailMessage, MIMEPart
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from longfold_server.ingest import formats
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind, Reason
from longfold_server.ingest.titles import tidy

SHOWN = ("From", "To", "Cc", "Date", "Subject")
MOST_NESTED = 5
"""Mails inside mails that are read."""
BODY = "message"
"""Name of the part that is the mail's own text."""


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    with source.path.open("rb") as file:
        message = message_from_binary_file(file, EmailMessage, policy=policy.default)
    _mail(message, "", 0, source, writer)
    return Labels(_header(message, "Subject"))


def _mail(message: MIMEPart, within: str, depth: int, source: Source, writer: Writer) -> None:
    """`within` is the name of the part that holds this mail."""
    writer.mark(Kind.PART, within or BODY)
    for name in SHOWN:
        if value := _header(message, name):
            writer.write(f"{name}: {value}\n")
    writer.write("\n")
    if message.get_content_maintype() == "message":
        _forwarded(message, within or BODY, depth, source, writer)
        return
    body = _body(message)
    if body is not None:
        _content(body, within or BODY, source, writer)
    for number, part in enumerate(_attachments(message, body), 1):
        name = tidy(_file_name(part)) or f"part {number}"
        writer.write("\n")
        if part.get_content_maintype() == "message":
            _forwarded(part, name, depth, source, writer)
        else:
            writer.mark(Kind.PART, name)
            _content(part, name, source, writer)


def _forwarded(part: MIMEPart, name: str, depth: int, source: Source, writer: Writer) -> None:
    """The mails that a part of type message/... holds."""
    if depth >= MOST_NESTED:
        writer.skip(name, Reason.TOO_DEEP, "it is a mail inside too many others")
        return
    for inner in part.iter_parts() if part.is_multipart() else ():
        _mail(inner, _header(inner, "Subject") or name, depth + 1, source, writer)


def _body(message: MIMEPart) -> MIMEPart | None:
    """The text of a mail; plain text rather than HTML, where it is not only a note that there is HTML."""
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    if plain is None or html is None:
        return plain or html
    written = len(_bytes(plain).strip())
    return html if 20 * written < len(_bytes(html)) and written < 500 else plain


def _attachments(message: MIMEPart, body: MIMEPart | None) -> Iterator[MIMEPart]:
    """Every part that is neither the text nor another form of it."""
    if not message.is_multipart():
        if message is not body:
            yield message
        return
    if message.get_content_subtype() == "alternative":
        return  # the forms of the text
    signed = message.get_content_subtype() == "signed"  # the second part is the signature (RFC 1847, 2.1)
    for part in islice(message.iter_parts(), 1 if signed else None):
        if part is body:
            continue
        if part.get_content_maintype() == "multipart":
            yield from _attachments(part, body)
        else:
            yield part


def _content(part: MIMEPart, name: str, source: Source, writer: Writer) -> None:
    if part.get_content_maintype() in ("image", "audio", "video"):
        writer.skip(name, Reason.BINARY, f"it is {part.get_content_type()}")
        return
    content = _bytes(part)
    if not content and name == BODY:
        return
    with writer.part(name), NamedTemporaryFile(dir=source.scratch) as file:
        file.write(content)
        file.flush()
        opened = formats.opened(Path(file.name), _file_name(part), source, str(part.get("Content-Type", "")))
        with writer.within(name):
            formats.read(opened, writer)


def _bytes(part: MIMEPart) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _file_name(part: MIMEPart) -> str:
    return _told(lambda: part.get_filename(""))


def _header(message: MIMEPart, name: str) -> str:
    return _told(lambda: message.get(name, ""))


def _told(header: Callable[[], object]) -> str:
    """What a header says; "" for one that breaks the standard library's parser, which raises nearly anything."""
    try:
        return tidy(str(header() or ""))
    except Exception:
        return ""
