"""Limits as they are written, stored and laid over defaults."""

from __future__ import annotations

import json

import pytest

from longfold_server.tenants.limits import Rate, TenantLimits

FULL = TenantLimits(Rate(600, 60), jobs=3, tokens_per_day=10_000, max_documents=5, upload_bytes=1_000_000)


@pytest.mark.parametrize(
    ("text", "rate"), [("600/minute", Rate(600, 60)), (" 1/day ", Rate(1, 86_400)), ("100000/second", Rate(100_000, 1))]
)
def test_rates_are_read_and_written(text, rate):
    assert Rate.parse(text) == rate and str(rate) == text.strip()


@pytest.mark.parametrize("text", ["", "600", "0/minute", "-1/minute", "1/week", "100001/second", "1.5/second", "١/day"])
def test_other_rates_are_refused(text):
    with pytest.raises(ValueError, match="a rate"):
        Rate.parse(text)


def test_limits_survive_the_store():
    for limits in (FULL, TenantLimits(), TenantLimits(jobs=1)):
        assert TenantLimits.from_json(limits.to_json()) == limits
    newer = json.dumps(json.loads(FULL.to_json()) | {"gpu_hours": 7})
    assert TenantLimits.from_json(newer) == FULL


def test_defaults_hold_where_a_key_says_nothing():
    assert TenantLimits(jobs=9).over(FULL) == TenantLimits(FULL.rate, 9, 10_000, 5, 1_000_000)
    assert FULL.over(TenantLimits()) == FULL


@pytest.mark.parametrize("name", ["jobs", "tokens_per_day", "max_documents", "upload_bytes"])
def test_a_limit_is_at_least_one(name):
    with pytest.raises(ValueError, match=name):
        TenantLimits(**{name: 0})
