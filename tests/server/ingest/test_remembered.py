from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from longfold_server.ingest import remembered
from longfold_server.ingest.remembered import Made, Remembered
from longfold_server.ingest.transfer import Validators

MADE = Made("doc_" + "0" * 64, "A title", "text/html", "utf-8", 12)
URL = "https://example.com/a?token=secret"


def test_entries_are_found_by_all_that_they_depend_on(tmp_path: Path) -> None:
    kept = Remembered(tmp_path)
    kept.keep_url("ann", URL, Validators('"one"', "yesterday"), MADE)
    assert kept.by_url("ann", URL) == (Validators('"one"', "yesterday"), MADE)
    assert kept.by_url("bob", URL) is None
    assert kept.by_url("ann", "https://example.com/a") is None
    kept.keep_hash("ann", "ab", "text/html", "a.html", MADE)
    assert kept.by_hash("ann", "ab", "text/html", "a.html") == MADE
    for other in (("bob", "ab", "text/html", "a.html"), ("ann", "ac", "text/html", "a.html"),
                  ("ann", "ab", "text/plain", "a.html"), ("ann", "ab", "text/html", "b.html")):  # fmt: skip
        assert kept.by_hash(*other) is None


def test_no_url_stands_on_the_disk(tmp_path: Path) -> None:
    Remembered(tmp_path).keep_url("ann", URL, Validators('"one"'), MADE)
    [path] = tmp_path.glob("*/*.json")
    assert b"secret" not in path.read_bytes() and "secret" not in str(path)


def test_what_a_server_gave_no_validators_for_is_not_kept(tmp_path: Path) -> None:
    Remembered(tmp_path).keep_url("", URL, Validators(), MADE)
    assert not list(tmp_path.iterdir())


def test_damage_and_other_revisions_count_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Remembered(tmp_path)
    kept.keep_hash("", "ab", "", "", MADE)
    [path] = tmp_path.glob("*/*.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert kept.by_hash("", "ab", "", "") is None
    path.write_bytes(whole)
    monkeypatch.setattr(remembered, "REVISION", "another")
    assert kept.by_hash("", "ab", "", "") is None


def test_what_nobody_asked_for_is_forgotten(tmp_path: Path) -> None:
    kept = Remembered(tmp_path)
    for sha256 in ("used", "unused"):
        kept.keep_hash("", sha256, "", "", MADE)
    for path in tmp_path.glob("*/*.json"):
        os.utime(path, (time.time() - 100,) * 2)
    assert kept.by_hash("", "used", "", "") == MADE
    kept.expire(50)
    assert kept.by_hash("", "used", "", "") == MADE
    assert kept.by_hash("", "unused", "", "") is None
