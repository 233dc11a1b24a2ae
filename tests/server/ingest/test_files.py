from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from longfold_server.errors import DocumentError
from longfold_server.ingest.fetched import Fetched, Unchanged, nothing
from longfold_server.ingest.files import Files
from longfold_server.ingest.transfer import Validators


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file, beside a secret that is not in it."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "docs-of-another").mkdir()
    (tmp_path / "docs-of-another" / "a.txt").write_text("secret")
    (tmp_path / "docs" / "in").mkdir(parents=True)
    (tmp_path / "docs" / "in" / "näme 1.txt").write_text("hello")
    return tmp_path / "docs"


async def refused(files: Files, url: str, target: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        await files.fetch(url, target, nothing)
    return caught.value.code


async def test_a_file_below_the_root_is_read_and_known_again(root: Path, tmp_path: Path) -> None:
    files, target = Files(root, 1_000), tmp_path / "target"
    url = f"file://{root}/in/n%C3%A4me%201.txt"
    got = await files.fetch(url, target, nothing)
    assert isinstance(got, Fetched)
    assert (got.bytes, got.sha256, target.read_text()) == (5, hashlib.sha256(b"hello").hexdigest(), "hello")

    async def known(asked: str) -> Validators:
        return got.validators if asked == url else Validators()

    assert await files.fetch(url, target, known) == Unchanged(url)
    (root / "in" / "näme 1.txt").write_text("changed")
    assert isinstance(await files.fetch(url, target, known), Fetched)
    assert target.read_text() == "changed"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/in/../../secret.txt",
        "/in/%2e%2e/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "-of-another/a.txt",
        "/../docs/in/näme 1.txt",
        "",
        "/",
        "/../missing.txt",
    ],
)
async def test_nothing_outside_the_root_is_read(root: Path, tmp_path: Path, path: str) -> None:
    assert await refused(Files(root, 1_000), f"file://{root}{path}", tmp_path / "target") == "document_blocked"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "file:////etc/passwd", "FILE:///etc/passwd"])
async def test_files_of_the_machine_are_not_read(root: Path, tmp_path: Path, url: str) -> None:
    assert await refused(Files(root, 1_000), url, tmp_path / "target") == "document_blocked"
    assert await refused(Files(None, 1_000), url, tmp_path / "target") == "document_blocked"


async def test_links_are_not_followed_wherever_they_stand(root: Path, tmp_path: Path) -> None:
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "inside.txt").symlink_to(root / "in" / "näme 1.txt")
    files = Files(root, 1_000)
    for path in ("link.txt", "folder/secret.txt", "inside.txt"):
        assert await refused(files, f"file://{root}/{path}", tmp_path / "target") in (
            "document_blocked",
            "document_not_found",  # a link in the place of a folder
        )
    assert not (tmp_path / "target").exists()


async def test_the_folder_itself_may_be_named_by_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").symlink_to(root)
    files = Files(tmp_path / "mount", 1_000)
    for folder in (root, tmp_path / "mount"):
        assert isinstance(await files.fetch(f"file://{folder}/in/näme 1.txt", tmp_path / "target", nothing), Fetched)


async def test_what_is_no_ordinary_file_is_refused_without_waiting(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "pipe")
    files, target = Files(root, 1_000), tmp_path / "target"
    assert await refused(files, f"file://{root}/pipe", target) == "document_unsupported"
    assert await refused(files, f"file://{root}/in", target) == "document_unsupported"
    assert await refused(files, f"file://{root}/none", target) == "document_not_found"
    assert await refused(files, f"file://{root}/in/näme 1.txt/x", target) == "document_not_found"
    assert await refused(files, f"file://elsewhere{root}/in/näme 1.txt", target) == "document_invalid"
    assert await refused(files, f"file://{root}/in/n%00", target) == "document_invalid"
    assert await refused(Files(root, 4), f"file://{root}/in/näme 1.txt", target) == "document_too_large"


@pytest.mark.parametrize("url", ["file://[x", "file://\u2100/x"])
async def test_what_cannot_be_parsed_is_no_files_url(root: Path, tmp_path: Path, url: str) -> None:
    assert await refused(Files(root, 1_000), url, tmp_path / "target") == "document_invalid"
