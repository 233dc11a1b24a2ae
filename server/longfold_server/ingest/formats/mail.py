"""A mail (RFC 5322, MIME): its header, its text, its attachments as the files they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

from longfold_server.ingest import formats
from longfold_server.ingest.detect import EML
from longfold_server.ingest.formats.mime import Part, parse, told
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind, Reason
from longfold_server.ingest.titles import tidy

SHOWN = ("From", "To", "Cc", "Date", "Subject")
MAILS = frozenset([EML, "message/global", "message/news"])
"""Types of parts that are mails themselves."""
MOST_NESTED = 5
"""Mails inside mails that are read."""
BODY = "message"
"""Name of the part that is the mail's own text."""
NOTE = 500
"""Bytes of plain text that may be only a note that there is HTML, which is then longer by `NOTE_RATIO` at least."""
NOTE_RATIO = 20
_DEEP = "it is a mail inside too many others"


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    message = _parsed(source.path)
    _mail(message, "", 0, source, writer)
    return Labels(_header(message, "Subject"))


def _parsed(path: Path) -> Part:
    return parse(path, [name.lower() for name in SHOWN])


def _mail(message: Part, within: str, depth: int, source: Source, writer: Writer) -> None:
    """`within` is the name of the part that holds this mail."""
    writer.mark(Kind.PART, within or BODY)
    for name in SHOWN:
        if value := _header(message, name):
            writer.write(f"{name}: {value}\n")
    writer.write("\n")
    if message.get_content_type() in MAILS:
        _forwarded(message, within or BODY, depth, source, writer)
        return
    body = _body(message)
    if body is not None:
        _content(body, within or BODY, source, writer)
    for number, part in enumerate(_attachments(message, body), 1):
        name = _file_name(part) or f"part {number}"
        writer.write("\n")
        if part.get_content_type() in MAILS:
            _forwarded(part, name, depth, source, writer)
        else:
            writer.mark(Kind.PART, name)
            _content(part, name, source, writer)


def _forwarded(part: Part, name: str, depth: int, source: Source, writer: Writer) -> None:
    """The mail that a part is."""
    if depth >= MOST_NESTED:
        writer.skip(name, Reason.TOO_DEEP, _DEEP)
        return
    with _spooled(part, source) as path, writer.part(name):
        inner = _parsed(path)
        _mail(inner, _header(inner, "Subject") or name, depth + 1, source, writer)


def _body(message: Part) -> Part | None:
    """The text of a mail; plain text rather than HTML, where it is not only a note that there is HTML."""
    plain, html = (cast(Part | None, message.get_body((kind,))) for kind in ("plain", "html"))
    if plain is None or html is None:
        return plain or html
    written = len(_head(plain).strip())
    return html if NOTE_RATIO * written < len(_head(html)) and written < NOTE else plain


def _attachments(message: Part, body: Part | None) -> Iterator[Part]:
    """Every part that is neither the text nor another form of it."""
    if not message.is_multipart():
        if message is not body:
            yield message
        return
    if message.get_content_subtype() == "alternative":
        return  # the forms of the text
    signed = message.get_content_subtype() == "signed"  # the second part is the signature (RFC 1847, 2.1)
    for part in islice(cast(Iterator[Part], message.iter_parts()), 1 if signed else None):
        if part is body:
            continue
        if part.get_content_maintype() == "multipart":
            yield from _attachments(part, body)
        else:
            yield part


def _content(part: Part, name: str, source: Source, writer: Writer) -> None:
    if part.get_content_maintype() in ("image", "audio", "video"):
        writer.skip(name, Reason.BINARY, f"it is {part.get_content_type()}")
        return
    with _spooled(part, source) as path:
        if name == BODY and not path.stat().st_size:
            return
        with writer.part(name):
            opened = formats.opened(path, _file_name(part), source, str(part.get("Content-Type", "")))
            if opened.media_type == EML and opened.depth > MOST_NESTED:
                return writer.skip(name, Reason.TOO_DEEP, _DEEP)
            with writer.within(name):
                formats.read(opened, writer)


def _head(part: Part) -> bytes:
    """As much of a part as tells a note from a text."""
    head = b""
    for piece in part.content():
        head += piece
        if len(head) >= NOTE_RATIO * NOTE:
            break
    return head


@contextmanager
def _spooled(part: Part, source: Source) -> Iterator[Path]:
    """What a part holds, in a file."""
    with NamedTemporaryFile(dir=source.scratch) as file:
        file.writelines(part.content())
        file.flush()
        yield Path(file.name)


def _file_name(part: Part) -> str:
    return tidy(told(part.get_filename, None))


def _header(message: Part, name: str) -> str:
    return tidy(str(message.get(name, "")))
