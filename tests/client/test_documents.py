"""What may be named as a document, and how a mistake is explained."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from longfold_client import DocumentInfo, DocumentRef, InvalidArgument
from longfold_client.documents import names, prepare
from longfold_client.upload import PIECE, Upload

ID = "doc_" + "ab" * 32


def test_every_kind_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    info = DocumentInfo(document_id=ID, title="Info", media_type="text/plain", bytes=1, characters=1, sha256="ab" * 32)
    given = [
        "https://example.com/a",
        ID,
        path,
        DocumentRef(text="t", title="T"),
        {"url": "https://example.com/b"},
        info,
    ]
    prepared = prepare(given)
    assert [type(item).__name__ for item in prepared] == ["DocumentRef", "DocumentRef", "Upload", *["DocumentRef"] * 3]
    assert prepared[1] == DocumentRef(document_id=ID)
    assert prepared[5] == DocumentRef(document_id=ID, title="Info")
    assert names(prepared) == [
        "https://example.com/a",
        "doc_abababab…",
        "notes.txt",
        "T",
        "https://example.com/b",
        "Info",
    ]


def test_a_single_document_needs_no_list() -> None:
    assert prepare("https://example.com/a") == [DocumentRef(url="https://example.com/a")]
    assert prepare({"text": "x"}) == [DocumentRef(text="x")]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "at least one"),
        (["notes.txt"], r"document 1: 'notes.txt' is not a URL.*pathlib"),
        (["https://example.com", {"url": "x", "text": "y"}], "document 2: give exactly one of"),
        ([{"link": "x"}], "document 1: .*link"),
        ([Path("/nowhere/at/all")], "document 1: cannot read /nowhere/at/all: No such file"),
        ([b"bytes"], "document 1: a bytes is no document.*upload"),
        (7, "a list is needed"),
    ],
)
def test_mistakes_are_named(documents: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        prepare(documents)


def test_a_mistake_does_not_repeat_the_text() -> None:
    with pytest.raises(InvalidArgument) as caught:
        prepare([{"text": "my secret", "title": "x" * 600}])
    assert "secret" not in str(caught.value) and "title" in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="folder"):
        Upload(tmp_path)


def test_a_file_is_read_in_pieces_from_where_it_stands_and_again() -> None:
    data = bytes(range(256)) * (PIECE // 100)
    file = io.BytesIO(data)
    file.seek(5)
    upload = Upload(file)
    assert upload.size == len(data) - 5
    pieces = list(upload.pieces())
    assert max(map(len, pieces)) <= PIECE and b"".join(pieces) == data[5:]
    assert upload.repeatable and b"".join(upload.pieces()) == data[5:]


class Pipe(io.RawIOBase):
    def __init__(self) -> None:
        self.left = [b"ab", b"cd"]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.left.pop(0) if self.left else b""


def test_a_pipe_has_no_size_and_is_read_once() -> None:
    upload = Upload(Pipe())  # type: ignore[arg-type]
    assert upload.size is None and upload.repeatable
    assert b"".join(upload.pieces()) == b"abcd"
    assert not upload.repeatable


def test_a_text_file_object_and_a_shrinking_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="binary"):
        list(Upload(io.StringIO("text")).pieces())  # type: ignore[arg-type]
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 100)
    upload = Upload(path)
    path.write_bytes(b"x")
    with pytest.raises(InvalidArgument, match="shorter"):
        list(upload.pieces())


def test_title_and_type_come_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<p>x")
    upload = Upload(path)
    assert (upload.title, upload.media_type, upload.size) == ("page.html", "text/html", 4)
    assert Upload(b"x").media_type == "application/octet-stream"


def test_a_name_that_is_no_unicode_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("x")
    assert Upload(path).title == "caf?.txt"
