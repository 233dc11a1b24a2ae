from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_server.ingest.folder import STRIDE, Folder

TEXT = "".join(f"line {number}: naïve 日本語 🙂 plain\n" for number in range(9_000))


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_a_text_is_stored_once_under_its_hash(tmp_path: Path) -> None:
    blobs = Folder(tmp_path)
    blob = blobs.put(iter([TEXT[:1000], "", TEXT[1000:]]))
    assert blob.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (blob.characters, blob.bytes) == (len(TEXT), len(TEXT.encode()))
    assert blob.path.read_text("utf-8") == TEXT
    before = files(tmp_path)
    assert blobs.put(iter([TEXT])) == blob
    assert files(tmp_path) == before
    assert blobs.get(blob.sha256) == blob == Folder(tmp_path).get(blob.sha256)


def test_unknown_and_malformed_hashes(tmp_path: Path) -> None:
    blobs = Folder(tmp_path)
    assert blobs.get("0" * 64) is None
    for name in ("", "../../etc/passwd", "0" * 63, "A" * 64, "0" * 64 + "\n"):
        with pytest.raises(ValueError, match="SHA-256"):
            blobs.get(name)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield "some text"
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError, match="source failed"):
        Folder(tmp_path).put(broken())
    assert files(tmp_path) == []


def test_a_damaged_blob_is_not_served_and_is_written_anew(tmp_path: Path) -> None:
    blobs = Folder(tmp_path)
    blob = blobs.put(iter([TEXT]))
    blob.path.write_bytes(b"cut")
    assert blobs.get(blob.sha256) is None
    assert blobs.put(iter([TEXT])) == blob
    assert blob.path.read_text("utf-8") == TEXT


def test_damage_that_keeps_the_size_is_found_too(tmp_path: Path) -> None:
    blob = Folder(tmp_path).put(iter([TEXT]))
    damaged = blob.path.read_bytes().replace(b"plain", b"pla1n", 1)
    blob.path.write_bytes(damaged)
    assert Folder(tmp_path).get(blob.sha256) is None
    assert Folder(tmp_path).put(iter([TEXT])) == blob
    assert Folder(tmp_path).get(blob.sha256) == blob


def test_old_temporary_files_are_swept_and_young_ones_kept(tmp_path: Path) -> None:
    blobs = Folder(tmp_path)
    with blobs.temporary() as young, blobs.temporary() as old:
        young.write_text("x")
        old.write_text("x")
        os.utime(old, (0, 0))
        Folder(tmp_path)
        assert young.exists() and not old.exists()


def test_concurrent_writers_of_one_text_agree(tmp_path: Path) -> None:
    results = []
    threads = [threading.Thread(target=lambda: results.append(Folder(tmp_path).put(iter([TEXT])))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(set(results)) == 1
    assert results[0].path.read_text("utf-8") == TEXT


def test_pieces_start_at_a_byte_between_characters(tmp_path: Path) -> None:
    blobs = Folder(tmp_path)
    blob = blobs.put(iter([TEXT]))
    start = 12_345
    pieces = list(blobs.pieces(blob.sha256, len(TEXT[:start].encode()), 1000))
    assert "".join(pieces) == TEXT[start:]
    assert {len(piece) for piece in pieces[:-1]} == {1000}
    assert list(blobs.pieces(blob.sha256, blob.bytes, 10)) == []
    inside = len(b"line 0: na") + 1
    with pytest.raises(ValueError, match="inside a character"):
        next(blobs.pieces(blob.sha256, inside, 10))


@given(start=st.integers(0, len(TEXT) + 10), length=st.integers(-5, 3 * STRIDE))
def test_spans_are_exact(tmp_path_factory: pytest.TempPathFactory, start: int, length: int) -> None:
    blobs = Folder(tmp_path_factory.getbasetemp() / "spans")
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    if blobs.get(sha256) is None:
        blobs.put(TEXT[place : place + 7_777] for place in range(0, len(TEXT), 7_777))
    assert blobs.span(sha256, start, start + length) == TEXT[start : max(start, start + length)]


@given(st.integers(0, len(TEXT) + 10))
def test_lines_are_counted(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    blobs = Folder(tmp_path_factory.getbasetemp() / "lines")
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    if blobs.get(sha256) is None:
        blobs.put(TEXT[cut : cut + 7_777] for cut in range(0, len(TEXT), 7_777))
    assert blobs.lines(sha256, place) == TEXT[:place].count("\n")


def test_an_index_is_part_of_what_is_stored(tmp_path: Path) -> None:
    blobs = Folder(tmp_path)
    (tmp_path / "marks").write_text("rows\n")
    plain, marked = blobs.put(iter([TEXT])), blobs.put(iter([TEXT]), marks=tmp_path / "marks")
    assert plain.marks is None and marked.marks is not None
    assert marked.marks.read_text() == "rows\n"
    assert marked.sha256 == hashlib.sha256(TEXT.encode() + b"\0rows\n").hexdigest() != plain.sha256
    assert blobs.get(marked.sha256) == marked == Folder(tmp_path).get(marked.sha256)
    marked.marks.write_text("rowz\n")
    assert blobs.get(marked.sha256) is None
    marked.marks.unlink()
    assert Folder(tmp_path).get(marked.sha256) is None
    assert blobs.get(plain.sha256) == plain


def test_what_an_older_version_stored_counts_as_absent(tmp_path: Path) -> None:
    blob = Folder(tmp_path).put(iter([TEXT]))
    facts = blob.path.with_suffix(".json")
    facts.write_text(facts.read_text().replace('"version": 2', '"version": 1'))
    assert Folder(tmp_path).get(blob.sha256) is None
    assert Folder(tmp_path).put(iter([TEXT])) == blob == Folder(tmp_path).get(blob.sha256)


def test_an_old_folder_of_a_parser_is_swept(tmp_path: Path) -> None:
    Folder(tmp_path)
    left = tmp_path / "tmp" / "scratch"
    left.mkdir()
    (left / "member").write_text("x")
    os.utime(left, (0, 0))
    Folder(tmp_path)
    assert not left.exists()
