"""`longfold-server keys`: what it prints where, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from longfold_server import cli
from longfold_server.tenants.keys import KEY


@pytest.fixture
def keys(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("LONGFOLD_REDIS_URL", redis_url)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["keys", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGFOLD_REQUIRE_KEYS", "true")
    limits = ["--rate", "600/minute", "--jobs", "5", "--tokens-per-day", "1000000", "--max-documents", "9"]
    code, out, err = keys("create", "Ann's scripts", "--tenant", "team", *limits, "--upload-mb", "20")
    text = out.strip()
    named = KEY.fullmatch(text)
    assert code == 0 and named is not None and err.count("\n") == 1 and text not in err
    code, out, err = keys("list")
    head, row = out.splitlines()
    assert (code, err) == (0, "") and head.split()[0] == "ID" and row.startswith(named[1])
    for word in ("Ann's scripts", "team", "active", "rate 600/minute", "jobs 5", "tokens/day 1000000", "MB 20"):
        assert word in row
    assert text.removeprefix(f"lf_{named[1]}_") not in out
    code, out, err = keys("revoke", named[1])
    assert (code, out) == (0, "") and "within 5 s" in err
    assert "revoked" in keys("list")[1] and keys("revoke", named[1])[0] == 0


def test_a_service_that_asks_for_no_keys_is_mentioned(keys: Any) -> None:
    assert "LONGFOLD_REQUIRE_KEYS" in keys("create", "one")[2]
    assert "the service's" in keys("list")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["revoke", "000000000000"], "there is no key 000000000000"),
        (["create", " "], "name"),
        (["create", "a", "--tenant", "A b"], "tenant"),
        (["create", "a", "--tenant", "static-x"], "static-"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(keys: Any, arguments: list[str], words: str) -> None:
    code, out, err = keys(*arguments)
    assert (code, out) == (1, "") and words in err and err.count("\n") == 1
    assert keys("list")[1].count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["create"], ["create", "a", "--rate", "9"], ["create", "a", "--jobs", "0"], ["revoke"]]
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["keys", *arguments])
    assert stop.value.code == 2 and "usage:" in capsys.readouterr().err


def test_a_redis_that_is_away_is_one_sentence(keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGFOLD_REDIS_URL", "redis://127.0.0.1:1")
    code, out, err = keys("list")
    assert (code, out) == (1, "") and "store is away" in err and err.count("\n") == 1
