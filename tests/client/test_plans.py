"""`wait` keeps to its time: the plan driven by a clock of its own, without a socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from longfold_client import ConnectionFailed, Job, Retry, Unavailable, WaitTimeout
from longfold_client.effects import Lost, Pause, Reply, Request, Send
from longfold_client.plans import LATE, Plans

JOB = b'{"id": "job_1", "status": "in_progress", "question": "Where?", "created_at": "2026-01-01T00:00:00Z"}'
STEADY = replace(Retry(), random=lambda: 1.0)


def waited(request: Request) -> float:
    """What a long poll asks for."""
    return float(request.headers.get("prefer", "wait=0").removeprefix("wait="))


def in_progress(request: Request) -> Reply:
    return Reply(200, {}, JOB, waited(request))


def busy(retry_after: str) -> Callable[[Request], Reply]:
    return lambda request: Reply(503, {"retry-after": retry_after}, b"", 0.0)


def silent(request: Request) -> Lost:
    assert request.read_timeout is not None
    return Lost("no reply in time", request.read_timeout)


def refused(request: Request) -> Lost:
    return Lost("connection refused", 0.0)


@dataclass
class Run:
    """One `wait` over the given replies, of which the last is repeated."""

    replies: list[Callable[[Request], Reply | Lost]]
    clock: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def wait(self, timeout: float) -> Job:
        plan = Plans("http://127.0.0.1:8080", STEADY).wait("job_1", timeout)
        outcome: Reply | Lost | None = None
        try:
            while True:
                effect = plan.throw(outcome) if isinstance(outcome, Lost) else plan.send(outcome)
                outcome = None
                if isinstance(effect, Pause):
                    self.clock += effect.seconds
                elif isinstance(effect, Send):
                    outcome = self.replies[min(len(self.requests), len(self.replies) - 1)](effect.request)
                    self.requests.append(effect.request)
                    self.clock += outcome.seconds
        except StopIteration as done:
            assert isinstance(done.value, Job)
            return done.value


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    run = Run([silent])
    with pytest.raises(ConnectionFailed, match="no reply in time"):
        run.wait(5.0)
    assert run.clock <= 5.0 + LATE and len(run.requests) == 1


def test_a_time_to_wait_beyond_the_timeout_is_not_waited_for() -> None:
    run = Run([busy("30")])
    with pytest.raises(Unavailable):
        run.wait(5.0)
    assert run.clock == 0.0


def test_tries_that_failed_count_as_waiting() -> None:
    run = Run([busy("1"), silent, in_progress])
    with pytest.raises(WaitTimeout, match="job_1 is still in_progress after 75 s"):
        run.wait(75.0)
    assert run.clock == pytest.approx(75.0)
    assert [waited(request) for request in run.requests[:3]] == [20, 20, 8]
    assert run.requests[2].read_timeout == pytest.approx(8.25 + LATE)


@pytest.mark.parametrize("then", [silent, refused, busy("30")])
def test_a_job_that_was_seen_is_what_the_timeout_tells_of(then: Callable[[Request], Reply | Lost]) -> None:
    run = Run([lambda request: Reply(200, {}, JOB, 1.0), then])
    with pytest.raises(WaitTimeout) as caught:
        run.wait(3.0)
    assert caught.value.job.id == "job_1" and 3.0 <= run.clock <= 3.0 + LATE


def test_tries_that_cost_no_time_end_as_without_a_timeout() -> None:
    run = Run([refused])
    with pytest.raises(ConnectionFailed, match=r"refused \(5 tries\)"):
        run.wait(60.0)
