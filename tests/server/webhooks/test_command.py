"""`longfold-server webhook-secret`."""

from __future__ import annotations

import pytest

from longfold_server.cli import main
from longfold_server.tenants.keys import static_tenant
from longfold_server.webhooks.signing import Signer, key_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_" + "AAAA" * 8


def test_it_prints_what_receivers_verify_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LONGFOLD_WEBHOOK_SECRETS", f"{SECRET},{OLD}")
    assert main(["webhook-secret"]) == 0
    assert capsys.readouterr().out.split() == [SECRET, OLD]
    assert main(["webhook-secret", "--tenant", "acme"]) == 0
    assert capsys.readouterr().out.split() == Signer([SECRET, OLD]).secrets("acme")


def test_static_keys_have_tenants_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "0123456789abcdefghij"
    monkeypatch.setenv("LONGFOLD_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("LONGFOLD_API_KEYS", key)
    assert main(["webhook-secret"]) == 1
    told = capsys.readouterr().err
    assert static_tenant(key) in told and key not in told
    assert main(["webhook-secret", "--tenant", static_tenant(key)]) == 0
    assert capsys.readouterr().out.split() == Signer([SECRET]).secrets(static_tenant(key))


def test_a_new_one_can_be_used_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook-secret", "--new"]) == 0
    made = capsys.readouterr().out.strip()
    assert len(key_of(made)) == 32
    monkeypatch.setenv("LONGFOLD_WEBHOOK_SECRETS", made)
    assert main(["webhook-secret"]) == 0


def test_what_is_missing_or_wrong_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["webhook-secret"]) == 1
    assert "LONGFOLD_WEBHOOK_SECRETS is not set" in capsys.readouterr().err
    monkeypatch.setenv("LONGFOLD_WEBHOOK_SECRETS", "whsec_hidden!")
    assert main(["webhook-secret"]) == 1
    told = capsys.readouterr().err
    assert "a webhook secret is whsec_" in told and "hidden" not in told and told.count("\n") == 1
