from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import pytest

from longfold_server.errors import DocumentError
from longfold_server.ingest.detect import detect


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, "content")
    return file.getvalue()


BINARY = {
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "DOCX": archive("[Content_Types].xml", "word/document.xml"),
    "XLSX": archive("xl/workbook.xml"),
    "ZIP": archive("a.txt"),
    "gzip": gzip.compress(b"text"),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(100),
    "executable": b"\x7fELF" + bytes(100),
    "SQLite": b"SQLite format 3\x00" + bytes(100),
    "MP3": b"ID3\x03\x00" + bytes(100),
    "RTF": b"{\\rtf1\\ansi Hello}",
    "binary data": random.Random(1).randbytes(5000),
    "tar": b"name".ljust(257, b"\0") + b"ustar\x0000" + bytes(300),
}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("declared", ["text/plain", "text/html", ""])
def test_binary_is_refused_by_name_whatever_is_declared(tmp_path: Path, kind: str, declared: str) -> None:
    (tmp_path / "f").write_bytes(BINARY[kind])
    with pytest.raises(DocumentError) as caught:
        detect(tmp_path / "f", declared, "notes.txt")
    assert caught.value.code == "document_unsupported"
    assert kind in caught.value.detail


def test_binary_after_a_text_head_is_found(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"plain text\n" * 10_000 + random.Random(2).randbytes(400_000))
    with pytest.raises(DocumentError) as caught:
        detect(tmp_path / "f", "text/plain")
    assert caught.value.code == "document_unsupported"


def test_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(DocumentError) as caught:
        detect(tmp_path / "f", "text/plain")
    assert caught.value.code == "document_empty"


@pytest.mark.parametrize(
    ("content", "declared", "name", "kind"),
    [
        (b"<!DOCTYPE html><p>x", "text/plain", "", "text/html"),
        (b"\xef\xbb\xbf  <HTML><p>x", "", "", "text/html"),
        ("<!doctype html><p>x".encode("utf-16"), "", "", "text/html"),
        (b"<?xml version='1.0'?>\n<!-- a --> <!-- b -->\n<!DOCTYPE html><html>", "text/xml", "", "text/html"),
        (b"some <b>bold</b> words", "text/html; charset=utf-8", "", "text/html"),
        (b"no markup at all, a < b", "text/html", "", "text/plain"),
        (b"<div>x</div>", "", "", "text/html"),
        (b"<div align=center>\n\n# Readme\n", "text/plain", "README.md", "text/markdown"),
        (b"<!-- note -->\n# Readme\n", "", "readme.md", "text/markdown"),
        (b"# Title", "text/markdown", "", "text/markdown"),
        (b"a,b\n1,2\n", "text/csv", "t.csv", "text/csv"),
        (b'{"a": 1}', "application/json", "", "text/plain"),
        (b"words", "image/png", "x.png", "text/plain"),
        (b"ID3 tags are explained here. GIF89a too.", "", "", "text/plain"),
        (b"a stray \x00 zero", "text/plain", "", "text/plain"),
        (b"\x1b[31mred\x1b[0m log\n" * 50, "", "", "text/plain"),
        ("words in utf-16".encode("utf-16-le"), "", "", "text/plain"),
    ],
)
def test_kinds_of_text(tmp_path: Path, content: bytes, declared: str, name: str, kind: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert detect(tmp_path / "f", declared, name).media_type == kind


def test_a_page_of_comments_is_sniffed_in_linear_time(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"<!-- x -->" * 6000 + b"text")
    assert detect(tmp_path / "f", "text/plain").media_type == "text/plain"
