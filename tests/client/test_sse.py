"""The event-stream parser against the standard's examples and any way of cutting the bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_client import sse
from longfold_client.sse import BadStream, EventParser, ServerSentEvent


def parse(*pieces: bytes) -> list[ServerSentEvent]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_fields_comments_and_blank_lines() -> None:
    stream = b": comment\n\nid: 7\nevent: step\ndata: one\ndata:two\ndata\nother: x\n\n\ndata: {}\n\n"
    assert parse(stream) == [ServerSentEvent("step", "one\ntwo\n", "7"), ServerSentEvent("message", "{}", "7")]


def test_an_unfinished_event_is_not_dispatched() -> None:
    assert parse(b"data: whole\n\ndata: half\n") == [ServerSentEvent("message", "whole", "")]


def test_a_name_without_data_is_dispatched() -> None:
    assert parse(b"event: reconnect\n\n") == [ServerSentEvent("reconnect", "", "")]


def test_byte_order_mark_bad_ids_and_retry() -> None:
    parser = EventParser()
    events = list(parser.feed("\ufeffid: 1\ndata: é\nretry: 1500\n\nid: a\0b\nretry: soon\ndata: y\n\n".encode()))
    assert [(event.data, event.id) for event in events] == [("é", "1"), ("y", "1")]
    assert parser.retry == 1.5


def test_a_wish_beyond_all_numbers_is_for_ever() -> None:
    parser = EventParser()
    assert list(parser.feed(b"retry: " + b"9" * 4301 + b"\n\n")) == []
    assert parser.retry == float("inf")


def test_only_one_space_is_taken_from_a_value() -> None:
    assert parse(b"data:  x\n\n")[0].data == " x"


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 1000)
    with pytest.raises(BadStream):
        parse(b"data: " + b"x" * 2000)


LINES = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12), max_size=4)


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 100)
    parser = EventParser()
    with pytest.raises(BadStream):
        for _ in range(100):
            list(parser.feed(b"data: 0123456789\n"))


@given(st.lists(LINES, max_size=5), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_any_cut_gives_the_same_events(events: list[list[str]], end: str, data: st.DataObject) -> None:
    stream = "".join(
        f"id: {number}{end}event: e{end}" + "".join(f"data: {line}{end}" for line in lines) + end
        for number, lines in enumerate(events, 1)
    ).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    expected = [ServerSentEvent("e", "\n".join(lines), str(number)) for number, lines in enumerate(events, 1)]
    assert parse(*pieces) == parse(stream) == expected
