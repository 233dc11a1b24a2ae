"""The parts of a mail (RFC 2045, 2046) of any size. Knows nothing of what they are for.

Python's library reads the headers. It would hold the bodies in memory, at several times their size, so they stay in the
file until they are asked for; where they begin and end is told as its parser tells it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from email.headerregistry import HeaderRegistry
from email.message import MIMEPart
from email.parser import BytesParser
from email.policy import EmailPolicy
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from longfold_server.codes import Code
from longfold_server.errors import DocumentError

T = TypeVar("T")

PIECE = 64 * 1024
"""Bytes that are looked at together; a longer line comes in several."""
LONGEST_FIELD = 16 * 1024
"""Bytes of a header field; what is beyond is not read. The library makes some 500 times as much of it."""
CONTENT = frozenset(["content-type", "content-disposition", "content-transfer-encoding", "content-id"])
"""The fields of a part's header that say what it is."""
MOST_DEPTH = 100
"""Multiparts inside each other: they are walked through by recursion."""

_FIELD = re.compile(rb"From |[!-9;-~]*:|[ \t]")
"""How a line of a header begins."""
_NOT_BASE64 = bytes(sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")))
# Padding ends base64. Where none can stand it is skipped, as binascii does.
_QUADS = re.compile(rb"(?:=*[^=]=*[^=]=?[^=][^=])*+")
_PADDED = re.compile(rb"=*[^=]=*[^=](?:==|=?[^=]=)")
_UU_BEGIN = re.compile(rb"begin [0-7]+ ")


class Part(MIMEPart):
    """A header, and other parts or the place of a body in a file."""

    path = Path()
    start = 0
    end = 0
    """The body's bytes in the file, from `start` to before `end`."""

    def get(self, name: str, failobj: Any = None) -> Any:
        """A field that breaks the library's parser counts as missing."""
        return told(partial(super().get, name, failobj), failobj)

    def content(self) -> Iterator[bytes]:
        """The body in pieces, decoded."""
        encoding = str(self.get("Content-Transfer-Encoding", "")).strip().lower()
        return _DECODERS.get(encoding, iter)(self._body())

    def _body(self) -> Iterator[bytes]:
        left = self.end - self.start
        with self.path.open("rb") as file:
            file.seek(self.start)
            while data := file.read(min(left, PIECE)):
                left -= len(data)
                yield data


def told(ask: Callable[[], T], missing: T) -> T:
    """What a header says, or `missing` where that breaks the library's parser, which raises nearly anything."""
    try:
        return ask()
    except MemoryError:
        raise
    except Exception:
        return missing


def parse(path: Path, fields: Collection[str]) -> Part:
    """The parts of a mail in a file that stays there. `fields` names, in lower case, what else is kept of its own
    header. Raises `DocumentError` (`document_undecodable`) where they are nested too deep."""
    tree = _Tree(path, CONTENT.union(fields))
    with path.open("rb") as file:
        for line in _lines(iter(partial(file.read, PIECE), b"")):
            tree.take(line)
    return tree.close()


@dataclass(slots=True)
class _Line:
    """A line with its end, or a piece of a long one."""

    start: int
    data: bytes
    begins: bool
    """Whether it is the line's first piece."""


def _lines(blocks: Iterable[bytes]) -> Iterator[_Line]:
    """Lines that end with LF, CRLF or CR."""
    place, held, begins = 0, b"", True
    for block in blocks:
        *lines, held = (held + block).splitlines(keepends=True)
        if held.endswith(b"\n"):
            lines.append(held)
            held = b""
        for data in lines:
            yield _Line(place, data, begins)
            place += len(data)
            begins = True
        if len(held) >= PIECE and not held.endswith(b"\r"):  # which may be half a line end
            yield _Line(place, held, begins)
            place += len(held)
            held, begins = b"", False
    if held:
        yield _Line(place, held, begins)


class _Header:
    """The lines of one header."""

    def __init__(self, start: int, fields: Collection[str]) -> None:
        self._start = start
        self._fields = fields
        self._kept: dict[str, bytearray] = {}
        self._field: bytearray | None = None
        """What the next line may go on with."""
        self.envelope: int | None = None
        """Where the last line begins, if it is one of mbox: it is the body's first."""

    def take(self, line: _Line) -> bool:
        """False for the first line that is not of the header."""
        if line.begins:
            if not _FIELD.match(line.data):
                return False
            self.envelope = line.start if line.data.startswith(b"From ") and line.start > self._start else None
            if line.data[0] not in b" \t":
                self._field = None
                name = line.data.partition(b":")[0].decode("latin-1").lower()
                if name in self._fields and name not in self._kept:
                    self._field = self._kept[name] = bytearray()
        if self._field is not None:
            self._field += line.data[: LONGEST_FIELD - len(self._field)]
        return True

    def part(self) -> Part:
        return _PARSER.parsebytes(b"\n".join(field.rstrip(b"\r\n") for field in self._kept.values()), headersonly=True)


# A field is asked for again and again, and parsed anew every time.
_POLICY = EmailPolicy(message_factory=Part, header_factory=lru_cache(8)(HeaderRegistry()))
_PARSER: BytesParser[Part] = BytesParser(policy=_POLICY)


@dataclass(slots=True)
class _Multipart:
    """One that is not closed."""

    part: Part
    digest: bool
    """Whether its parts are mails where they do not say what they are (RFC 2046, 5.1.5)."""
    marks: list[bytes]
    """The boundary lines that it alone waits for."""


class _Tree:
    """Takes the lines of a mail."""

    def __init__(self, path: Path, fields: Collection[str]) -> None:
        self._path = path
        self._root: Part | None = None
        self._open: list[_Multipart] = []
        """The multiparts that the present line stands in, outermost first."""
        self._marks: dict[bytes, tuple[int, bool]] = {}
        """Boundary line -> which of `_open` it belongs to, the outermost that has it, and whether it closes it."""
        self._due = True
        """Whether the next line begins a part."""
        self._header: _Header | None = _Header(0, fields)
        self._body: Part | None = None
        """The part whose body goes on; of a multipart, what stands before its parts."""
        self._last = _Line(0, b"", True)

    def take(self, line: _Line) -> None:
        if not self._boundary(line) and (self._due or self._header is not None):
            if self._header is None:
                self._header = _Header(line.start, CONTENT)
            self._due = False
            if not self._header.take(line):
                empty = line.data[0] in b"\r\n"
                self._settle(self._header, line.start + len(line.data) if empty else line.start)
                self._boundary(line)  # maybe of the multipart that has just begun
        self._last = line

    def close(self) -> Part:
        """The whole mail."""
        self._end(self._last.start + len(self._last.data))
        assert self._root is not None
        return self._root

    def _settle(self, header: _Header, start: int) -> None:
        """A header is whole; its body begins at `start`."""
        self._header = None
        part = self._body = header.part()
        part.path = self._path
        part.start = start if header.envelope is None else header.envelope
        if self._open:
            if self._open[-1].digest:
                part.set_default_type("message/rfc822")
            self._open[-1].part.attach(part)
        else:
            self._root = part
        kind = part.get_content_type()
        if kind.startswith("multipart/") and (boundary := told(part.get_boundary, None)) is not None:
            if len(self._open) >= MOST_DEPTH:
                raise DocumentError(Code.DOCUMENT_UNDECODABLE, "it is a mail whose parts stand too deep in each other")
            mark = b"--" + boundary.encode("utf-8", "replace")
            here = len(self._open)
            marks = [one for one in (mark, mark + b"--") if one not in self._marks]
            self._marks.update((one, (here, one != mark)) for one in marks)
            self._open.append(_Multipart(part, kind == "multipart/digest", marks))

    def _boundary(self, line: _Line) -> bool:
        """Whether it is one."""
        if not line.begins or not line.data.startswith(b"--"):
            return False
        place, closes = self._marks.get(line.data.rstrip(b" \t\r\n"), (None, False))
        if place is None:
            return False
        self._end(line.start)
        multipart = self._open[place].part
        for inner in self._open[place if closes else place + 1 :]:
            for mark in inner.marks:
                del self._marks[mark]
        del self._open[place if closes else place + 1 :]
        self._due = not closes
        if not closes and not multipart.is_multipart():
            multipart.set_payload([])
        return True

    def _end(self, place: int) -> None:
        """What goes on ends here. The line end before a boundary belongs to the boundary (RFC 2046, 5.1.1)."""
        if self._header is not None:
            self._settle(self._header, place)
        if self._body is not None:
            if self._open:
                data = self._last.data
                place -= len(data) - len(data.removesuffix(b"\n").removesuffix(b"\r"))
            self._body.end = max(self._body.start, place)
            self._body = None


def _base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What is no sign of base64 is skipped, what stands behind the padding left out."""
    rest = b""
    for piece in pieces:
        data = rest + piece.translate(None, _NOT_BASE64)
        place = match.end() if b"=" in data and (match := _QUADS.match(data)) else len(data) // 4 * 4
        yield binascii.a2b_base64(data[:place].translate(None, b"="))
        padded = _PADDED.match(data, place)
        rest = data[place:].translate(None, b"=")
        if padded:
            rest = padded[0].translate(None, b"=")
            break
        if len(rest) == 2 and data.endswith(b"="):
            rest += b"="
    if len(rest) > 1:
        yield binascii.a2b_base64(rest.translate(None, b"=") + b"==")


def _quoted_printable(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        data = rest + piece
        # Cut where no line end and no "=" with what it stands for is cut.
        last = len(data) - (not data.endswith(b"="))
        signs = last - len(data[:last].rstrip(b"="))
        cut = last - 1 if signs % 2 else len(data) - data.endswith(b"\r")
        rest = data[cut:]
        yield _unquoted(data[:cut])
    yield _unquoted(rest)


def _unquoted(data: bytes) -> bytes:
    return binascii.a2b_qp(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


def _uuencoded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """As far as it is whole."""
    lines = (line.data.rstrip(b"\r\n") for line in _lines(pieces))
    if not any(_UU_BEGIN.match(line) for line in lines):
        return
    for line in lines:
        if line.strip() in (b"", b"end"):
            return
        # Some programs write more than the length in the first sign says.
        length = ((line[0] - 32 & 63) * 4 + 5) // 3
        try:
            yield binascii.a2b_uu(line[:length])
        except binascii.Error:
            return


_DECODERS: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "base64": _base64,
    "quoted-printable": _quoted_printable,
    **dict.fromkeys(("x-uuencode", "uuencode", "uue", "x-uue"), _uuencoded),
}
"""Content-Transfer-Encoding -> its reader; any other is none (RFC 2045, 6)."""
