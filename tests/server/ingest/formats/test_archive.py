"""Archives: what is read of them and under which path, what is left out and why, and what ends them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from longfold_server.errors import DocumentError
from longfold_server.ingest import formats
from longfold_server.ingest.detect import detect
from longfold_server.ingest.formats.source import BINARY, Budget, Source
from longfold_server.ingest.formats.writer import Writer

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".tar": lambda data: data,
    ".tar.gz": gzip.compress,
    ".tar.zst": zstandard.compress,
    ".tar.xz": lzma.compress,
    ".tar.bz2": bz2.compress,
}


class Read:
    """What was read of a file."""

    def __init__(self, folder: Path, data: bytes, name: str, budget: Budget | None = None) -> None:
        path = folder / "archive"
        path.write_bytes(data)
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        text, index = io.StringIO(), io.StringIO()
        media_type = detect(path, "", name).media_type
        writer = Writer(text, index, media_type)
        formats.read(Source(path, media_type, BINARY, name, self.scratch, budget=budget or Budget()), writer)
        writer.close()
        self.text = text.getvalue()
        rows = [json.loads(line) for line in index.getvalue().splitlines()]
        self.marks = [(row[1], row[2]) for row in rows if isinstance(row[0], int)]
        self.files = [value for kind, value in self.marks if kind == "file"]
        self.skipped = {row[1]: row[2] for row in rows if row[0] == "skipped"}
        self.messages = {row[1]: row[3] for row in rows if row[0] == "skipped"}


@pytest.fixture
def reading(tmp_path: Path) -> Callable[..., Read]:
    return lambda data, name="x", budget=None: Read(tmp_path, data, name, budget)


def zipped(members: dict[str, bytes | str], **fields: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **({"compression": zipfile.ZIP_DEFLATED} | fields)) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: dict[str, bytes | tarfile.TarInfo], **fields: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **fields) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def flagged(data: bytes, name: bytes, flag: int) -> bytes:
    """A ZIP with a flag turned over at one member, in both of its headers."""
    changed = bytearray(data)
    for header, flags, names in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        at = changed.find(header)
        while at >= 0:
            if changed[at + names : at + names + len(name)] == name:
                changed[at + flags] ^= flag & 0xFF
                changed[at + flags + 1] ^= flag >> 8
            at = changed.find(header, at + 1)
    return bytes(changed)


TREE = {"src/a.py": b"x = 1\ny = 2\n", "src/b.py": b"z = 3", "README.md": b"# Title\n\nText.\n"}


@pytest.mark.parametrize("ending", PACKED)
def test_a_tree_is_the_same_text_however_it_is_packed(reading: Callable[..., Read], ending: str) -> None:
    found = reading(PACKED[ending](tarred(dict(TREE))), "tree" + ending)
    assert found.text == reading(zipped(dict(TREE)), "tree.zip").text
    assert found.text == (
        "==> src/a.py <==\n\nx = 1\ny = 2\n\n==> src/b.py <==\n\nz = 3\n\n==> README.md <==\n\n# Title\n\nText.\n"
    )
    assert found.marks[:4] == [("file", "src/a.py"), ("line", "1"), ("file", "src/b.py"), ("line", "1")]
    assert found.files == list(TREE) and not found.skipped
    assert list(found.scratch.iterdir()) == []


def test_an_archive_in_an_archive_is_read_and_a_third_one_is_not(reading: Callable[..., Read]) -> None:
    third = zipped({"c.txt": "three"})
    second = gzip.compress(tarred({"b.txt": b"two", "third.zip": third}))
    found = reading(zipped({"a.txt": "one", "in/second.tgz": second, "log.gz": gzip.compress(b"four\n")}), "x.zip")
    assert found.files == ["a.txt", "in/second.tgz/b.txt", "log.gz"]
    assert found.skipped == {"in/second.tgz/third.zip": "too_deep"} and "three" not in found.text
    assert "four" in found.text


def test_a_compressed_file_is_the_document_itself(reading: Callable[..., Read]) -> None:
    found = reading(gzip.compress(b"one\n") + gzip.compress(b"two\n"), "app.log.gz")
    assert (found.text, found.marks) == ("one\ntwo\n", [("line", "1")])
    page = b"<!doctype html><title>T</title><h1 id=i>Heading</h1><p>Text."
    assert ("heading", "Heading") in reading(zstandard.compress(page), "page.html.zst").marks
    with pytest.raises(DocumentError) as caught:
        reading(gzip.compress(random.Random(1).randbytes(1000)), "x.gz")
    assert caught.value.code == "document_unsupported"


def test_paths_that_lead_out_are_not_read(reading: Callable[..., Read]) -> None:
    names = ["../up.txt", "/etc/passwd", "a/../../up", "C:\\windows\\x.txt", "..\\down.txt"]
    found = reading(zipped({**dict.fromkeys(names, "evil"), "./fine/..x.txt": "good"}))
    assert found.files == ["fine/..x.txt"] and "evil" not in found.text
    assert set(found.skipped.values()) == {"unsafe_path"} and len(found.skipped) == len(names)
    tar = reading(tarred(dict.fromkeys(names[:3], b"evil") | {"good.txt": b"good"}))
    assert tar.files == ["good.txt"] and set(tar.skipped.values()) == {"unsafe_path"}


def test_links_and_devices_are_not_followed(reading: Callable[..., Read], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    members: dict[str, bytes | tarfile.TarInfo] = {
        "good.txt": b"good",
        "soft": member("soft", tarfile.SYMTYPE, str(secret)),
        "hard": member("hard", tarfile.LNKTYPE, "good.txt"),
        "pipe": member("pipe", tarfile.FIFOTYPE),
        "disk": member("disk", tarfile.BLKTYPE),
        "folder": member("folder", tarfile.DIRTYPE),
    }
    found = reading(tarred(members))
    assert found.files == ["good.txt"] and "secret" not in found.text
    assert found.skipped == {"soft": "link", "hard": "link", "pipe": "unsupported", "disk": "unsupported"}
    link = zipfile.ZipInfo("soft")
    link.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(link, str(secret))
    found = reading(out.getvalue())
    assert (found.files, found.skipped) == (["good.txt"], {"soft": "link"})


def test_members_that_cannot_be_read_cost_themselves_only(reading: Callable[..., Read]) -> None:
    data = zipped({"a.txt": "good", "locked.txt": "x" * 50, "torn.txt": "y" * 50, "late.txt": "late"}, compression=0)
    data = flagged(data, b"locked.txt", 1).replace(b"y" * 50, b"y" * 49 + b"z")
    found = reading(data)
    assert found.files == ["a.txt", "late.txt"]
    assert found.skipped == {"locked.txt": "encrypted", "torn.txt": "undecodable"}
    picture = b"\x89PNG\r\n\x1a\n\x00\x00"
    members: dict[str, bytes | str] = {"p.png": picture, "p.pdf": b"%PDF-1.4 torn", "blank.txt": " \n", "empty": b""}
    found = reading(zipped({**members, "a.txt": "good"}))
    assert found.files[-1] == "a.txt" and found.messages["p.png"] == "it is a PNG image (not supported)"
    assert found.skipped == {"p.png": "binary", "p.pdf": "undecodable"}


def test_other_compressions_are_told(reading: Callable[..., Read]) -> None:
    found = reading(zipped({"b.txt": "text" * 100}, compression=zipfile.ZIP_LZMA))
    assert found.skipped == {"b.txt": "unsupported"} and found.text == ""


def test_an_archive_wholly_under_a_password(reading: Callable[..., Read]) -> None:
    with pytest.raises(DocumentError) as caught:
        reading(flagged(flagged(zipped({"a": "1", "b/": "", "b/c": "2"}), b"a", 1), b"b/c", 1))
    assert caught.value.code == "document_encrypted"


def test_version_control_and_copies_are_left_out_and_counted(reading: Callable[..., Read]) -> None:
    names = [".git/config", ".git/HEAD", "web/node_modules/x/index.js", "web/node_modules/y.js", "vendor/m/a.go"]
    found = reading(
        zipped(
            {".git/": ""} | dict.fromkeys(names, "copied") | {"vendor/contract.txt": "The contract.", "a.go": "mine"}
        )
    )
    assert found.files == ["vendor/contract.txt", "a.go"]
    assert set(found.skipped) == {".git/", "web/node_modules/", "vendor/"}
    assert found.messages[".git/"] == "2 files: the history of version control"


def test_what_macos_adds_is_left_out_and_counted(reading: Callable[..., Read]) -> None:
    names = ["__MACOSX/._a.txt", ".DS_Store", "in/.DS_Store", "a.txt", "about.DS_Store"]
    found = reading(zipped(dict.fromkeys(names, "text")))
    assert found.files == ["a.txt", "about.DS_Store"]
    assert found.skipped == {"__MACOSX/": "vendored", ".DS_Store": "vendored"}
    assert found.messages[".DS_Store"] == "2 files: made by macOS"


def test_names_in_any_encoding_are_one_harmless_line(reading: Callable[..., Read]) -> None:
    marked = zipped({"grüße.txt": "a"})
    unmarked = flagged(marked, "grüße.txt".encode(), 0x800)
    assert reading(marked).files == reading(unmarked).files == ["grüße.txt"] and marked != unmarked
    bad = "a\nb\x1b[2J\u202e.txt"
    [name] = reading(tarred({bad: b"text"})).files
    assert name == "a\ufffdb\ufffd[2J\ufffd.txt"
    latin = tarred({"zzé.txt": b"text"}, format=tarfile.USTAR_FORMAT, encoding="latin-1")
    assert reading(latin).files == ["zz\ufffd.txt"]


BOMBS = {
    "gzip": lambda: gzip.compress(b"\0" * 30_000_000),
    "zstd": lambda: zstandard.compress(b"\0" * 30_000_000),
    "xz": lambda: lzma.compress(b"\0" * 30_000_000),
    "bzip2": lambda: bz2.compress(b"\0" * 30_000_000),
    "zip": lambda: zipped({"zeros.txt": b"\0" * 30_000_000}),
    "nested": lambda: zipped({"in.zip": zipped({"zeros.txt": b"\0" * 30_000_000})}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_stop_soon(reading: Callable[..., Read], kind: str) -> None:
    budget = Budget()
    with pytest.raises(DocumentError) as caught:
        reading(BOMBS[kind](), "bomb", budget)
    assert caught.value.code == "document_too_large"
    assert 2_000_000_000 - budget.bytes < 12_000_000


def test_the_whole_is_counted_over_all_members(reading: Callable[..., Read]) -> None:
    text = random.Random(2).randbytes(30_000).hex()
    inner = zipped({"d.txt": text, "e.txt": text})
    with pytest.raises(DocumentError) as caught:
        reading(zipped({"a.txt": text, "b.txt": text, "c.zip": inner}), "x.zip", Budget(bytes=200_000))
    assert caught.value.code == "document_too_large"
    assert len(reading(zipped({"a.txt": text, "b.txt": text}), "x.zip", Budget(bytes=200_000)).files) == 2


def test_members_are_counted_folders_too(reading: Callable[..., Read]) -> None:
    folders = {f"d{n}/": member(f"d{n}/", tarfile.DIRTYPE) for n in range(30)}
    for data in (zipped({f"{n}.txt": "x" for n in range(30)}), tarred({**folders})):
        with pytest.raises(DocumentError) as caught:
            reading(data, "x", Budget(members=29))
        assert caught.value.code == "document_too_large"


def test_a_member_may_lie_about_its_size(reading: Callable[..., Read]) -> None:
    data = bytearray(zipped({"a.txt": "word " * 2000, "b.txt": "good"}))
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = (17).to_bytes(4, "little")
    found = reading(bytes(data))
    assert (found.files, found.skipped) == (["b.txt"], {"a.txt": "undecodable"})


@pytest.mark.parametrize("ending", [*PACKED, ".zip"])
def test_a_cut_archive_is_damaged_wherever_it_is_cut(reading: Callable[..., Read], ending: str) -> None:
    members = {f"{n}.txt": random.Random(n).randbytes(700).hex().encode() for n in range(6)}
    whole = zipped(dict(members)) if ending == ".zip" else PACKED[ending](tarred(dict(members)))
    complete = reading(whole, "x" + ending)
    assert len(complete.files) == 6
    for cut in random.Random(5).sample(range(600, len(whole) - 1), 60):
        try:
            found = reading(whole[:cut], "x" + ending)
        except DocumentError as error:
            assert error.code in ("document_undecodable", "document_unsupported"), cut
        else:
            # A tar has no end that it could not have: cut between two members it is a shorter one.
            assert ending == ".tar" and complete.text.startswith(found.text), cut


def test_a_negative_size_in_a_tar_is_damage(reading: Callable[..., Read]) -> None:
    back = tarfile.TarInfo("back.txt")
    back.size = -512
    data = tarred({"a.txt": b"good"})[:1024] + back.tobuf(tarfile.GNU_FORMAT) + tarred({"b.txt": b"lost"})
    with pytest.raises(DocumentError) as caught:
        reading(data, "x.tar")
    assert caught.value.code == "document_undecodable"


def test_an_empty_archive_has_no_text(reading: Callable[..., Read]) -> None:
    assert reading(zipped({})).text == ""
