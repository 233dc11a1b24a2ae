"""Tells what a file is by its content; its Content-Type or name only chooses between kinds of text. Knows no parser.

A new format is added here by its mark (move it from `_UNSUPPORTED` to a kind of its own) and by its parser to
`parser_process.PARSERS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import text

SAMPLE_BYTES = 64 * 1024

HTML = "text/html"
PLAIN = "text/plain"
MARKDOWN = "text/markdown"

_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "XZ data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file"),
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
_ZIP_MEMBERS = (
    (b"word/", "a Word document (DOCX)"),
    (b"xl/", "an Excel workbook (XLSX)"),
    (b"ppt/", "a PowerPoint presentation (PPTX)"),
    (b"application/epub+zip", "an EPUB book"),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file"),
)

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


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is."""

    media_type: str
    """`text/html`, `text/markdown`, another declared text type, or `text/plain`."""


def detect(path: Path, content_type: str = "", name: str = "") -> Kind:
    """Raises `DocumentError`: `document_empty`, or `document_unsupported` naming what was found."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
        size = path.stat().st_size
        samples = [head]
        if size > 3 * SAMPLE_BYTES:
            for place in (size // 2, size - SAMPLE_BYTES):
                file.seek(place & ~3)  # keeps UTF-16 and UTF-32 units whole
                samples.append(file.read(SAMPLE_BYTES))
    if not head:
        raise DocumentError(Code.DOCUMENT_EMPTY, "it has no content")
    wide = text.marked(head)
    if wide is None or wide.name == "utf-8":
        found = _binary(head, samples)
        if found:
            raise DocumentError(
                Code.DOCUMENT_UNSUPPORTED,
                f"it is {found} (not supported yet); convert it to text or HTML and upload that",
            )
    shown = head[wide.skip :].decode(wide.name, "replace") if wide else head.decode("latin-1")
    return Kind(_text_type(shown, content_type.partition(";")[0].strip().lower(), name.lower()))


def _binary(head: bytes, samples: list[bytes]) -> str | None:
    """A name for binary content; None for text."""
    zeros = b"\x00" in head
    if head.lstrip().startswith(b"%PDF-") or (zeros and b"%PDF-" in head[:1024]):
        return "a PDF"
    if head.startswith(b"PK\x03\x04"):
        return next((label for mark, label in _ZIP_MEMBERS if mark in head), "a ZIP archive")
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
    if zeros and head[257:262] == b"ustar":
        return "a tar archive"
    # Random bytes are 10 % such controls, text has none to speak of; two are forgiven so that short texts may hold a
    # stray NUL.
    if any(len(sample) - len(sample.translate(None, _CONTROLS)) > 2 + len(sample) // 50 for sample in samples):
        return "binary data"
    return None


def _text_type(shown: str, declared: str, name: str) -> str:
    if _STRONG_HTML.match(shown):
        return HTML
    if declared in _HTML_TYPES:
        return HTML if _ANY_MARKUP.search(shown) else PLAIN
    if declared == MARKDOWN or name.endswith(_MARKDOWN_NAMES):
        return MARKDOWN
    if declared in _UNTOLD:
        return HTML if _WEAK_HTML.match(shown) and not name.endswith(_TEXT_NAMES) else PLAIN
    return declared if declared.startswith("text/") else PLAIN
