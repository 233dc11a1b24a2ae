"""Uploads over a folder, and over an object store (in memory, and moto's S3 over HTTP)."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore, S3Store

from longfold_client.types import DocumentInfo
from longfold_server.errors import DocumentsUnavailable, Refused
from longfold_server.uploads import FolderParts, UploadParts, Uploads, uploads
from longfold_server.uploads.bucket import BucketParts

DOCUMENT = DocumentInfo(document_id="doc_0", title="t", media_type="text/plain", bytes=9, characters=9, sha256="0")


class Broken(Exception):
    """The caller went away."""


async def sending(*pieces: bytes, broken: bool = False) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if broken:
        raise Broken


@pytest.fixture(params=["folder", "memory", "s3"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> UploadParts:
    folder = FolderParts(tmp_path / "uploads")
    if request.param == "folder":
        return folder
    if request.param == "memory":
        return BucketParts(MemoryStore(), folder)
    url, bucket = request.getfixturevalue("s3_url"), f"u{time.time_ns()}"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/{bucket}", method="PUT"), timeout=30):
        pass
    options = {"endpoint": url, "region": "us-east-1", "access_key_id": "longfold", "secret_access_key": "not-a-secret"}
    return BucketParts(S3Store(bucket, config=options, client_options={"allow_http": True}), folder)


@pytest.fixture
def ours(parts: UploadParts) -> Uploads:
    return Uploads(parts, 3600)


async def content(of: Uploads, upload: str, tenant: str = "ann") -> bytes:
    return b"".join([piece async for piece in of.content(tenant, await of.find(tenant, upload))])


async def code(call: object) -> str:
    with pytest.raises(Refused) as caught:
        await call  # type: ignore[misc]
    return str(caught.value.code)


async def test_replicas_go_on_with_each_others_uploads(parts: UploadParts) -> None:
    one, other = Uploads(parts, 3600), Uploads(parts, 3600)
    made = await one.create("ann", 11, "notes.txt", "text/plain")
    assert (made.offset, made.complete, made.document) == (0, False, None)
    assert (await other.append("ann", made.id, 0, sending(b"hello", b" "))).offset == 6
    assert await code(content(one, made.id)) == "upload_incomplete"
    done = await one.append("ann", made.id, 6, sending(b"world"))
    assert (done.complete, done.title, done.media_type) == (True, "notes.txt", "text/plain")
    assert await content(other, made.id) == b"hello world"


async def test_what_had_arrived_before_a_break_counts(ours: Uploads) -> None:
    made = await ours.create("ann", 9, "", "")
    with pytest.raises(Broken):
        await ours.append("ann", made.id, 0, sending(b"abc", b"def", broken=True))
    assert (await ours.find("ann", made.id)).offset == 6
    with pytest.raises(Broken):
        await ours.append("ann", made.id, 6, sending(broken=True))
    task = asyncio.create_task(ours.append("ann", made.id, 6, _endless(b"g", taken := asyncio.Event())))
    await taken.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await ours.find("ann", made.id)).offset == 7
    await ours.append("ann", made.id, 7, sending(b"hi"))
    assert await content(ours, made.id) == b"abcdefghi"


async def _endless(first: bytes, taken: asyncio.Event) -> AsyncIterator[bytes]:
    yield first
    taken.set()
    await asyncio.sleep(3600)


async def test_of_two_writers_at_one_place_one_is_told_so(ours: Uploads) -> None:
    made = await ours.create("ann", 6, "", "")
    both = [ours.append("ann", made.id, 0, sending(piece)) for piece in (b"abc", b"xyz")]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["Refused", "Upload"]
    assert await code(ours.append("ann", made.id, 0, sending(b"late"))) == "upload_conflict"
    assert await code(ours.append("ann", made.id, 4, sending(b"early"))) == "upload_conflict"
    await ours.append("ann", made.id, 3, sending(b"def"))
    assert await content(ours, made.id) in (b"abcdef", b"xyzdef")


async def test_no_byte_beyond_the_announced_ones_is_taken(ours: Uploads) -> None:
    made = await ours.create("ann", 5, "", "")
    assert await code(ours.append("ann", made.id, 0, sending(b"abc", b"def"))) == "request_too_large"
    assert (await ours.find("ann", made.id)).offset == 3
    assert (await ours.append("ann", made.id, 3, sending(b"de"))).complete
    assert await code(ours.append("ann", made.id, 5, sending(b"f"))) == "request_too_large"


async def test_another_tenants_upload_is_like_none(ours: Uploads) -> None:
    made = await ours.create("ann", 3, "", "")
    for upload in (made.id, "0" * 32, "../" + made.id, "x"):
        assert await code(ours.find("bob", upload)) == "upload_not_found"
        assert await code(ours.append("bob", upload, 0, sending(b"abc"))) == "upload_not_found"
        assert await code(ours.remove("bob", upload)) == "upload_not_found"
    assert (await ours.find("ann", made.id)).offset == 0


@pytest.mark.parametrize("read", [0, 1])
async def test_parts_that_go_while_they_are_read_are_no_shorter_file(ours: Uploads, read: int) -> None:
    made = await ours.create("ann", 6, "", "")
    await ours.append("ann", made.id, 0, sending(b"abc"))
    await ours.append("ann", made.id, 3, sending(b"def"))
    found = await ours.find("ann", made.id)
    content = ours.content("ann", found)
    for _ in range(read):
        await anext(content)
    await ours.become("ann", found, DOCUMENT)
    assert await code(anext(content)) == "upload_conflict"


async def test_an_upload_that_became_a_document_keeps_no_bytes(ours: Uploads, parts: UploadParts) -> None:
    made = await ours.create("ann", 3, "", "")
    await ours.append("ann", made.id, 0, sending(b"abc"))
    await ours.become("ann", await ours.find("ann", made.id), DOCUMENT)
    found = await ours.find("ann", made.id)
    assert (found.document, found.offset) == (DOCUMENT, 3)
    assert sum(parts.sizes(parts.places(uploads._owner("ann"))[0]).values()) < 1_000
    assert await code(ours.append("ann", made.id, 3, sending(b"d"))) == "upload_conflict"
    await ours.remove("ann", made.id)
    assert await code(ours.find("ann", made.id)) == "upload_not_found"


async def test_a_tenant_has_so_many_open_at_most(ours: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    first = await ours.create("ann", 3, "", "")
    await ours.create("ann", 3, "", "")
    assert await code(ours.create("ann", 3, "", "")) == "too_many_uploads"
    await ours.create("bob", 3, "", "")
    await ours.append("ann", first.id, 0, sending(b"abc"))
    await ours.become("ann", await ours.find("ann", first.id), DOCUMENT)
    await ours.create("ann", 3, "", "")


@pytest.mark.parametrize("broken", [False, True])
async def test_nothing_is_left_of_an_upload_that_is_removed_while_it_arrives(
    ours: Uploads, parts: UploadParts, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 1)
    made = await ours.create("ann", 6, "", "")

    async def removed() -> AsyncIterator[bytes]:
        yield b"abc"
        await ours.remove("ann", made.id)
        if broken:
            raise Broken

    assert await code(ours.append("ann", made.id, 0, removed())) == "upload_not_found"
    assert parts.places(uploads._owner("ann")) == []
    await ours.create("ann", 3, "", "")


async def test_nothing_is_left_of_an_upload_that_expires_while_it_becomes_a_document(
    ours: Uploads, parts: UploadParts
) -> None:
    made = await ours.create("ann", 3, "", "")
    found = await ours.append("ann", made.id, 0, sending(b"abc"))
    await ours.remove("ann", made.id)
    await ours.become("ann", found, DOCUMENT)
    assert parts.places(uploads._owner("ann")) == []


async def test_what_a_dead_process_left_is_no_open_upload(
    ours: Uploads, parts: UploadParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 1)
    with parts.temporary() as path:
        path.write_bytes(b"abc")
        parts.keep(f"{uploads._owner('ann')}/{'0' * 32}", uploads._name(0), path)
    await ours.create("ann", 3, "", "")


async def test_a_long_request_is_kept_part_by_part(
    ours: Uploads, parts: UploadParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 4)
    monkeypatch.setattr(uploads, "MOST_PARTS", 2)
    made = await ours.create("ann", 100, "", "")
    await ours.append("ann", made.id, 0, sending(b"abc", b"def", b"gh"))
    assert sorted(parts.sizes(f"{uploads._owner('ann')}/{made.id}").values())[:2] == [2, 6]
    assert await code(ours.append("ann", made.id, 8, sending(b"abcd", b"efgh"))) == "upload_conflict"  # too many parts
    await ours.remove("ann", made.id)
    assert await code(ours.find("ann", made.id)) == "upload_not_found"


async def test_a_full_disk_is_told_as_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Uploads(FolderParts(tmp_path / "uploads"), 3600)
    made = await ours.create("ann", 3, "", "")

    @contextmanager
    def full(parts: FolderParts) -> Iterator[Path]:
        # Whatever is written to this device meets a full disk.
        (tmp_path / "full").symlink_to("/dev/full")
        try:
            yield tmp_path / "full"
        finally:
            (tmp_path / "full").unlink()

    monkeypatch.setattr(FolderParts, "temporary", full)
    with pytest.raises(DocumentsUnavailable):
        await ours.append("ann", made.id, 0, sending(b"abc"))
    with pytest.raises(DocumentsUnavailable):
        await ours.create("ann", 3, "", "")
    monkeypatch.undo()
    assert (await ours.find("ann", made.id)).offset == 0


async def test_an_upload_ends_with_its_time(tmp_path: Path) -> None:
    parts = FolderParts(tmp_path)
    ours = Uploads(parts, 1.0)
    made = await ours.create("ann", 3, "", "")
    kept = await Uploads(parts, 3600).create("ann", 3, "", "")
    (tmp_path / "left-behind.new").write_bytes(b"x")
    await asyncio.sleep(1.1)
    assert await code(ours.find("ann", made.id)) == "upload_not_found"
    for path in (tmp_path / uploads._owner("ann") / kept.id).iterdir():
        os.utime(path, (time.time() + 5,) * 2)
    assert ours.expire() == 1
    assert parts.places(uploads._owner("ann")) == [f"{uploads._owner('ann')}/{kept.id}"]
    assert not (tmp_path / "left-behind.new").exists()


def test_old_uploads_of_a_bucket_are_found_once(tmp_path: Path) -> None:
    parts = BucketParts(MemoryStore(), FolderParts(tmp_path))

    async def fill() -> None:
        made = await Uploads(parts, 3600).create("ann", 3, "", "")
        await Uploads(parts, 3600).append("ann", made.id, 0, sending(b"ab"))

    asyncio.run(fill())
    assert len(list(parts.old(-5))) == 1
    assert Uploads(parts, -5).expire() == 1
    assert list(parts.old(-5)) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.booleans()), max_size=12),
)
def test_however_it_breaks_the_file_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, tries: list[tuple[int, int, bool]]
) -> None:
    """Requests at any offset, of any size, broken or not; then the rest."""

    async def send() -> bytes:
        ours = Uploads(FolderParts(tmp_path_factory.mktemp("uploads")), 3600)
        made = await ours.create("", len(body), "", "")
        for offset, size, broken in tries:
            piece = body[offset : offset + size]
            try:
                await ours.append("", made.id, offset, sending(*_split(piece), broken=broken))
            except (Refused, Broken):
                continue
        found = await ours.find("", made.id)
        if not found.complete:
            await ours.append("", made.id, found.offset, sending(body[found.offset :]))
        return await content(ours, made.id, "")

    assert asyncio.run(send()) == body


def _split(piece: bytes) -> Iterator[bytes]:
    for start in range(0, len(piece), 7):
        yield piece[start : start + 7]
