from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_server.ingest import index
from longfold_server.ingest.index import Kind, Locator, Mark, Reason, Skipped, locate

FILE, PART, CHAPTER, LINE = Kind.FILE, Kind.PART, Kind.CHAPTER, Kind.LINE
PAGE, SLIDE, SHEET, HEADING, ROW, RECORD = Kind.PAGE, Kind.SLIDE, Kind.SHEET, Kind.HEADING, Kind.ROW, Kind.RECORD


def every_ten(place: int) -> int:
    """Lines of ten characters."""
    return place // 10


@pytest.mark.parametrize(
    ("marks", "span", "expected"),
    [
        ([], (0, 5), Locator("characters 0-5")),
        ([index.UNMARKED], (95, 96), Locator("line 10")),
        ([index.UNMARKED], (95, 240), Locator("lines 10-24")),
        ([index.UNMARKED], (95, 100), Locator("line 10")),
        ([Mark(0, PAGE, "11"), Mark(100, PAGE, "12")], (100, 150), Locator("p. 12", "page=12")),
        ([Mark(0, PAGE, "11"), Mark(100, PAGE, "12")], (99, 101), Locator("pp. 11-12", "page=11")),
        ([Mark(0, PAGE, "1"), Mark(0, PAGE, "2"), Mark(0, PAGE, "3")], (0, 5), Locator("p. 3", "page=3")),
        ([Mark(0, SLIDE, "3"), Mark(50, HEADING, "Why")], (60, 61), Locator("slide 3")),
        ([Mark(0, SHEET, "Q3"), Mark(20, ROW, "39")], (30, 35), Locator("sheet Q3 row 40")),
        ([Mark(0, SHEET, "Q3"), Mark(20, ROW, "39")], (5, 8), Locator("sheet Q3")),
        ([Mark(0, SHEET, "Q3"), Mark(20, ROW, "39")], (30, 55), Locator("sheet Q3 rows 40-42")),
        ([Mark(0, SHEET, "Q3"), Mark(20, ROW, "39"), Mark(40, ROW, "90")], (30, 55), Locator("sheet Q3 rows 40-91")),
        ([Mark(0, SHEET, "A"), Mark(0, ROW, "1"), Mark(40, SHEET, "B"), Mark(40, ROW, "1")],
         (30, 55), Locator("sheet A row 4")),
        ([Mark(0, RECORD, "1")], (65, 66), Locator("record 7")),
        ([Mark(0, HEADING, "Setup", "set-up")], (1, 2), Locator('section "Setup"', "set-up")),
        ([Mark(0, LINE, "1"), Mark(0, HEADING, "Setup", "s")], (11, 12), Locator('section "Setup", line 2', "s")),
        ([Mark(0, CHAPTER, "Loomings"), Mark(9, HEADING, "Two")],
         (9, 10), Locator('chapter "Loomings", section "Two"')),
        ([Mark(0, CHAPTER, "Loomings"), Mark(9, HEADING, "Loomings")], (9, 10), Locator('chapter "Loomings"')),
        ([Mark(0, HEADING, "Old"), Mark(9, CHAPTER, "New")], (9, 10), Locator('chapter "New"')),
        ([Mark(0, FILE, "src/a.py"), Mark(20, LINE, "1")], (110, 260), Locator("src/a.py:10-24", "", "src/a.py")),
        ([Mark(0, FILE, "r.md"), Mark(0, LINE, "1"), Mark(0, HEADING, "T", "t")],
         (5, 6), Locator('r.md:1, section "T"', "t", "r.md")),
        ([Mark(0, FILE, "z/b.pdf"), Mark(0, PAGE, "1"), Mark(30, PAGE, "2")],
         (40, 41), Locator("z/b.pdf, p. 2", "page=2", "z/b.pdf")),
        ([Mark(0, FILE, "a"), Mark(0, PAGE, "9"), Mark(30, FILE, "b"), Mark(30, LINE, "1")],
         (30, 31), Locator("b:1", "", "b")),
        ([Mark(0, FILE, "a"), Mark(0, LINE, "1"), Mark(30, FILE, "b"), Mark(30, LINE, "1")],
         (25, 45), Locator("a:3", "", "a")),
        ([Mark(0, PART, "message"), Mark(0, LINE, "1")], (25, 26), Locator("message, line 3")),
        ([Mark(0, PART, "report.pdf"), Mark(0, PAGE, "2")], (25, 26), Locator("report.pdf, p. 2", "page=2")),
    ],
)  # fmt: skip
def test_locators(marks: list[Mark], span: tuple[int, int], expected: Locator) -> None:
    skipped = Skipped("page 9", Reason.SCANNED_PAGE, "it is a picture")
    assert locate([*marks, skipped], *span, every_ten) == expected


def test_an_empty_span_is_where_it_begins() -> None:
    assert locate([Mark(0, PAGE, "1"), Mark(10, PAGE, "2")], 10, 10, every_ten).text == "p. 2"


MARKS = st.builds(Mark, st.integers(0, 10**9), st.sampled_from(Kind), st.text(max_size=200), st.text(max_size=200))
SKIPPED = st.builds(
    Skipped, st.text(max_size=1000), st.sampled_from(Reason), st.text(max_size=1000), st.integers(1, 10**12)
)


@given(st.lists(MARKS | SKIPPED, max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, entries: list[Mark | Skipped]) -> None:
    path = tmp_path_factory.getbasetemp() / "index"
    path.write_text(index.type_row("a/b") + "".join(map(index.row, entries)), "utf-8", "replace")
    assert index.media_type(path) == "a/b"
    assert list(index.read(path)) == entries


@pytest.mark.parametrize(
    "rows",
    [
        "",
        "no JSON\n",
        '["type"]\n',
        '["type", "a/b"]\n[5, "page", "1"]\n[4, "page", "2"]\n',
        '["type", "a/b"]\n[101, "page", "1"]\n',
        '["type", "a/b"]\n[-1, "page", "1"]\n',
        '["type", "a/b"]\n[1, "moon", "1"]\n',
        '["type", "a/b"]\n[1, "page", "one"]\n',
        '["type", "a/b"]\n[1, "row", "9999999999999"]\n',
        '["type", "a/b"]\n[1, "page", "1", 7]\n',
        '["type", "a/b"]\n["skipped", "p", "mood", "m"]\n',
        '["type", "a/b"]\n["skipped", "p", "binary", "m", -7]\n',
        f'["type", "a/b"]\n["skipped", "p", "binary", "m", {10**13}]\n',
        '["type", "a/b"]\n' + "[" * 10_000 + "\n",
        '["type", "a/b"]\n{"a": 1}\n',
    ],
)
def test_an_index_that_no_parser_wrote_is_refused(tmp_path: Path, rows: str) -> None:
    (tmp_path / "index").write_text(rows)
    with pytest.raises(ValueError):
        index.check(tmp_path / "index", 100)
