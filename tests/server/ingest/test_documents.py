from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from samples import pdf

from longfold_agent.types import Position
from longfold_server.errors import DocumentError, DocumentsUnavailable
from longfold_server.ingest import DocumentStore, FetchLimits
from longfold_server.ingest.index import Locator

from .conftest import Site


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def left_over(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data" / "tmp").iterdir())


async def test_a_page_by_url(site: Site, store: DocumentStore, tmp_path: Path) -> None:
    page = "<html><head><meta charset=shift_jis><title>猫</title></head><body><h1>一</h1><p>吾輩は猫である。</p></body>"
    url = site.page("/cat.html", page.encode("cp932"), "text/html")
    got = await store.ingest_url(url + "?k=1", index=0)
    text = "# 一\n\n吾輩は猫である。\n"
    index = '["type", "text/html"]\n[0, "heading", "\\u4e00"]\n'
    assert got.document_id == "doc_" + hashlib.sha256(f"{text}\0{index}".encode()).hexdigest()
    assert (got.title, got.url, got.media_type, got.encoding) == ("猫", url + "?k=1", "text/html", "cp932")
    assert (got.bytes, got.characters, got.path.read_text("utf-8")) == (len(page.encode("cp932")), len(text), text)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("Grüße\r\n".encode("utf-16"), "text/plain", "Grüße\n"),
        ("Grüße".encode("cp1252"), "text/plain; charset=windows-1252", "Grüße"),
        ("吾輩は猫である".encode("cp932"), "text/plain; charset=Shift_JIS", "吾輩は猫である"),
        ("שלום מרחבא 世界".encode(), "text/plain", "שלום מרחבא 世界"),
        (b"a\x00b\x07c", "text/plain", "a\ufffdb\ufffdc"),
        ("e\u0301".encode(), "text/plain", "é"),
        (b"ok \xed\xa0\x80 " + "é".encode() * 40, "text/plain", "ok \ufffd\ufffd\ufffd " + "é" * 40),
    ],
)
async def test_encodings_end_as_canonical_text(
    site: Site, store: DocumentStore, body: bytes, content_type: str, expected: str
) -> None:
    got = await store.ingest_url(site.page("/t.txt", body, content_type))
    assert got.path.read_text("utf-8") == expected


async def test_the_same_text_is_one_blob_under_different_references(site: Site, store: DocumentStore) -> None:
    first = await store.ingest_url(site.page("/one.txt", b"same text\n"))
    second = await store.ingest_url(
        site.page("/two.txt", gzip.compress(b"same text\r\n"), Content_Encoding="gzip"), "Given"
    )
    third = await store.ingest_text("same text\n")
    fourth = await store.ingest_upload(chunks(b"same ", b"text\n"), "text/plain", "up.txt")
    assert len({got.document_id for got in (first, second, third, fourth)}) == 1
    assert [got.title for got in (first, second, third, fourth)] == ["one.txt", "Given", "same text", "up.txt"]
    assert third.url is None and third.encoding is None
    again = await store.get(first.document_id)
    assert (again.title, again.url, again.characters) == ("same text", None, 10)


async def test_titles_come_from_the_page_the_heading_or_the_name(site: Site, store: DocumentStore) -> None:
    url = site.page("/x", b"<!doctype html><h2>Only <b>heading</b></h2>text", "text/html")
    assert (await store.ingest_url(url)).title == "Only heading"
    assert (await store.ingest_url(site.page("/r.md", b"intro\n\n# Read me #\n"))).title == "Read me"
    assert (await store.ingest_url(site.page("/my%20file.py", b"# not a title\n"))).title == "my file.py"
    assert (await store.ingest_text("# Notes\n\ntext")).title == "Notes"
    assert (await store.ingest_text("x", title="  two\n lines \u202e")).title == "two lines"


