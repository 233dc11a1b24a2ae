"""CSV, JSON, Markdown, plain text and mail."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import MAIL

from longfold_server.ingest.formats import delimited, json_text
from longfold_server.ingest.index import Reason

from .conftest import Parse


@pytest.mark.parametrize(
    ("content", "name", "text"),
    [
        ("a,b\n1,2\n", "t.csv", "a | b\n1 | 2\n"),
        ("a;b\n1,5;2\n", "t.csv", "a | b\n1,5 | 2\n"),
        ("1,5;2,5\n3,5;4,5\n", "t.csv", "1,5 | 2,5\n3,5 | 4,5\n"),
        ("1,5;2\n3,5;4\n", "t.csv", "1,5 | 2\n3,5 | 4\n"),
        ("1,2,3;4\n5,6,7;8\n", "t.csv", "1 | 2 | 3;4\n5 | 6 | 7;8\n"),
        ("a,b;c\nd,e;f\n", "t.csv", "a | b;c\nd | e;f\n"),
        ("1,5\n2,5\n", "t.csv", "1 | 5\n2 | 5\n"),
        ("a\tb\r\n1\t2\r\n", "t.tsv", "a | b\n1 | 2\n"),
        ('a,b\n"x, y","two\nlines"\n', "t.csv", "a | b\nx, y | two lines\n"),
        ('a,b\n1,"never closed\n2,3\n', "t.csv", "a | b\n1 | never closed 2,3\n"),
        ("a,b\n\n3,4", "t.csv", "a | b\n3 | 4\n"),
    ],
)
def test_tables(parse: Parse, content: str, name: str, text: str) -> None:
    assert parse(content, name).text == text


def test_rows_are_numbered_as_records(parse: Parse) -> None:
    got = parse('name,code\nAnn,1\n"two\nlines",2\nBob,58213\n', "t.csv")
    assert got.at("58213").text == "row 4"
    assert got.at("Ann").text == "row 2"


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), min_size=1, max_size=4), max_size=5
    )
)
def test_records_survive_any_cut_of_the_text(rows: list[list[str]]) -> None:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    text = target.getvalue()
    whole = list(delimited._records(delimited.split_lines([text]), ","))
    cut = list(delimited._records(delimited.split_lines(list(text)), ","))
    assert cut == whole == list(csv.reader(io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n"))))


def test_a_quotation_mark_that_nothing_closes_costs_no_rows(parse: Parse) -> None:
    body = 'a,b\n1,"open\n' + "".join(f"row {n},{n}\n" for n in range(40_000))
    got = parse(body, "t.csv")
    assert "row 39999 | 39999\n" in got.text and "row 7 | 7\n" in got.text


def test_values_of_an_array_are_records(parse: Parse) -> None:
    values = [{"name": "Ann", "tags": [1, {"x": 'a,]"b\n'}]}, "two", 3, [], {}]
    for indent in (None, 2):
        got = parse(json.dumps(values, indent=indent), "d.json")
        lines = got.text.strip().split("\n")
        assert lines[0] == "[" and lines[-1] == "]"
        assert [json.loads(line.removesuffix(",")) for line in lines[1:-1]] == values
        assert got.at('"two"').text == "record 2"
        assert got.at('"Ann"').text == "record 1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 0, 3]), st.integers(1, 7))
def test_an_array_is_the_same_however_it_comes(values: list[object], indent: int | None, size: int) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    pieces = iter([text[place : place + size] for place in range(0, len(text), size)])
    got = "".join(value + ("\n" if kind in ("open", "end") else "") for kind, value in json_text._tokens(pieces))
    lines = got.strip().split("\n")
    assert [json.loads(line.removesuffix(",")) for line in lines[1:-1] if line] == values


def test_a_string_longer_than_any_piece_is_no_structure(parse: Parse) -> None:
    got = parse('["' + '],[{\\"' * 1_000_000 + '", "]", [\n1], "last"]', "d.json")
    assert got.at("[ 1]").text == "record 3" and got.at("last").text == "record 4"


def test_an_object_stays_as_it_is_written(parse: Parse) -> None:
    text = json.dumps({"name": "Ann", "codes": [1, 2]}, indent=2)
    got = parse(text, "d.json")
    assert got.text == text and got.at("Ann").text == "line 2"


def test_lines_of_json_are_records(parse: Parse) -> None:
    got = parse("".join(json.dumps({"n": n, "t": "x"}) + "\n" for n in range(100)))
    assert got.at('"n": 57').text == "record 58"
    assert got.at('"n": 57, "t": "x"}\n{"n": 58').text == "records 58-59"


def test_headings_of_markdown(parse: Parse) -> None:
    got = parse(
        "intro\n\n# Set up & Run\ntext\n```sh\n# no heading\n```\nUnder\n-----\n"
        "last\n## Set up & Run\n- item\n---\nend\n",
        "r.md",
    )
    assert [(mark.value, mark.anchor) for mark in got.marks if mark.kind == "heading"] == [
        ("Set up & Run", "set-up--run"),
        ("Under", "under"),
        ("Set up & Run", "set-up--run-1"),
    ]
    assert got.labels.heading == "Set up & Run"
    assert got.at("last").text == 'section "Under", line 10'
    assert got.at("last").fragment == "under"
    assert got.at("intro").text == "line 1"


def test_marks_behind_a_heading_stand_apart_from_its_text(parse: Parse) -> None:
    got = parse("# C#\na\n## F# and C## ##  \nb\n### ###\n", "r.md")
    assert [mark.value for mark in got.marks if mark.kind == "heading"] == ["C#", "F# and C##"]


@pytest.mark.parametrize(
    ("matter", "title"),
    [
        ("---\ntitle: Guide: all of it\ntags:\n  - a\n\n# note\ndraft: false\n---\n", "Guide: all of it"),
        ("---\r\ntags: [a]\r\ntitle : 'A \"guide\"'\r\n...\r\n", 'A "guide"'),
        ('---\n"a b": 1\nsubtitle: no\ntitle: >-\n  folded\n---\n', ""),
    ],
)
def test_front_matter_is_text_and_no_heading(parse: Parse, matter: str, title: str) -> None:
    got = parse(matter + "\n# Setup\n\nRun it.\n", "guide.md")
    assert got.text == matter.replace("\r", "") + "\n# Setup\n\nRun it.\n"
    assert got.brief() == [("line", "1"), ("heading", "Setup")]
    assert (got.labels.title, got.labels.heading) == (title, "Setup")


@pytest.mark.parametrize(
    "text",
    [
        "---\nUnder\n---\nx\n",
        "---\na: b\n\nwords\n\nUnder\n---\n",
        "---\na: b\n\nUnder\n---",
        "---\na: b\n" + "  c\n" * 30_000 + "\nUnder\n---\n",
    ],
)
def test_a_line_across_the_page_begins_no_front_matter(parse: Parse, text: str) -> None:
    got = parse(text, "guide.md")
    assert got.text == text and got.brief() == [("line", "1"), ("heading", "Under")]


def test_plain_text_by_its_lines(parse: Parse) -> None:
    got = parse("one\ntwo\nthree\nfour")
    assert got.text == "one\ntwo\nthree\nfour"
    assert got.at("two\nthree").text == "lines 2-3"


def test_a_mail_and_its_attachment(parse: Parse) -> None:
    got = parse(MAIL)
    assert got.labels.title == "The café"
    assert "Subject: The café\n\nThe code of the café is 58213." in got.text
    assert ("part", "message") in got.brief() and ("part", "codes.csv") in got.brief()
    assert got.at("The code of the").text == "message, line 1"
    assert got.at("café | 58213").text == "codes.csv, row 2"


def test_parts_of_a_mail(parse: Parse) -> None:
    part = "--b\nContent-Type: {}\n\n{}\n".format
    head = "From: a@b.c\nTo: d@e.f\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/{}; boundary=b\n\n".format
    both = part("text/plain", "plain words") + part("text/html", "<p>html words</p>") + "--b--\n"
    assert "html" not in parse(head("alternative") + both).text
    only = part("text/plain", "see the other part") + part("text/html", f"<p>{'long words ' * 200}</p>") + "--b--\n"
    assert "long words" in parse(head("alternative") + only).text
    inner = "From: x@y.z\nSubject: inner\n\ninner words\n"
    mixed = part("text/plain", "outer") + part("message/rfc822", inner) + part("image/png", "x") + "--b--\n"
    got = parse(head("mixed") + mixed)
    assert got.at("inner words").text == "inner, line 1"
    assert [(entry.path, entry.reason) for entry in got.skipped] == [("part 2", Reason.BINARY)]
    content = f"Content-Type: multipart/mixed; boundary=c\n\n{mixed.replace('--b', '--c')}"
    got = parse(f"{head('signed')}--b\n{content}\n{part('application/pgp-signature', 'iQIzBAEBCAAd')}--b--\n")
    assert got.at("inner words").text == "inner, line 1" and "iQIz" not in got.text and len(got.skipped) == 1


def test_a_header_or_an_attachment_that_breaks_a_parser_costs_itself_only(
    parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = parse(b"From: " + b"(" * 3_000 + MAIL.partition(b"From: ")[2])
    assert "To: " in got.text and "From: " not in got.text and got.at("café | 58213").text == "codes.csv, row 2"

    def broken(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr("longfold_server.ingest.formats.delimited._separator", broken)
    got = parse(MAIL)
    assert "The code of the café is" in got.text
    assert [(one.path, one.reason) for one in got.skipped] == [("codes.csv", Reason.UNDECODABLE)]


def test_mails_in_mails_end_somewhere(parse: Parse) -> None:
    mail = "From: a@b.c\nTo: d@e.f\nSubject: deepest\n\nwords\n"
    for _ in range(20):
        mail = f"From: a@b.c\nTo: d@e.f\nSubject: s\nContent-Type: message/rfc822\n\n{mail}"
    got = parse(mail)
    assert [entry.reason for entry in got.skipped] == [Reason.TOO_DEEP]


def test_mails_in_mails_however_they_are_sent(parse: Parse) -> None:
    inner = b"From: x@y.z\nTo: d@e.f\nSubject: inner\n\ninner words\n"
    head = b"From: a@b.c\nTo: d@e.f\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/%s; boundary=b\n\n--b\n"
    encoded = b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(inner) + b"--b--\n"
    got = parse(head % b"mixed" + b"Content-Type: message/rfc822\n" + encoded)
    assert got.at("inner words").text == "inner, line 1"
    assert parse(head % b"digest" + b"\n" + inner + b"\n--b--\n").at("inner words").text == "inner, line 1"
    named = b"Content-Type: application/octet-stream; name=a.eml\n"
    assert "inner words" in parse(head % b"mixed" + named + encoded).text
    for _ in range(8):
        encoded = b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(head % b"mixed" + named + encoded)
    assert [entry.reason for entry in parse(head % b"mixed" + named + encoded).skipped] == [Reason.TOO_DEEP]


def test_why_a_mail_did_not_arrive_is_text(parse: Parse) -> None:
    report = (
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nAction: failed\nStatus: 5.1.1\n--b--\n"
    )
    head = "From: a@b.c\nTo: d@e.f\nSubject: s\nContent-Type: multipart/report; boundary=b\n\n"
    got = parse(head + report)
    assert got.at("Status: 5.1.1").text == "part 1, line 4" and got.skipped == []


def test_text_whose_lines_flow_and_an_empty_mail(parse: Parse) -> None:
    head = "From: a@b.c\nTo: d@e.f\nSubject: s\n"
    flowed = (
        "Content-Type: text/plain; charset=iso-8859-1; format=flowed\nContent-Transfer-Encoding: quoted-printable\n"
    )
    assert parse(head + flowed + "\ncaf=E9 \nau lait\n").text.endswith("Subject: s\n\ncafé \nau lait\n")
    empty = parse(head + "\n", "a.eml")
    assert (empty.labels.title, empty.text.strip(), empty.skipped) == ("s", head.strip(), [])


def test_json_that_is_cut_off_behind_a_backslash_is_whole_to_the_end(parse: Parse) -> None:
    assert parse('["a", "b\\').text == '[\n"a",\n "b\\'


def test_a_mail_inside_that_cannot_be_read_costs_itself_only(parse: Parse) -> None:
    nest = "".join(f"Content-Type: multipart/mixed; boundary=n{depth}\n\n--n{depth}\n" for depth in range(200))
    head = "From: a@b.c\nTo: d@e.f\nSubject: s\nContent-Type: multipart/mixed; boundary=b\n\n"
    got = parse(head + f"--b\n\nwords\n--b\nContent-Type: message/rfc822; name=a.eml\n\nSubject: t\n{nest}\n--b--\n")
    assert "words" in got.text
    assert [(one.path, one.reason) for one in got.skipped] == [("a.eml", Reason.UNDECODABLE)]
