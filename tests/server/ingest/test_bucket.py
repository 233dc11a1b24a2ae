"""Texts in a bucket: in memory, in a folder, and over HTTP in moto's S3 server (a fake that speaks the protocol and
checks no signatures)."""

from __future__ import annotations

import os
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from longfold_agent.types import Position
from longfold_server.errors import ConfigError, DocumentError, DocumentsUnavailable
from longfold_server.ingest import DocumentStore, FetchLimits
from longfold_server.ingest import cache as caches
from longfold_server.ingest.bucket import Bucket, open_store
from longfold_server.ingest.cache import Cache

from .conftest import Site

TEXT = "".join(f"line {number}: naïve 日本語 🙂 plain\n" for number in range(9_000))


def use_s3(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What an operator sets for an S3-compatible store."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "longfold")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT", url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return open_store(f"file://{tmp_path}/shared")
    url = request.getfixturevalue("s3_url")
    use_s3(monkeypatch, url)
    bucket = f"b{time.time_ns()}"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/{bucket}", method="PUT"), timeout=30):
        pass
    return open_store(f"s3://{bucket}/texts/of-this-service")


@dataclass
class Replicas:
    """Processes that share a bucket and nothing else."""

    store: ObjectStore
    folder: Path

    def bucket(self, name: str, max_bytes: int = 10**12) -> Bucket:
        return Bucket(self.store, Cache(self.folder / name, max_bytes))


@pytest.fixture
def replicas(store: ObjectStore, tmp_path: Path) -> Replicas:
    return Replicas(store, tmp_path)


def key(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256[2:]}.txt"


def test_a_text_stored_by_one_replica_is_read_by_another(replicas: Replicas) -> None:
    one, two = replicas.bucket("one"), replicas.bucket("two")
    blob = one.put(iter([TEXT[:1000], TEXT[1000:]]))
    assert two.get("0" * 64) is None
    found = two.get(blob.sha256)
    assert found == replace(blob, path=found.path) and found.path != blob.path
    assert "".join(two.pieces(blob.sha256, 0, 1000)) == TEXT
    assert two.span(blob.sha256, 200_000, 200_020) == TEXT[200_000:200_020]
    assert list((replicas.folder / "two" / "tmp").iterdir()) == []


def test_a_text_of_several_parts(replicas: Replicas) -> None:
    text = TEXT * 40
    assert len(text.encode()) > 12_000_000
    blob = replicas.bucket("one").put(iter([text]))
    found = replicas.bucket("two").get(blob.sha256)
    assert found is not None and found.path.read_text("utf-8") == text


def test_an_index_travels_with_its_text(replicas: Replicas, tmp_path: Path) -> None:
    (tmp_path / "marks").write_bytes(b'["type", "a/b"]\n' * 200_000)
    one, two = replicas.bucket("one"), replicas.bucket("two")
    blob = one.put(iter([TEXT]), marks=tmp_path / "marks")
    stored = bytes(obstore.get(replicas.store, key(blob.sha256)).bytes())
    assert stored == TEXT.encode() + b"\0" + (tmp_path / "marks").read_bytes()
    found = two.get(blob.sha256)
    assert found is not None and found.marks is not None and found.path.read_text("utf-8") == TEXT
    assert found.marks.read_bytes() == (tmp_path / "marks").read_bytes()
    sent = obstore.head(replicas.store, key(blob.sha256))["last_modified"]
    time.sleep(1.1)
    two.put(iter([TEXT]), marks=tmp_path / "marks")
    assert obstore.head(replicas.store, key(blob.sha256))["last_modified"] == sent
    assert two.lines(blob.sha256, len(TEXT)) == TEXT.count("\n")


def test_what_is_there_is_not_sent_again(replicas: Replicas) -> None:
    blob = replicas.bucket("one").put(iter([TEXT]))
    sent = obstore.head(replicas.store, key(blob.sha256))["last_modified"]
    time.sleep(1.1)  # S3 tells whole seconds
    assert replicas.bucket("two").put(iter([TEXT])).sha256 == blob.sha256
    assert obstore.head(replicas.store, key(blob.sha256))["last_modified"] == sent


def test_a_damaged_object_is_not_served_and_is_written_anew(replicas: Replicas) -> None:
    one, two = replicas.bucket("one"), replicas.bucket("two")
    blob = one.put(iter([TEXT]))
    obstore.put(replicas.store, key(blob.sha256), TEXT.replace("plain", "pla1n", 1).encode())
    assert two.get(blob.sha256) is None
    two.put(iter([TEXT]))
    assert replicas.bucket("three").get(blob.sha256) is not None


def test_a_damaged_copy_is_fetched_again(replicas: Replicas) -> None:
    one = replicas.bucket("one")
    blob = one.put(iter([TEXT]))
    blob.path.write_bytes(TEXT.replace("plain", "pla1n", 1).encode())
    assert one.get(blob.sha256) == blob
    assert blob.path.read_text("utf-8") == TEXT


def test_the_cache_forgets_what_was_not_used_for_longest(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "IN_USE_SECONDS", 0.0)
    bucket = replicas.bucket("one", max_bytes=35_000)
    texts = [f"{number}" * 10_000 for number in range(4)]
    blobs = []
    for text in texts[:3]:
        blobs.append(bucket.put(iter([text])))
        time.sleep(0.05)
    bucket.get(blobs[0].sha256)
    time.sleep(0.05)
    blobs.append(bucket.put(iter([texts[3]])))
    assert [blob.path.exists() for blob in blobs] == [True, False, True, True]
    assert sum(path.stat().st_size for path in (replicas.folder / "one" / "blobs").rglob("*.txt")) <= 31_500
    again = bucket.get(blobs[1].sha256)
    assert again is not None and again.path.read_text("utf-8") == texts[1]


def test_an_index_counts_in_the_cache(replicas: Replicas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "IN_USE_SECONDS", 0.0)
    (tmp_path / "marks").write_bytes(b'["type", "a/b"]\n' * 1_000)

    def stored(bucket: Bucket, number: int) -> int:
        bucket.put(iter([f"{number}"]), marks=tmp_path / "marks")
        time.sleep(0.05)
        return sum(path.stat().st_size for path in (replicas.folder / "one" / "blobs").rglob("*") if path.is_file())

    bucket = replicas.bucket("one", max_bytes=50_000)
    sizes = [stored(bucket, number) for number in range(4)]
    assert sizes[2] > 48_000 and sizes[3] <= 45_000
    assert stored(replicas.bucket("one", max_bytes=20_000), 4) <= 20_000


def test_what_is_in_use_is_never_forgotten(replicas: Replicas) -> None:
    bucket = replicas.bucket("one", max_bytes=10)
    blobs = [bucket.put(iter([f"{number}" * 100])) for number in range(3)]
    assert all(blob.path.exists() for blob in blobs)


def test_a_store_that_is_away_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        use_s3(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    bucket = Bucket(open_store("s3://documents"), Cache(tmp_path, 10**9))
    with pytest.raises(DocumentsUnavailable):
        bucket.get("0" * 64)
    with pytest.raises(DocumentsUnavailable):
        bucket.put(iter([TEXT]))


@pytest.mark.parametrize("url", ["file://relative/folder", "file:///proc/nowhere/at/all"])
def test_a_folder_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="LONGFOLD_BLOB_URL"):
        open_store(url)


Documents = Callable[[str], DocumentStore]


@pytest.fixture
def documents(tmp_path: Path, limits: FetchLimits) -> Documents:
    shared = MemoryStore()
    return lambda name: DocumentStore(
        tmp_path / name, limits=limits, blobs=Bucket(shared, Cache(tmp_path / name, 10**9))
    )


async def test_documents_of_one_replica_are_read_by_another(site: Site, documents: Documents) -> None:
    one, two = documents("one"), documents("two")
    uploaded = await one.ingest_text(TEXT)
    fetched = await one.ingest_url(site.page("/page.html", b"<html><p>Some text</p></html>", "text/html"))
    assert (await two.get(uploaded.document_id)).characters == len(TEXT)
    assert "".join(two.open_pieces(uploaded.document_id, Position(), 1000)) == TEXT
    await two.restore(fetched.document_id, fetched.url)
    assert len(site.requests) == 1
    for store in (one, two):
        await store.aclose()


@pytest.mark.parametrize("text", ["short", TEXT])
async def test_a_cache_on_a_full_disk_is_a_store_that_is_away(
    documents: Documents, full_disk: Callable[[], None], text: str
) -> None:
    one, two = documents("one"), documents("two")
    uploaded = await one.ingest_text(text)
    full_disk()
    with pytest.raises(DocumentsUnavailable):
        await two.restore(uploaded.document_id, None)
    for store in (one, two):
        await store.aclose()


@pytest.mark.parametrize("text", [b"the same text", b"another text"])
async def test_a_lost_document_is_fetched_again_and_must_be_the_same(
    site: Site, tmp_path: Path, limits: FetchLimits, text: bytes
) -> None:
    one, two = DocumentStore(tmp_path / "one", limits=limits), DocumentStore(tmp_path / "two", limits=limits)
    fetched = await one.ingest_url(site.page("/page.txt", b"the same text"))
    site.page("/page.txt", text)
    if text == b"the same text":
        await two.restore(fetched.document_id, fetched.url, 3)
        assert two.span(fetched.document_id, 0, 8) == "the same"
    else:
        with pytest.raises(DocumentError) as caught:
            await two.restore(fetched.document_id, fetched.url, 3)
        assert (caught.value.code, caught.value.document_index) == ("document_changed", 3)
        assert str(caught.value).startswith(f"documents[3] ({site.url('/page.txt')})")
    for store in (one, two):
        await store.aclose()


async def test_a_lost_upload_is_missing(tmp_path: Path, limits: FetchLimits) -> None:
    store = DocumentStore(tmp_path, limits=limits)
    uploaded = await store.ingest_text(TEXT)
    await store.restore(uploaded.document_id, None)
    uploaded.path.write_bytes(TEXT.replace("plain", "pla1n", 1).encode())
    with pytest.raises(DocumentError) as caught:
        await store.restore(uploaded.document_id, None, 0)
    assert (caught.value.code, caught.value.document_index) == ("document_missing", 0)
    await store.aclose()
