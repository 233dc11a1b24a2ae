from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_server.errors import DocumentError
from longfold_server.ingest import index
from longfold_server.ingest.canonical import canonical
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import MOST_SKIPPED, Kind, Reason

# Letters that compose with what stands before them, line ends in all forms, and long runs of combining marks.
TEXT = st.text(st.sampled_from("ae\u0301\u0323\u1161\u11a8가\r\n\t\x00\ud800 "), max_size=8) | st.just("\u0301" * 40)


def written(steps: list[str | None]) -> tuple[str, list[int], int]:
    """The text, where the marks stand, and the writer's own count; None is a mark."""
    text, rows = io.StringIO(newline=""), io.StringIO()
    writer = Writer(text, rows, "a/b")
    for step in steps:
        if step is None:
            writer.mark(Kind.HEADING, "x")
        else:
            writer.write(step)
    writer.close()
    return text.getvalue(), [json.loads(row)[0] for row in rows.getvalue().splitlines()[1:]], writer.characters


@given(st.lists(TEXT | st.none(), max_size=12))
def test_marks_stand_at_line_begins_of_one_canonical_text(steps: list[str | None]) -> None:
    text, places, characters = written(steps)
    assert canonical(text) == text and characters == len(text)
    assert all(place == 0 or text[place - 1] == "\n" for place in places)
    if None not in steps:
        assert text == canonical("".join(step for step in steps if step is not None))


@given(st.lists(st.text("ab\n", max_size=5), min_size=1, max_size=8))
def test_a_mark_stands_before_what_is_written_next(pieces: list[str]) -> None:
    steps: list[str | None] = []
    for piece in pieces:
        steps += [None, piece]
    text, places, _ = written(steps)
    ends = [*places[1:], len(text)]
    assert [text[start:end].removesuffix("\n") for start, end in zip(places, ends, strict=True)] == [
        piece.removesuffix("\n") for piece in pieces
    ]


def test_what_is_skipped_is_told_under_its_path_and_bounded() -> None:
    rows = io.StringIO()
    writer = Writer(io.StringIO(), rows, "a/b")
    with writer.within("a.zip"), writer.within("b"):
        writer.skip("c", Reason.BINARY, "it is a picture")
    for number in range(MOST_SKIPPED + 5):
        writer.skip(f"page {number}", Reason.SCANNED_PAGE, "x")
    writer.close()
    entries = [json.loads(row) for row in rows.getvalue().splitlines()]
    assert entries[1] == ["skipped", "a.zip/b/c", "binary", "it is a picture"]
    assert len(entries) == MOST_SKIPPED + 1
    assert entries[-1] == ["skipped", f"page {MOST_SKIPPED - 2}", "scanned_page", "x", 7]


def test_more_marks_than_can_be_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longfold_server.ingest.formats.writer.MOST_MARKS", 3)
    rows = io.StringIO()
    writer = Writer(io.StringIO(), rows, "a/b")
    for _ in range(3):
        writer.mark(Kind.HEADING, "x")
    with pytest.raises(DocumentError) as caught:
        writer.mark(Kind.HEADING, "x")
    assert caught.value.code == "document_too_large"
    (tmp_path / "index").write_text(rows.getvalue())
    index.check(tmp_path / "index", 0)
    monkeypatch.setattr(index, "MOST_MARKS", 1)
    monkeypatch.setattr(index, "MOST_SKIPPED", 0)
    with pytest.raises(ValueError):
        index.check(tmp_path / "index", 0)


def test_a_full_disk_is_no_fault_of_the_part_that_is_read() -> None:
    writer = Writer(io.StringIO(), io.StringIO(), "a/b")
    for broken in (OSError("not gzip"), OSError(errno.EINVAL, "before the beginning"), IndexError()):
        with writer.part("a"):
            raise broken
    assert [one.reason for one in writer.skipped] == [Reason.UNDECODABLE] * 3
    with pytest.raises(OSError, match="full"), writer.part("b"):
        raise OSError(errno.ENOSPC, "full")
