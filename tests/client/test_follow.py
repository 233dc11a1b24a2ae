"""Following a job over broken streams: every event once and in order, and the answer in any case."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from longfold_client import APIError, ConnectionFailed, Event, NotFound, ProtocolError, Unavailable

URL = "https://example.com/a"


def last_ids(service: Any) -> list[str | None]:
    return [headers.get("last-event-id") for _, _, headers, _ in service.paths("GET", "/events")]


def test_answer_reports_every_event_and_the_progress(client: Any, service: Any) -> None:
    events: list[Event] = []
    fractions: list[float] = []
    jobs: list[str] = []
    result = client.answer(
        "Where?",
        [URL],
        on_event=events.append,
        on_progress=lambda progress: fractions.append(progress.read_fraction),
        on_job=lambda job: jobs.append(job.status.value),
    )
    assert result.answer == "Paris" and result.citations[0].quote == "Paris it is."
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert [f for f in fractions if f] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert jobs == ["in_progress", "completed"]
    assert len(service.paths("GET", "/answer/job_1")) == 0


def test_a_job_that_finished_at_once_is_not_followed(client: Any, service: Any) -> None:
    service.status = "completed"
    assert client.answer("Where?", [URL]).answer == "Paris"
    assert len(service.seen) == 1


def test_drops_and_reconnects_lose_and_repeat_nothing(client: Any, service: Any, replies: Any) -> None:
    service.streams.extend(
        [
            [1, 2, replies.drop],
            [3, b"event: reconnect\ndata: {}\n\n"],
            [],
            [2, 3, 4],
            [b"id: 5\nevent: step\nda", replies.drop],
            [5, b"event: reconnect\n\n", 6],
        ]
    )
    assert [event.seq for event in client.events("job_1")] == [1, 2, 3, 4, 5, 6]
    assert last_ids(service) == [None, "2", "3", "3", "4", "4", "5"]


def test_events_resume_after_a_number(client: Any, service: Any) -> None:
    assert [event.seq for event in client.events("job_1", after=4)] == [5, 6]
    assert last_ids(service) == ["4"]


def test_the_events_of_a_finished_job_end_after_the_final_one(client: Any, service: Any) -> None:
    service.status = "completed"
    assert [event.seq for event in client.events("job_1", after=6)] == []


def test_refusals_in_between_are_waited_out(client: Any, service: Any, replies: Any) -> None:
    service.script(
        "GET /answer/{id}/events",
        lambda: replies.problem(503, "draining", headers={"retry-after": "0"}),
        lambda: Response("bad gateway", 502),
    )
    assert [event.seq for event in client.events("job_1")] == [1, 2, 3, 4, 5, 6]


def test_a_gap_is_healed_by_connecting_again(client: Any, service: Any) -> None:
    service.streams.extend([[1, 3, 4]])
    assert [event.seq for event in client.events("job_1")] == [1, 2, 3, 4, 5, 6]
    assert last_ids(service) == [None, "1"]


def test_a_gap_that_stays_is_an_error_for_events_but_not_for_answer(client: Any, service: Any) -> None:
    service.streams.extend([[1, 3]] * 4)
    with pytest.raises(ProtocolError, match="event 3 came after event 1"):
        list(client.events("job_1"))
    service.streams.clear()
    service.streams.extend([[1, 3]] * 4)
    service.polls_until_done = 2
    assert client.answer("Where?", [URL]).answer == "Paris"


@pytest.mark.parametrize(
    "junk",
    [
        b"data: hello\n\n",
        b"data: {}\n\n",
        b'data: {"seq": 2, "type": "step", "at": "never"}\n\n',
        b'data: {"seq": null, "type": 1}\n\n',
        b'data: {"seq": 1e999, "type": "step"}\n\n',
        b'data: {"seq": 2, "type": ["step"]}\n\n',
    ],
)
def test_junk_is_no_event(client: Any, service: Any, junk: bytes) -> None:
    service.streams.extend([[1, junk]])
    assert [event.seq for event in client.events("job_1")] == [1, 2, 3, 4, 5, 6]


def test_an_event_of_a_later_version_is_passed_over(client: Any, service: Any) -> None:
    unknown = json.dumps({"seq": 2, "type": "applause", "at": "2026-01-01T00:00:00Z"}).encode()
    service.streams.extend([[1, b"event: applause\ndata: " + unknown + b"\n\n", 3, 4, 5, 6]])
    assert [event.seq for event in client.events("job_1")] == [1, 3, 4, 5, 6]
    assert last_ids(service) == [None]


def test_a_server_that_stays_away_is_given_up_with_the_jobs_id(client: Any, service: Any, replies: Any) -> None:
    service.streams.append([1, 2, replies.drop])
    service.script("GET /answer/{id}/events", None, *[replies.unframed] * 20)
    with pytest.raises(ConnectionFailed, match=r"job_1.*goes on") as caught:
        list(client.events("job_1"))
    assert caught.value.job_id == "job_1" and len(service.seen) == 1 + replies.quick.reconnects


def test_replicas_that_only_send_away_are_given_up(client: Any, service: Any, replies: Any) -> None:
    service.streams.extend([[b"event: reconnect\n\n"]] * 20)
    with pytest.raises(ConnectionFailed, match="job_1"):
        list(client.events("job_1"))
    assert len(service.paths("GET", "/events")) == replies.quick.reconnects


@pytest.mark.parametrize("cut", [True, False])
def test_a_waiting_job_behind_a_proxy_that_limits_requests_is_followed_on(
    client: Any, service: Any, replies: Any, cut: bool
) -> None:
    quiet = [b": heartbeat\n\n", replies.drop] if cut else [b": heartbeat\n\n"]
    service.streams.extend([quiet] * 3 * replies.quick.reconnects)
    assert [event.seq for event in client.events("job_1")] == [1, 2, 3, 4, 5, 6]
    service.status = "in_progress"
    service.streams.extend([quiet] * 3 * replies.quick.reconnects)
    assert client.answer("Where?", [URL]).answer == "Paris"


def test_an_overloaded_server_is_given_up_with_its_own_words(client: Any, service: Any, replies: Any) -> None:
    service.script("GET /answer/{id}/events", *[lambda: replies.problem(503, "draining", "Draining")] * 20)
    with pytest.raises(Unavailable, match="Draining"):
        list(client.events("job_1"))
    assert len(service.seen) == replies.quick.reconnects


def test_an_unknown_job_is_an_error_at_once(client: Any, service: Any, replies: Any) -> None:
    service.script("GET /answer/{id}/events", lambda: replies.problem(404, "job_not_found", "No such job"))
    with pytest.raises(NotFound, match="No such job"):
        list(client.events("job_1"))
    assert len(service.seen) == 1


@pytest.mark.parametrize("status", [200, 404, 405, 501])
def test_without_a_stream_the_answer_is_polled_for(client: Any, service: Any, status: int) -> None:
    service.script("GET /answer/{id}/events", lambda: JSONResponse({}, status))
    service.polls_until_done = 2
    fractions: list[float] = []
    result = client.answer("Where?", [URL], on_progress=lambda progress: fractions.append(progress.read_fraction))
    assert result.answer == "Paris" and len(fractions) >= 3
    assert len(service.paths("GET", "/answer/job_1")) == 2


def test_polling_raises_what_the_job_says(client: Any, service: Any, replies: Any) -> None:
    service.script("GET /answer/{id}/events", lambda: JSONResponse({}, 404))
    service.script("GET /answer/{id}", lambda: replies.problem(404, "job_not_found", "No such job"))
    with pytest.raises(APIError, match="No such job"):
        client.answer("Where?", [URL])


def test_streams_that_never_say_a_word_lead_to_polling(client: Any, service: Any) -> None:
    service.script("GET /answer/{id}/events", *[lambda: Response(b"", media_type="text/event-stream")] * 3)
    service.polls_until_done = 4
    assert client.answer("Where?", [URL]).answer == "Paris"


def test_a_final_event_without_a_job_is_looked_up(client: Any, service: Any) -> None:
    final = json.dumps({"seq": 6, "type": "completed", "at": "2026-01-01T00:00:00Z"}).encode()
    service.streams.extend([[1, 2, 3, 4, 5, b"data: " + final + b"\n\n"]])
    service.polls_until_done = 1
    assert client.answer("Where?", [URL]).answer == "Paris"


def test_an_error_of_a_callback_reaches_the_caller(client: Any, service: Any) -> None:
    def bad(event: Event) -> None:
        raise KeyError(event.seq)

    with pytest.raises(KeyError):
        client.answer("Where?", [URL], on_event=bad)
    assert service.cancelled == []


def test_leaving_the_iteration_early_leaves_a_usable_client(client: Any, service: Any) -> None:
    async def forever() -> None:
        await asyncio.sleep(30)

    service.streams.append([1, 2, forever])
    for event in client.events("job_1"):
        if event.seq == 2:
            break
    assert client.get("job_1").id == "job_1"


def test_a_restart_of_the_server_does_not_cost_an_event(client: Any, service: Any, replies: Any) -> None:
    service.streams.extend([[1, 2, replies.drop]])
    service.script("GET /answer/{id}/events", None, *[replies.unframed] * 4)
    events: list[int] = []
    assert client.answer("Where?", [URL], on_event=lambda event: events.append(event.seq)).answer == "Paris"
    assert events == [1, 2, 3, 4, 5, 6]
    assert len(service.paths("GET", "/events")) == 6 and service.paths("GET", "/answer/job_1") == []
