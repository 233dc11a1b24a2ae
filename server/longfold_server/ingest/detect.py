"""Tells what a file is by its content; its Content-Type or name only chooses between kinds of text. Knows no parser.

A new format is added here by its mark and to `formats.PARSERS` by its parser.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import text

SAMPLE_BYTES = 64 * 1024

HTML = "text/html"
PLAIN = "text/plain"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
JSONL = "application/x-ndjson"
EML = "message/rfc822"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
EPUB = "application/epub+zip"
ZIP = "application/zip"
TAR = "application/x-tar"
GZIP = "application/gzip"
ZSTD = "application/zstd"
XZ = "application/x-xz"
BZIP2 = "application/x-bzip2"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x05\x06", ZIP),
    (b"\x1f\x8b\x08", GZIP),
    (b"\x28\xb5\x2f\xfd", ZSTD),
    (b"\xfd7zXZ\x00", XZ),
    *((b"BZh%d1AY&SY" % level, BZIP2) for level in range(1, 10)),
)

_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"{\\rtf", "RTF"),
    (b"%!PS", "PostScript"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"OggS", "Ogg media"),
    (b"fLaC", "FLAC audio"),
    (b"ID3", "MP3 audio"),
    (b"\x1aE\xdf\xa3", "Matroska video"),
    (b"\x7fELF", "an executable"),
    (b"\xca\xfe\xba\xbe", "a Java class or an executable"),
    (b"\x00asm", "WebAssembly"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "Parquet data"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 data"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
)
_TEXTUAL = (b"{\\rtf", b"%!PS")
_OFFICE = ((b"word/", DOCX), (b"xl/", XLSX), (b"ppt/", PPTX))
"""Folder of the parts: which of them is the main one is told by the relations."""
_OPEN_DOCUMENT = frozenset([b"content.xml", b"META-INF/manifest.xml"])
LONGEST_NAME = 1_000
"""Bytes of a member's name that is looked at; the lengths that a file states may name the same bytes often."""
LONGEST_END = 22 + 0xFFFF
"""Bytes from the end of a ZIP file's directory on, which ends with a comment (APPNOTE.TXT 4.3.16)."""
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
"""The stream in which Office keeps a file that is protected by a password ([MS-OFFCRYPTO] 2.3.4.4)."""

