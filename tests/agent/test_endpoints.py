"""Replica choice by highest random weight, and the circuit of each replica."""

from __future__ import annotations

from collections import Counter

import pytest

from longfold_agent.engines.endpoints import Circuit, Endpoints
from longfold_agent.errors import EngineRejected, EngineUnavailable

URLS = ["http://a", "http://b", "http://c", "http://d"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(endpoints: Endpoints, index: int = 0) -> None:
    with pytest.raises(EngineUnavailable), endpoints.trial(endpoints.all[index]):
        raise EngineUnavailable("down")


def test_keys_spread_evenly_and_move_only_from_a_lost_replica() -> None:
    endpoints, fewer = Endpoints(URLS, clock=Clock()), Endpoints(URLS[:3], clock=Clock())
    keys = [f"document {number}" for number in range(2000)]
    homes = {key: endpoints.order(key)[0].url for key in keys}
    assert all(400 < count < 600 for count in Counter(homes.values()).values())
    assert all(fewer.order(key)[0].url == home for key, home in homes.items() if home != "http://d")
    moved = Counter(fewer.order(key)[0].url for key, home in homes.items() if home == "http://d")
    assert len(moved) == 3


def test_calls_without_affinity_take_turns() -> None:
    endpoints = Endpoints(URLS, clock=Clock())
    assert {endpoints.order("")[0].url for _ in URLS} == set(URLS)


def test_a_failed_replica_is_left_alone_then_tried_by_one_request() -> None:
    clock = Clock()
    endpoints = Endpoints(URLS[:2], clock=clock, pause=1.0, longest_pause=3.0)
    fail(endpoints)
    down = endpoints.all[0]
    assert down.circuit(clock()) is Circuit.OPEN
    assert down not in list(endpoints.usable("key"))
    clock.now += 1.0
    assert down.circuit(clock()) is Circuit.HALF_OPEN
    with endpoints.trial(down):
        assert down.circuit(clock()) is Circuit.OPEN
    assert down.circuit(clock()) is Circuit.CLOSED


def test_the_pause_grows_to_its_limit_and_simultaneous_failures_count_once() -> None:
    clock = Clock()
    endpoints = Endpoints(URLS[:1], clock=clock, pause=1.0, longest_pause=3.0)
    pauses = []
    for _ in range(4):
        fail(endpoints)
        fail(endpoints)
        pauses.append(endpoints.all[0].retry_at - clock.now)
        clock.now = endpoints.all[0].retry_at
    assert pauses == [1.0, 2.0, 3.0, 3.0]


def test_a_refused_request_shows_the_replica_alive() -> None:
    clock = Clock()
    endpoints = Endpoints(URLS[:1], clock=clock)
    fail(endpoints)
    with pytest.raises(EngineRejected), endpoints.trial(endpoints.all[0]):
        raise EngineRejected("bad parameter")
    assert endpoints.all[0].circuit(clock()) is Circuit.CLOSED


def test_when_every_replica_is_down_all_are_offered_soonest_first() -> None:
    clock = Clock()
    endpoints = Endpoints(URLS[:2], clock=clock)
    fail(endpoints, 1)
    clock.now += 0.5
    fail(endpoints, 0)
    assert [endpoint.url for endpoint in endpoints.usable("key")] == ["http://b", "http://a"]


@pytest.mark.parametrize("urls", [[], ["http://a", "http://a"]])
def test_base_urls_must_be_given_once_each(urls: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one base URL"):
        Endpoints(urls, clock=Clock())