async def test_errors_name_the_document_and_never_its_query(site: Site, store: DocumentStore) -> None:
    with pytest.raises(DocumentError) as caught:
        await store.ingest_url(site.url("/gone") + "?token=abc", index=3)
    assert (caught.value.code, caught.value.document_index) == ("document_not_found", 3)
    assert caught.value.detail.startswith(f"documents[3] ({site.url('/gone')}): ")
    assert "abc" not in str(caught.value)
    with pytest.raises(DocumentError) as caught:
        await store.ingest_url("ftp://me:pw@example.com/x?token=abc", index=1)
    assert caught.value.code == "document_blocked"
    assert "pw" not in caught.value.detail and "abc" not in caught.value.detail


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", "text/plain", "document_empty"),
        (b" \r\n\t ", "text/plain", "document_empty"),
        (b"<html><body><script>x</script></body></html>", "text/html", "document_empty"),
        (b"<html><body><div id=root>&#8203;&nbsp;</div></body></html>", "text/html", "document_empty"),
        (b"%PDF-1.4 binary", "text/plain", "document_undecodable"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "text/plain", "document_unsupported"),
        (random.Random(3).randbytes(10_000), "text/html", "document_unsupported"),
        (b"x" * 30_000_001, "text/plain", "document_too_large"),
    ],
)
async def test_unusable_documents(
    site: Site, store: DocumentStore, tmp_path: Path, body: bytes, content_type: str, code: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        await store.ingest_url(site.page("/d", body, content_type), index=0)
    assert caught.value.code == code
    with pytest.raises(DocumentError) as caught:
        await store.ingest_upload(chunks(body), content_type, index=0)
    assert caught.value.code == code
    assert left_over(tmp_path) == []
    assert [path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()] == []


async def test_a_line_of_twenty_megabytes(site: Site, store: DocumentStore) -> None:
    line = "word é " * 2_600_000
    got = await store.ingest_url(site.page("/line.txt", line.encode()))
    assert got.characters == len(line)
    assert store.span(got.document_id, 15_000_000, 15_000_020) == line[15_000_000:15_000_020]


async def test_reading_back(store: DocumentStore) -> None:
    text = "".join(f"{number}: 日本 é x\n" for number in range(20_000))
    got = await store.ingest_text(text)
    byte = len(text[:1000].encode())
    assert "".join(store.open_pieces(got.document_id)) == text
    assert "".join(store.open_pieces(got.document_id, Position(0, 1000, byte), 77)) == text[1000:]
    assert store.span(got.document_id, 100_000, 100_100) == text[100_000:100_100]
    with pytest.raises(ValueError, match="char_start"):
        store.span(got.document_id, -1, 5)


@pytest.mark.parametrize("name", ["", "doc_", "doc_" + "0" * 64, "doc_../../etc/passwd", "0" * 64, "doc_" + "Z" * 64])
async def test_unknown_ids(store: DocumentStore, name: str) -> None:
    with pytest.raises(DocumentError) as caught:
        await store.get(name, index=2)
    assert (caught.value.code, caught.value.document_index) == ("document_unknown_id", 2)
    with pytest.raises(DocumentError):
        store.open_pieces(name)


async def test_inline_text_may_hold_anything(store: DocumentStore) -> None:
    got = await store.ingest_text("a\ud800b\x00c\r\nd e\u0301")
    assert got.path.read_text("utf-8") == "a\ufffdb\ufffdc\nd é"
    with pytest.raises(DocumentError) as caught:
        await store.ingest_text(" \n", index=4)
    assert (caught.value.code, caught.value.document_index) == ("document_empty", 4)


async def test_a_full_disk_is_told_as_a_store_that_is_away(
    site: Site, tmp_path: Path, limits: FetchLimits, full_disk: Callable[[], None]
) -> None:
    (tmp_path / "a.txt").write_text("some text")
    store = DocumentStore(tmp_path / "data", limits=replace(limits, file_root=tmp_path))

    full_disk()
    for attempt in (
        store.ingest_upload(chunks(b"some text")),
        store.ingest_text("some text"),
        store.ingest_url(site.page("/a.txt", b"some text")),
        store.ingest_url(f"file://{tmp_path}/a.txt"),
    ):
        with pytest.raises(DocumentsUnavailable):
            await attempt
    await store.aclose()


async def test_a_broken_upload_leaves_nothing(store: DocumentStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.ingest_upload(broken())
    assert left_over(tmp_path) == []


async def test_pages_and_what_is_not_read_are_kept_with_the_text(store: DocumentStore) -> None:
    first = await store.ingest_upload(chunks(pdf("The code is 58213.", None, "The end.")), "text/plain", "log.pdf")
    again = await store.get(first.document_id)
    assert (first.title, first.media_type, first.encoding) == ("log.pdf", "application/pdf", None)
    assert again.media_type == "application/pdf" and again.skipped == first.skipped
    assert [(entry.path, entry.reason) for entry in first.skipped] == [("page 2", "scanned_page")]
    text = first.path.read_text("utf-8")
    place = text.index("The end.")
    assert store.locate(first.document_id, place, place + 7) == Locator("p. 3", "page=3")
    assert [mark.value for mark in store.marks(first.document_id)] == ["1", "2", "3"]


async def test_plain_text_is_located_by_its_lines(store: DocumentStore) -> None:
    text = "".join(f"line {number}\n" for number in range(1, 20_001))
    stored = await store.ingest_text(text)
    place = text.index("line 15000")
    assert store.locate(stored.document_id, place, place + 30) == Locator("lines 15000-15002")
    assert list(store.marks(stored.document_id)) == []


async def test_an_upload_of_scanned_pages_alone_says_so(store: DocumentStore) -> None:
    with pytest.raises(DocumentError, match="pages 1-2: scanned") as caught:
        await store.ingest_upload(chunks(pdf(None, None)))
    assert caught.value.code == "document_empty"
