"""Replica choice by highest random weight, and the circuit of each replica."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import ExitStack

import pytest

from longfold_agent.engines.endpoints import FREE_LOAD, LOAD_BOUND, Circuit, Endpoints
from longfold_agent.errors import EngineError, EngineOverloaded, EngineRejected, EngineUnavailable

URLS = ["http://a", "http://b", "http://c", "http://d"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(endpoints: Endpoints, index: int = 0, error: EngineError | None = None) -> None:
    with pytest.raises(EngineError), endpoints.trial(endpoints.all[index]):
        raise error or EngineUnavailable("down")


def open_circuit(endpoints: Endpoints, index: int = 0) -> None:
    for _ in range(3):
        fail(endpoints, index)


def make(
    count: int = 2, clock: Clock | None = None, told: list[tuple[str, Circuit]] | None = None, jitter: float = 1.0
) -> Endpoints:
    watch = (lambda url, state: None) if told is None else (lambda url, state: told.append((url, state)))
    return Endpoints(
        URLS[:count],
        clock=clock or Clock(),
        jitter=lambda: jitter,
        pause=1.0,
        longest_pause=3.0,
        on_circuit=watch,
    )


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


def test_failures_in_a_row_open_the_circuit_and_a_good_probe_closes_it() -> None:
    clock, told = Clock(), list[tuple[str, Circuit]]()
    endpoints = make(2, clock, told)
    down = endpoints.all[0]
    fail(endpoints)
    fail(endpoints)
    with endpoints.trial(down):
        pass
    fail(endpoints)
    fail(endpoints)
    assert down.circuit(clock()) is Circuit.CLOSED
    fail(endpoints)
    assert down.circuit(clock()) is Circuit.OPEN
    assert list(endpoints.usable("key")) == [endpoints.all[1]]
    clock.now += 1.0
    assert endpoints.half_open(down) and down in list(endpoints.usable("key"))
    with endpoints.probe(down):
        assert down.circuit(clock()) is Circuit.OPEN
        assert list(endpoints.usable("key")) == [endpoints.all[1]]
    assert down.circuit(clock()) is Circuit.CLOSED
    assert told[2:] == [("http://a", Circuit.OPEN), ("http://a", Circuit.CLOSED)]
    assert told[:2] == [("http://a", Circuit.CLOSED), ("http://b", Circuit.CLOSED)]


def test_a_replica_that_is_well_only_when_probed_is_left_alone_for_longer() -> None:
    clock = Clock()
    endpoints = make(1, clock)
    open_circuit(endpoints)
    pauses = [endpoints.all[0].retry_at - clock()]
    for _ in range(3):
        clock.now = endpoints.all[0].retry_at
        with endpoints.probe(endpoints.all[0]):
            pass
        fail(endpoints)
        fail(endpoints)
        pauses.append(endpoints.all[0].retry_at - clock())
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    clock.now += 3.0
    with endpoints.probe(endpoints.all[0]), endpoints.trial(endpoints.all[0]):
        pass
    open_circuit(endpoints)
    assert endpoints.all[0].retry_at - clock() == 1.0


def test_a_failed_probe_opens_the_circuit_again_and_a_cancelled_one_changes_nothing() -> None:
    clock = Clock()
    endpoints = make(1, clock, jitter=0.0)
    open_circuit(endpoints)
    clock.now += 0.5
    with pytest.raises(EngineUnavailable), endpoints.probe(endpoints.all[0]):
        raise EngineUnavailable("still down")
    assert endpoints.all[0].retry_at - clock() == 1.0
    clock.now += 1.0
    with pytest.raises(asyncio.CancelledError), endpoints.probe(endpoints.all[0]):
        raise asyncio.CancelledError
    assert endpoints.half_open(endpoints.all[0])


def test_a_refused_request_shows_the_replica_alive() -> None:
    endpoints = make(1)
    open_circuit(endpoints)
    fail(endpoints, error=EngineRejected("bad parameter"))
    assert endpoints.all[0].circuit(100.0) is Circuit.CLOSED


def test_a_replica_that_asks_for_a_rest_gets_it_without_an_open_circuit() -> None:
    clock = Clock()
    endpoints = make(2, clock)
    for _ in range(5):
        fail(endpoints, 0, EngineOverloaded("full", 4.0))
    assert endpoints.all[0].circuit(clock()) is Circuit.CLOSED
    assert list(endpoints.usable("key")) == [endpoints.all[1]]
    fail(endpoints, 1, EngineOverloaded("full", 3600.0))
    assert list(endpoints.usable("key")) == []
    away = endpoints.away()
    assert isinstance(away, EngineOverloaded) and away.retry_after == 4.0
    clock.now += 4.0
    assert list(endpoints.usable("key")) == [endpoints.all[0]]
    clock.now += 56.0
    assert len(list(endpoints.usable("key"))) == 2


def test_with_every_circuit_open_nobody_is_asked_and_the_last_error_is_told() -> None:
    endpoints = make(2)
    open_circuit(endpoints, 0)
    open_circuit(endpoints, 1)
    assert list(endpoints.usable("key")) == []
    away = endpoints.away()
    assert isinstance(away, EngineUnavailable) and "last: down" in str(away)


def test_a_replica_with_far_more_in_flight_than_the_mean_is_passed_over() -> None:
    endpoints = make(4)
    home = endpoints.order("key")[0]
    with ExitStack() as calls:
        for number in range(40):
            first = next(endpoints.usable("key"))
            if number < FREE_LOAD:
                assert first is home
            calls.enter_context(endpoints.trial(first))
        loads = sorted(endpoint.in_flight for endpoint in endpoints.all)
        assert sum(loads) == 40 and loads[-1] <= math.ceil(LOAD_BOUND * 41 / 4)
        assert len(list(endpoints.usable("key"))) == 4
    assert next(endpoints.usable("key")) is home


def test_calls_without_affinity_go_to_the_least_busy() -> None:
    endpoints = make(2)
    with endpoints.trial(endpoints.all[0]):
        assert [endpoints.order("")[0] for _ in range(3)] == [endpoints.all[1]] * 3


@pytest.mark.parametrize("urls", [[], ["http://a", "http://a"]])
def test_base_urls_must_be_given_once_each(urls: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one base URL"):
        Endpoints(urls, clock=Clock())
