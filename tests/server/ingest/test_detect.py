from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import zstandard
from samples import docx, epub, packed, pptx, protected_office, taped, xlsx

from longfold_server.errors import DocumentError
from longfold_server.ingest.detect import DOCX, PPTX, XLSX, detect


def archive(*names: str, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.comment = comment
        for name in names:
            made.writestr(name, "content")
    return file.getvalue()


BINARY = {
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(100),
    "executable": b"\x7fELF" + bytes(100),
    "SQLite": b"SQLite format 3\x00" + bytes(100),
    "MP3": b"ID3\x03\x00" + bytes(100),
    "RTF": b"{\\rtf1\\ansi Hello}",
    "binary data": random.Random(1).randbytes(5000),
}
MARKLESS = {
    "TrueType": b"\x00\x01\x00\x00\x00\x0c\x00\x80\x00\x03\x00\x40OS/2",
    "OpenType": b"OTTO\x00\x0c\x00\x80\x00\x03\x00\x40CFF ",
    "PE": b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00",
}
"""Heads of formats that are not told apart."""


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("declared", ["text/plain", "text/html", ""])
def test_binary_is_refused_by_name_whatever_is_declared(tmp_path: Path, kind: str, declared: str) -> None:
    (tmp_path / "f").write_bytes(BINARY[kind])
    with pytest.raises(DocumentError) as caught:
        detect(tmp_path / "f", declared, "notes.txt")
    assert caught.value.code == "document_unsupported"
    assert kind in caught.value.detail


@pytest.mark.parametrize("kind", MARKLESS)
def test_what_has_no_mark_here_is_refused_as_binary_data(tmp_path: Path, kind: str) -> None:
    (tmp_path / "f").write_bytes(MARKLESS[kind])
    with pytest.raises(DocumentError, match="binary data"):
        detect(tmp_path / "f", "", "notes.txt")


PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PDF, "application/pdf"),
        (b"\n junk \x00" + PDF, "application/pdf"),
        (docx("x"), DOCX),
        (xlsx([["x"]]), XLSX),
        (pptx("x"), PPTX),
        (epub("x"), "application/epub+zip"),
        (archive("a.txt"), "application/zip"),
        (archive("word/document.xml"), "application/zip"),
        (archive("[Content_Types].xml", *(f"media/{n}" for n in range(2_000)), "word/document.xml"), DOCX),
        (archive("[Content_Types].xml", "word/a", comment=b"PK" * 32_767), DOCX),
        (archive("[Content_Types].xml", "word/document2.xml"), DOCX),
        (archive("META-INF/container.xml", "b.opf"), "application/epub+zip"),
        (archive(), "application/zip"),
        *(
            (packed({"a file": inner, "b.txt": "x", "c file": inner}, zipfile.ZIP_STORED), "application/zip")
            for inner in (docx("x"), epub("x"), PDF, archive("[Content_Types].xml", "xl/workbook.bin"))
        ),
        (taped([(tarfile.TarInfo("a.pdf"), PDF), (tarfile.TarInfo("b.pdf"), PDF)]), "application/x-tar"),
        (
            packed(
                {"[Content_Types].xml": "", "ppt/a.xlsx": xlsx([["x"]]), "ppt/b.docx": docx("x")}, zipfile.ZIP_STORED
            ),
            PPTX,
        ),
        (gzip.compress(b"text"), "application/gzip"),
        (zstandard.compress(b"text"), "application/zstd"),
        (b"name".ljust(257, b"\0") + b"ustar\x0000" + bytes(300), "application/x-tar"),
    ],
)
@pytest.mark.parametrize("declared", ["text/plain", "text/html", ""])
def test_formats_by_content_whatever_is_declared(
    tmp_path: Path, content: bytes, media_type: str, declared: str
) -> None:
    (tmp_path / "f").write_bytes(content)
    assert detect(tmp_path / "f", declared, "notes.txt").media_type == media_type


def test_a_password_is_told_apart_from_old_office(tmp_path: Path) -> None:
    old = protected_office().replace(b"E\0n\0c", b"O\0l\0d")
    for content, code in ((protected_office(), "document_encrypted"), (old, "document_unsupported")):
        (tmp_path / "f").write_bytes(content)
        with pytest.raises(DocumentError) as caught:
            detect(tmp_path / "f")
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (packed({"mimetype": "application/vnd.oasis.opendocument.text"}, zipfile.ZIP_STORED), "OpenDocument"),
        (archive("content.xml", "mimetype", "META-INF/manifest.xml"), "OpenDocument"),
        (archive("[Content_Types].xml", "xl/workbook.bin"), "binary Excel"),
    ],
)
def test_office_files_that_are_not_read_are_named(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DocumentError, match=named) as caught:
        detect(tmp_path / "f")
    assert caught.value.code == "document_unsupported"


def test_names_that_overlap_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"PK\x03\x04x\xff\xff" * 9_400)
    tracemalloc.start()
    detect(tmp_path / "f")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


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
        (b'{"a": 1}', "text/plain", "", "application/json"),
        (b' [1, {"a": "x"}', "", "", "application/json"),
        (b'["cut off by the sam', "", "", "application/json"),
        (b"[1] Smith, J. (1999)", "", "", "text/plain"),
        (b"{not: json}", "application/json", "", "text/plain"),
        (b'{"a": 1}\n{"a": "}"}\n', "application/json", "", "application/x-ndjson"),
        (b'{"a": 1,\n"b": 2}\n', "", "x.jsonl", "application/json"),
        ('{"by": "Ålesund"}\n'.encode() * 2, "", "", "application/x-ndjson"),
        (b'{"' + b'\\"' * 99 + b"\n", "", "", "text/plain"),
        (b"a,b,c\n" * 6, "text/plain", "", "text/csv"),
        (b'"a, b",c;d;e\n' * 6, "", "x.txt", "text/csv"),
        (b"a\tb\n" * 6, "", "", "text/tab-separated-values"),
        ("Åse,Ålesund,7\r\n".encode() * 6, "", "", "text/csv"),
        (b"one, two, three\nfour\n" * 6, "", "", "text/plain"),
        (b"f(a, b, c)\n" * 6, "", "x.py", "text/plain"),
        (b"From: a@b\nTo: c@d\nSubject: x\n\nwords", "text/plain", "Re.EML", "message/rfc822"),
        (b"From: a@b\nTo: c@d\nSubject: x\n\nwords", "message/rfc822", "", "message/rfc822"),
        (b"From: a@b\nTo: c@d\nMessage-ID: <1@b>\n\nwords", "text/plain", "mail.txt", "message/rfc822"),
        (b"From: a@b\nTo: c@d\nSubject: x\nContent-Type: text/plain\n\nwords", "", "", "message/rfc822"),
        (b"TO: All\nFROM: Jane\nDATE: 3 March\nRE: The code is 58213\n\nwords", "text/plain", "", "text/plain"),
        (b"TO: All\nFROM: Jane\nDATE: 3 March\nRE: The code is 58213\n\nwords", "", "memo.md", "text/markdown"),
        (b"From:\tJane\nSent:\tMonday\nTo:\tBob\nSubject:\tBudget\n\nwords", "", "mail.txt", "text/plain"),
        (b"From x Mon\nFrom: a@b\nDate: y\nReceived: by\n  z\n\nwords", "", "", "message/rfc822"),
        (b"From: here\nTo: there\n\nwords", "", "", "text/plain"),
        (b"From: here\nTo: there\nno header at all\nDate: x\n\nwords", "", "", "text/plain"),
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
