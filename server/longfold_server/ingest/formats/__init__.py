"""The formats: which module reads which media type. Imports a parser only when a file needs it, and then in the parser
process.

A module has `read(source, writer) -> Labels`. It raises `DocumentError` for a file that cannot be read at all, and
tells the writer of parts that are left out.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from longfold_server.ingest import text
from longfold_server.ingest.detect import (
    BZIP2,
    CSV,
    DOCX,
    EML,
    EPUB,
    GZIP,
    HTML,
    JSON,
    JSONL,
    MARKDOWN,
    PDF,
    PPTX,
    TAR,
    TSV,
    XLSX,
    XZ,
    ZIP,
    ZSTD,
    detect,
)
from longfold_server.ingest.formats.source import BINARY, Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind

PARSERS: dict[str, str] = {
    HTML: "html",
    MARKDOWN: "markdown",
    PDF: "pdf",
    DOCX: "docx",
    PPTX: "pptx",
    XLSX: "xlsx",
    EPUB: "epub",
    CSV: "delimited",
    TSV: "delimited",
    JSON: "json_text",
    JSONL: "json_text",
    EML: "mail",
    **dict.fromkeys((ZIP, TAR, GZIP, ZSTD, XZ, BZIP2), "archive"),
}
"""Media type -> module. Everything else that `detect` lets pass is plain text and needs no parser."""

TEXTUAL = frozenset({HTML, MARKDOWN, CSV, TSV, JSON, JSONL})
"""Formats that are read in an encoding."""


def read(source: Source, writer: Writer) -> Labels:
    """Parse one file. Raises `DocumentError`, and whatever a parser raises for what its author did not foresee."""
    module = PARSERS.get(source.media_type)
    if module is not None:
        labels = import_module(f"{__name__}.{module}").read(source, writer)
        assert isinstance(labels, Labels)
        return labels
    writer.mark(Kind.LINE, "1")
    for piece in text.pieces(source.path, source.encoding):
        writer.write(piece)
    return Labels()


def opened(path: Path, name: str, within: Source, content_type: str = "") -> Source:
    """A file that came inside another, for `read`. Raises `DocumentError` for one that no parser reads."""
    media_type = detect(path, content_type, name).media_type
    encoding = BINARY
    if media_type in TEXTUAL or media_type not in PARSERS:
        encoding = text.choose(path, text.content_type_charset(content_type), markup=media_type == HTML)
    return within.inside(path, name, media_type, encoding)
