"""Backoff arithmetic and Retry-After."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_client import Retry
from longfold_client.retry import parse_retry_after


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded_and_never_zero(tries: int, chance: float) -> None:
    retry = Retry(attempts=3000, first=0.5, longest=8.0, random=lambda: chance)
    pause = retry.pause(tries)
    assert pause is not None and 0.25 <= pause <= 8.0


def test_pauses_double_and_end() -> None:
    retry = Retry(attempts=5, first=1.0, longest=5.0, random=lambda: 1.0)
    assert [retry.pause(tries) for tries in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, None]
    assert Retry(attempts=1).pause(1) is None
    assert retry.pause(9, limit=10) == 5.0


def test_retry_after_is_a_floor_and_a_long_one_is_not_waited_for() -> None:
    retry = Retry(random=lambda: 0.5)
    asked = retry.pause(1, asked=7.0)
    assert asked is not None and 7.0 <= asked <= 8.0
    assert retry.pause(1, asked=3600.0) is None


@pytest.mark.parametrize(("asked", "given_up"), [(-5.0, False), (float("nan"), True), (float("inf"), True)])
def test_a_time_to_wait_that_is_none(asked: float, given_up: bool) -> None:
    pause = Retry(random=lambda: 0.0).pause(1, asked=asked)
    assert pause is None if given_up else pause == 0.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), (" 0 ", 0.0), ("1.5", 1.5), (None, None), ("soon", None), ("-1", None), ("", None), ("²", None)],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_as_a_date_is_measured_by_the_servers_own_clock() -> None:
    now, later = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT"
    assert parse_retry_after(later, now) == 30.0
    assert parse_retry_after(now, later) == 0.0
    assert parse_retry_after(now) == 0.0
    assert parse_retry_after("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", now) is None


def test_a_policy_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="attempts"):
        Retry(attempts=0)
