"""Objects of named buckets, over HTTP in moto's S3 server."""

from __future__ import annotations

import errno
import gzip
import hashlib
import time
import urllib.request
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from longfold_server.errors import ConfigError, DocumentError
from longfold_server.ingest import objects
from longfold_server.ingest.fetched import Fetched, Unchanged, nothing
from longfold_server.ingest.objects import Objects
from longfold_server.ingest.transfer import Validators


@pytest.fixture
def options(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What an operator names for a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    return {
        "endpoint": s3_url,
        "region": "us-east-1",
        "access_key_id": "longfold",
        "secret_access_key": "not-a-secret",
        "allow_http": "true",
    }


@pytest.fixture
def bucket(s3_url: str, options: dict[str, str]) -> S3Store:
    name = f"o{time.time_ns()}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3_url}/{name}", method="PUT"), timeout=30):
        pass
    config = {key: value for key, value in options.items() if key != "allow_http"}
    return S3Store(name, config=config, client_options={"allow_http": True})


def name_of(bucket: S3Store) -> str:
    return str(bucket.config["bucket"])


async def test_an_object_is_read_in_pieces_of_one_version(
    bucket: S3Store, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PIECE", 1_000)
    body = bytes(range(256)) * 10
    obstore.put(bucket, "in/a b#1?.bin", body, attributes={"Content-Type": "text/csv"})
    url = f"s3://{name_of(bucket)}/in/a b#1?.bin"
    ours = Objects({f"s3://{name_of(bucket)}": options}, 10_000, 20)
    got = await ours.fetch(url, tmp_path / "f", nothing)
    assert isinstance(got, Fetched)
    assert (got.bytes, got.sha256, got.content_type) == (len(body), hashlib.sha256(body).hexdigest(), "text/csv")
    assert (tmp_path / "f").read_bytes() == body

    async def known(asked: str) -> Validators:
        return got.validators

    assert await ours.fetch(url, tmp_path / "f", known) == Unchanged(url)
    obstore.put(bucket, "in/a b#1?.bin", b"changed")
    assert isinstance(await ours.fetch(url, tmp_path / "f", known), Fetched)
    assert (tmp_path / "f").read_bytes() == b"changed"


async def test_a_compressed_object_is_decoded_and_counted(
    bucket: S3Store, options: dict[str, str], tmp_path: Path
) -> None:
    for name, body in (("text.txt", b"text" * 1_000), ("bomb.txt", bytes(20_000))):
        obstore.put(bucket, name, gzip.compress(body), attributes={"Content-Encoding": "aws-chunked,gzip"})
    ours = Objects({f"s3://{name_of(bucket)}": options}, 10_000, 20)
    got = await ours.fetch(f"s3://{name_of(bucket)}/text.txt", tmp_path / "f", nothing)
    assert isinstance(got, Fetched) and (tmp_path / "f").read_bytes() == b"text" * 1_000
    with pytest.raises(DocumentError) as caught:
        await ours.fetch(f"s3://{name_of(bucket)}/bomb.txt", tmp_path / "f", nothing)
    assert caught.value.code == "document_too_large"


async def test_only_named_buckets_and_prefixes_are_read(
    bucket: S3Store, options: dict[str, str], tmp_path: Path
) -> None:
    for path in ("open/a.txt", "closed/a.txt", "open-too/a.txt"):
        obstore.put(bucket, path, b"text")
    name = name_of(bucket)
    ours = Objects({f"s3://{name}/open": options}, 10_000, 20)
    assert isinstance(await ours.fetch(f"s3://{name}/open/a.txt", tmp_path / "f", nothing), Fetched)
    found = {}
    for url in (
        f"s3://{name}/closed/a.txt",
        f"s3://{name}/open-too/a.txt",
        f"s3://{name}/open/../closed/a.txt",
        f"s3://other{name}/open/a.txt",
        f"gs://{name}/open/a.txt",
        f"s3://{name}/open/none.txt",
    ):
        with pytest.raises(DocumentError) as caught:
            await ours.fetch(url, tmp_path / "f", nothing)
        found[url.rpartition("/")[2] + url.partition("/")[0]] = caught.value.code
        assert "not-a-secret" not in caught.value.detail
    assert found == {
        "a.txts3:": "document_blocked",
        "a.txtgs:": "document_blocked",
        "none.txts3:": "document_not_found",
    }


async def test_a_bucket_that_is_away_or_refuses_is_a_typed_error(
    bucket: S3Store, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RETRIES", 0)
    away = Objects({"s3://away": options | {"endpoint": "http://127.0.0.1:9"}}, 10_000, 20)
    with pytest.raises(DocumentError) as caught:
        await away.fetch("s3://away/a.txt", tmp_path / "f", nothing)
    assert caught.value.code == "document_unreachable"
    assert "127.0.0.1" not in caught.value.detail


async def test_a_full_disk_is_no_fault_of_the_bucket(bucket: S3Store, options: dict[str, str], tmp_path: Path) -> None:
    obstore.put(bucket, "a.txt", b"text")
    (tmp_path / "full").symlink_to("/dev/full")
    ours = Objects({f"s3://{name_of(bucket)}": options}, 10_000, 20)
    with pytest.raises(OSError) as caught:
        await ours.fetch(f"s3://{name_of(bucket)}/a.txt", tmp_path / "full", nothing)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    "buckets",
    [
        {"https://example.com": {}},
        {"s3://": {}},
        {"s3://a": {"no_such_option": "secret-value"}},
        {"gs://a": {"service_account_path": "/no/such/secret-value"}},
    ],
)
def test_what_cannot_be_a_bucket_is_one_sentence_without_values(buckets: dict[str, dict[str, str]]) -> None:
    with pytest.raises(ConfigError, match="LONGFOLD_FETCH_BUCKETS") as caught:
        Objects(buckets, 10_000, 20)
    assert "secret-value" not in str(caught.value)