_CONTROLS = bytes(value for value in range(0x20) if value not in b"\t\n\r\f\b\x1b")  # \b and ESC occur in terminal logs
_STRONG_HTML = re.compile(
    r"\A(?:\s++|<!--(?>.*?-->)|<\?xml(?>.*?\?>))*+<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE | re.DOTALL
)
# The WHATWG MIME Sniffing patterns for text/html that are no sign of a whole page in Markdown.
_WEAK_HTML = re.compile(
    r"\A\s*<(?:!--|(?:script|iframe|h[1-6]|div|font|table|a|style|title|b|br|p|meta|link|main|article|section|ul|ol|dl)"
    r"[\s/>])",
    re.IGNORECASE,
)
_ANY_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|&(?:#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+\d*);")
_HTML_TYPES = frozenset({HTML, "application/xhtml+xml"})
_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream", "unknown/unknown", "application/unknown"})
_MARKDOWN_NAMES = (".md", ".markdown", ".mdown", ".mkd")
_TEXT_NAMES = (
    *[".txt", ".rst", ".py", ".js", ".ts", ".c", ".h", ".java", ".go", ".rs", ".php", ".vue", ".css", ".xml", ".svg"],
)


# A JSON text without its strings consists of these; a string may be cut off by the sample's end.
_JSON_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*+("|\\?\Z)?')
_JSON_REST = re.compile(r"[\s{}\[\],:0-9.eE+\-truefalsn]*+\Z")
_MAIL_LINE = re.compile(r"(?:[!-9;-~]+[ \t]*:|[ \t])")
_TRANSPORT = frozenset(["received", "message-id", "mime-version", "content-type", "return-path", "delivered-to"])
"""Fields that programs write; the others open memos and letters too, which are kept as they are."""
_MAIL_NAMES = _TRANSPORT | {"from", "to", "subject", "date"}
_QUOTED = re.compile(r'"[^"]*"')
FEWEST_ROWS = 5
"""Lines that must agree on their columns before a text that nobody called a table is taken for one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is."""

    media_type: str
    """One of the constants here, another declared text type, or `text/plain`."""


def detect(path: Path, content_type: str = "", name: str = "") -> Kind:
    """Raises `DocumentError`: `document_empty`, `document_encrypted`, or `document_unsupported` naming what was
    found."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
        size = path.stat().st_size
        samples = [head]
        for place in (size // 2, size - SAMPLE_BYTES):
            if place >= SAMPLE_BYTES:
                file.seek(place & ~3)  # keeps UTF-16 and UTF-32 units whole
                samples.append(file.read(SAMPLE_BYTES))
    if not head:
        raise DocumentError(Code.DOCUMENT_EMPTY, "it has no content")
    wide = text.marked(head)
    shown = head[wide.skip :].decode(wide.name, "replace") if wide else head.decode("latin-1")
    declared = content_type.partition(";")[0].strip().lower()
    if wide is None or wide.name == "utf-8":
        container = _container(path, head, samples)
        if container:
            return Kind(container)
        if _is_mail(shown, declared == EML or name.lower().endswith(".eml")):
            return Kind(EML)
        found = _binary(head, samples)
        if found:
            raise DocumentError(
                Code.DOCUMENT_UNSUPPORTED, f"it is {found} (not supported); convert it to text or HTML and upload that"
            )
    return Kind(_text_type(shown, declared, name.lower(), whole=size <= SAMPLE_BYTES))


def _container(path: Path, head: bytes, samples: list[bytes]) -> str | None:
    """The media type of a format that is not text; None for text and for what is not read."""
    zeros = b"\x00" in head
    if head.lstrip().startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"PK\x03\x04"):
        return _zipped(head, _members(path, head))
    if zeros and head[257:262] == b"ustar":
        return TAR
    if head.startswith(_OLE) and any(_ENCRYPTED_PACKAGE in sample for sample in samples):
        raise DocumentError(
            Code.DOCUMENT_ENCRYPTED, "it is protected by a password; save a copy without one and upload that"
        )
    for mark, found in _MAGIC:
        if head.startswith(mark):
            return found
    # PDF readers take a mark behind some junk as well; a PDF in an archive stands behind the archive's own.
    return PDF if zeros and b"%PDF-" in head[:1024] else None


def _zipped(head: bytes, names: set[bytes]) -> str:
    """By the names of its members."""
    if b"xl/workbook.bin" in names:
        raise DocumentError(
            Code.DOCUMENT_UNSUPPORTED, "it is a binary Excel workbook (not supported); save it as XLSX and upload that"
        )
    if b"[Content_Types].xml" in names:
        for folder, found in _OFFICE:
            if any(name.startswith(folder) for name in names):
                return found
    if head[30:58] == b"mimetypeapplication/epub+zip" or b"META-INF/container.xml" in names:
        return EPUB
    if head[30:73] == b"mimetypeapplication/vnd.oasis.opendocument." or names >= _OPEN_DOCUMENT:
        raise DocumentError(
            Code.DOCUMENT_UNSUPPORTED,
            "it is an OpenDocument file (not supported); save it as DOCX, XLSX or PPTX and upload that",
        )
    return ZIP


def _members(path: Path, head: bytes) -> set[bytes]:
    """Names near both ends of a ZIP file's directory; those of an Office file are few. Only the directory tells them
    from the names in another ZIP file that is a member as it is. Where it is cut off: those in the file's head."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, SEEK_END) - LONGEST_END)
        file.seek(start)
        tail = file.read(LONGEST_END)
        end = tail.rfind(b"PK\x05\x06")
        if not 0 <= end <= len(tail) - 16:
            return set(_names(head, b"PK\x03\x04", 26, 30))
        (length,) = struct.unpack_from("<I", tail, end + 12)
        stop = start + end
        begin = max(0, stop - length)
        names: set[bytes] = set()
        for place in {begin, max(begin, stop - SAMPLE_BYTES)}:
            file.seek(place)
            names.update(_names(file.read(min(SAMPLE_BYTES, stop - place)), b"PK\x01\x02", 28, 46))
    return names


def _names(data: bytes, mark: bytes, length_at: int, name_at: int) -> Iterator[bytes]:
    """Names in the headers that begin with `mark` (APPNOTE.TXT 4.3.7 and 4.3.12)."""
    place = data.find(mark)
    while 0 <= place <= len(data) - name_at:
        (length,) = struct.unpack_from("<H", data, place + length_at)
        if length <= LONGEST_NAME:
            yield data[place + name_at : place + name_at + length]
        place = data.find(mark, place + 4)


def _binary(head: bytes, samples: list[bytes]) -> str | None:
    """A name for binary content; None for text."""
    zeros = b"\x00" in head
    if head.startswith(_OLE):
        return "an old Microsoft Office file"
    for mark, label in _UNSUPPORTED:
        # A text may begin with the letters "ID3" or "GIF89a"; a file of that kind holds zero bytes too.
        if head.startswith(mark) and (
            zeros or mark in _TEXTUAL or not (mark.isascii() and mark.decode().isprintable())
        ):
            return label
    if zeros and head[4:8] == b"ftyp":
        return "an MP4 or HEIF file"
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return "a WebP image" if head[8:12] == b"WEBP" else "WAV or AVI media"
    # Random bytes are 10 % such controls, text has none to speak of; two are forgiven so that short texts may hold a
    # stray NUL.
    if any(len(sample) - len(sample.translate(None, _CONTROLS)) > 2 + len(sample) // 50 for sample in samples):
        return "binary data"
    return None


def _text_type(shown: str, declared: str, name: str, whole: bool) -> str:
    """`whole`: whether `shown` is the whole text."""
    if _STRONG_HTML.match(shown):
        return HTML
    if json_type := _json_type(shown, whole):
        return json_type
    if declared in _HTML_TYPES:
        return HTML if _ANY_MARKUP.search(shown) else PLAIN
    if declared == MARKDOWN or name.endswith(_MARKDOWN_NAMES):
        return MARKDOWN
    if declared in (CSV, TSV) or name.endswith((".csv", ".tsv")):
        return TSV if declared == TSV or name.endswith(".tsv") else CSV
    if declared in _UNTOLD and _WEAK_HTML.match(shown) and not name.endswith(_TEXT_NAMES):
        return HTML
    if (declared in _UNTOLD or declared == PLAIN) and not name.endswith(_TEXT_NAMES[1:]):
        return _table(shown, whole) or PLAIN
    return declared if declared.startswith("text/") else PLAIN


def _json_type(shown: str, whole: bool) -> str | None:
    start = shown.lstrip()
    if start[:1] not in ("{", "[") or not _JSON_REST.match(_structure(start)):
        return None
    lines = [line.strip() for line in _lines(shown, whole) if line.strip()]
    records = all((line[0], line[-1]) in (("{", "}"), ("[", "]")) and _balanced(line) for line in lines)
    return JSONL if records and len(lines) > 1 else JSON


def _structure(shown: str) -> str:
    """A JSON text without its strings; a string that JSON does not allow leaves a mark that it does not allow
    either."""
    return _JSON_STRING.sub(lambda found: '"' if found[1] is None else "", shown)


def _balanced(line: str) -> bool:
    bare = _structure(line)
    return bare.count("{") == bare.count("}") and bare.count("[") == bare.count("]")


def _is_mail(shown: str, called: bool) -> bool:
    """Whether a text begins with the header of a mail (RFC 5322), maybe behind an mbox line. `called`: whether it came
    as one."""
    header = shown.replace("\r\n", "\n").partition("\n\n")[0]
    lines = header.split("\n")
    if lines[0].startswith("From "):
        lines = lines[1:]
    if not lines or not all(_MAIL_LINE.match(line) for line in lines):
        return False
    names = {line.partition(":")[0].strip().lower() for line in lines if line[:1] not in (" ", "\t")}
    return "from" in names and len(names & _MAIL_NAMES) >= 3 and (called or not names.isdisjoint(_TRANSPORT))


def _table(shown: str, whole: bool) -> str | None:
    """Whether the lines of a text are rows of one table: all have the same number of tabs, or of commas or
    semicolons, of which prose has now and then one."""
    lines = [line for line in _lines(shown, whole) if line.strip()][:1_000]
    if len(lines) < FEWEST_ROWS:
        return None
    for separator, fewest, found in (("\t", 1, TSV), (",", 2, CSV), (";", 2, CSV)):
        columns = {_QUOTED.sub("", line).count(separator) for line in lines}
        if len(columns) == 1 and columns.pop() >= fewest:
            return found
    return None


def _lines(shown: str, whole: bool) -> list[str]:
    """The whole lines of a sample."""
    # Not splitlines: one byte of UTF-8 letters is a line end of Latin-1 and of nobody else.
    lines = shown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if whole else lines[:-1]
