"""Settings from the environment, and what they refuse."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from longfold_server.errors import ConfigError
from longfold_server.resources import make_documents, make_profile, make_tokens
from longfold_server.settings import Settings, is_loopback

KEY = "a-key-of-enough-length"


def test_lists_come_as_json_or_with_commas(monkeypatch):
    monkeypatch.setenv("LONGFOLD_ENGINE_URLS", "http://a:1, http://b:2")
    monkeypatch.setenv("LONGFOLD_ROLES", '["worker", "api", "worker"]')
    monkeypatch.setenv("LONGFOLD_FETCH_PORTS", "80,8000")
    monkeypatch.setenv("LONGFOLD_API_KEYS", KEY)
    found = Settings()
    assert found.engine_urls == ["http://a:1", "http://b:2"] and found.roles == ["worker", "api"]
    assert found.fetch_ports == [80, 8000] and found.api_keys[0].get_secret_value() == KEY
    assert KEY not in repr(found)


async def test_named_buckets_come_as_json_and_show_no_secret(monkeypatch, tmp_path):
    options = {"region": "eu-central-1", "access_key_id": "id", "secret_access_key": KEY}
    monkeypatch.setenv("LONGFOLD_FETCH_BUCKETS", json.dumps({"s3://reports/2026": options}))
    monkeypatch.setenv("LONGFOLD_FETCH_CONTACT", "https://example.com/bots")
    found = Settings(data_dir=tmp_path)
    assert found.fetch_buckets["s3://reports/2026"]["secret_access_key"].get_secret_value() == KEY
    assert KEY not in repr(found)
    await make_documents(found).aclose()
    for buckets in ({"https://reports": {}}, {"s3://reports": {"no_such_thing": KEY}}):
        with pytest.raises(ConfigError, match="LONGFOLD_FETCH_BUCKETS") as caught:
            make_documents(Settings(data_dir=tmp_path, fetch_buckets=buckets))
        assert KEY not in str(caught.value)
    for contact in ("two words", "a\nline", "x", "(brackets)"):
        with pytest.raises(ValidationError):
            Settings(fetch_contact=contact)


def test_secrets_come_as_files_laid_out_as_kubernetes_does(monkeypatch, tmp_path):
    (tmp_path / "..2026_11_22").mkdir()
    (tmp_path / "..data").symlink_to("..2026_11_22")
    for name, text in {"redis_url": "rediss://:word@store:6380/0\n", "api_keys": f"{KEY},{KEY}2\n"}.items():
        (tmp_path / "..data" / f"longfold_{name}").write_text(text)
        (tmp_path / f"longfold_{name}").symlink_to(f"..data/longfold_{name}")
    monkeypatch.setenv("LONGFOLD_SECRETS_DIR", str(tmp_path))
    found = Settings()
    assert found.redis_url == "rediss://:word@store:6380/0"
    assert [key.get_secret_value() for key in found.api_keys] == [KEY, f"{KEY}2"]
    monkeypatch.setenv("LONGFOLD_REDIS_URL", "redis://elsewhere:6379/0")
    assert Settings().redis_url == "redis://elsewhere:6379/0"
    assert Settings(redis_url="redis://nearer:6379/0").redis_url == "redis://nearer:6379/0"


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "0.0.0.0"},
        {"host": "example.org"},
        {"host": "::"},
        {"roles": []},
        {"roles": ["cook"]},
        {"api_keys": ["short"]},
        {"fetch_allow_networks": ["10.0.0.0/99"]},
        {"lease_seconds": 0},
        {"tenant_rate": "600"},
        {"tenant_jobs": 0},
        {"unknown": 1},
    ],
)
def test_refused(fields):
    with pytest.raises(ValidationError):
        Settings(**fields)


def test_open_hosts_need_keys_unless_only_probes_are_served():
    assert Settings(host="0.0.0.0", api_keys=[KEY]).host == "0.0.0.0"
    assert Settings(host="0.0.0.0", require_keys=True).host == "0.0.0.0"
    assert Settings(host="0.0.0.0", roles=["worker"]).host == "0.0.0.0"
    with pytest.raises(ValidationError, match="without API keys"):
        Settings(host="0.0.0.0")


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback(host, inside):
    assert is_loopback(host) is inside


def test_a_worker_says_what_it_lacks(tmp_path, words):
    with pytest.raises(ConfigError, match="LONGFOLD_TOKENIZER"):
        make_tokens(Settings())
    with pytest.raises(ConfigError, match="LONGFOLD_TOKENIZER"):
        make_tokens(Settings(tokenizer=tmp_path / "missing.json"))
    with pytest.raises(ConfigError, match="profile"):
        make_profile(Settings(profile_templates=tmp_path / "missing"), words)


def test_the_policy_beside_the_tokenizer_says_whether_it_knows_the_single_pass(tmp_path, words):
    settings = Settings(profile="demo", tokenizer=tmp_path / "tokenizer.json")
    assert make_profile(settings, words).budgets.direct == 0
    (tmp_path / "config.json").write_text('{"longfold_direct_tokens": 512}')
    assert make_profile(settings, words).budgets.direct == 512
    assert make_profile(Settings(profile="demo"), words).budgets.direct == 0
    (tmp_path / "config.json").write_text('{"longfold_direct_tokens": "many"}')
    with pytest.raises(ConfigError, match="must be a number of tokens"):
        make_profile(settings, words)
