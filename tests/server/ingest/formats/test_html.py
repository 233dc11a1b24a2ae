from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_server.ingest.formats import html
from longfold_server.ingest.formats.html import TREE_DEPTH, _nesting, from_stream, from_tree, nesting
from longfold_server.ingest.formats.readable import Readable
from longfold_server.ingest.formats.source import Labels

from .conftest import Parse


def render(page: str) -> tuple[str, Readable]:
    """Through both parsers, which must agree."""
    results = []
    for parse in (from_tree, lambda text, readable: from_stream([text], readable)):
        out: list[str] = []
        readable = Readable(out.append)
        parse(page, readable)
        readable.finish()
        results.append(("".join(out), readable))
    assert results[0][0] == results[1][0]
    assert (results[0][1].title, results[0][1].heading) == (results[1][1].title, results[1][1].heading)
    return results[0]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo\n"),
        ("a<br>b<br/>c", "a\nb\nc\n"),
        ("<div>a<div>b</div>c</div>", "a\nb\nc\n"),
        ("<p>  many \n\t blanks  <b> here </b> </p>", "many blanks here\n"),
        ("<p>un<b>brok</b>en w<i>o</i>rd", "unbroken word\n"),
        ("<h1>Top <i>line</i></h1>text<h3>Sub</h3>more", "# Top line\n\ntext\n\n### Sub\n\nmore\n"),
        ("<ul><li>one<li><p>two</p></ul>end", "- one\n- two\n\nend\n"),
        ("<ol><li>a<ul><li>x</ul><li>b</ol>", "1. a\n  - x\n2. b\n"),
        ("<ol start=7><li>a<li class=x value=' 12'>b<li>c</ol>", "7. a\n12. b\n13. c\n"),
        ("<ol start=2 reversed><li>a<li>b<li value=x>c</ol><ol start=-><li>d</ol>", "2. a\n1. b\n0. c\n\n1. d\n"),
        ("<ol start=9999999999><li>a</ol><ul start=3><li value=4>b</ul>", "1. a\n\n- b\n"),
        ("<table><tr><th>k<th>v<tr><td>a<td><p>1</p><tr><td><td>q</table>", "k | v\na | 1\n| q\n"),
        ("<table><tr><td><p>one</p><p>two</p></td><td>side</td></tr></table>", "one\n\ntwo\nside\n"),
        ("<p>x</p><pre>\ndef f():\n    return  1\n</pre>", "x\n\ndef f():\n    return  1\n\n"),
        ("caf&eacute; &lt;b&gt; &#x4e2d; 1 &lt; 2 &amp;&amp; 3 &zzz;", "café <b> 中 1 < 2 && 3 &zzz;\n"),
        ("12&nbsp;km docu&shy;ment", "12 km document\n"),
        ("<p>seen<script>var x = '<p>no</p>';</script><style>p{}</style><noscript>no</noscript></p>", "seen\n"),
        ("<p>a</p><template><p>no</p></template><svg><text>no</text></svg><!-- no --><p>b", "a\n\nb\n"),
        ("<svg><path><p>never lost</p>", "never lost\n"),
        ("<nav><a href=x>Home</a></nav><main>content</main>", "Home\n\ncontent\n"),
        ("<p dir=rtl>שלום עולם</p><p>日本語の文</p>", "שלום עולם\n\n日本語の文\n"),
        ("<textarea><b>raw</textarea>", "<b>raw\n"),
        ("", ""),
        ("<html><head><title>T</title></head></html>", ""),
    ],
)  # fmt: skip
def test_pages_become_readable(page: str, expected: str) -> None:
    assert render(page)[0] == expected


def test_a_list_that_counts_down_is_numbered_where_its_length_is_known(
    parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "<ol reversed><li>a<ul><li>x</ul><li>b</ol>"
    assert parse(page, media_type="text/html").text == "2. a\n  - x\n1. b\n"
    monkeypatch.setattr(html, "TREE_BYTES", 10)
    assert parse(page, media_type="text/html").text == "- a\n  - x\n- b\n"


def test_title_and_heading_are_found() -> None:
    _, found = render(
        "<head><title> A &amp;\n B </title></head><svg><title>no</title></svg><h2>First</h2><h1>Second</h1>"
    )
    assert (found.title, found.heading) == ("A & B", "First")


@given(st.lists(st.sampled_from(["<p>", "</p>", "<ul>", "<li>", "</ul>", "<table>", "<tr>", "<td>", "</table>", "<b>", "</b>",  # noqa: E501
                                 "<div>", "</div>", "<h2>", "</h2>", "<pre>", "</pre>", " ", "\n", "<br>", "<ol>"]), max_size=40))  # fmt: skip  # noqa: E501
def test_no_word_is_lost_or_reordered_whatever_the_markup(tags: list[str]) -> None:
    page = "".join(f"{tag}w{number}." for number, tag in enumerate(tags))
    out: list[str] = []
    readable = Readable(out.append)
    from_stream([page], readable)
    readable.finish()
    assert re.findall(r"w\d+\.", "".join(out)) == [f"w{number}." for number in range(len(tags))]


@pytest.mark.parametrize("tag", ["div", "b", "ul", "table", "font", "svg", "p", "q"])
def test_hundreds_of_thousands_of_open_tags_are_read(parse: Parse, tag: str) -> None:
    text = parse(f"before {f'<{tag}>' * 100_000}<p>deep text", media_type="text/html").text
    assert "before" in text and "deep text" in text


def test_large_pages_are_streamed_with_the_same_result(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    part = (
        "<div><h2 id=i>Head</h2><p>Some text with <a href=x>a link</a> &amp; more é.</p><ul><li>one<li>two</ul></div>\n"
    )
    page = "<title>Big</title>" + part * 5_000
    whole = parse(page)
    monkeypatch.setattr(html, "TREE_BYTES", 100_000)
    assert parse(page) == whole
    assert whole.labels == Labels("Big", "Head")
    assert whole.text.startswith("## Head\n\nSome text with a link & more é.\n\n- one\n- two\n\n## Head")
    assert whole.text.count("Some text with a link & more é.\n\n- one\n- two\n") == 5_000
    assert [(mark.value, mark.anchor) for mark in whole.marks] == [("Head", "i")] * 5_000


@pytest.mark.parametrize(
    ("page", "sections"),
    [
        ("<h1 id=a>One</h1>x<h2>Two</h2>", [(0, "One", "a"), (10, "Two", "")]),
        ("<p>x</p><a name=a></a><h1>One</h1>", [(3, "One", "a")]),
        ("<section id=s><h2>One</h2></section>", [(0, "One", "s")]),
        ("<p id=p>x</p><h2>One</h2>", [(3, "One", "")]),
        ("<h2><a id=in>One</a> and <i>two</i></h2>", [(0, "One and two", "in")]),
        ('<h2 id="a&quot;&amp;b">One</h2>', [(0, "One", 'a"&b')]),
        ("<h2></h2><h3> </h3>x", []),
        ("<ul><li><h3>in an item</h3></ul>", [(0, "in an item", "")]),
        ("<table><tr><td>a<td><h3>in a cell</h3></table>", []),
    ],
)
def test_headings_become_sections(page: str, sections: list[tuple[int, str, str]]) -> None:
    results = []
    for read in (from_tree, lambda text, readable: from_stream([text], readable)):
        out: list[str] = []
        found: list[tuple[int, str, str]] = []
        readable = Readable(out.append, lambda name, anchor, o=out, f=found: f.append((len("".join(o)), name, anchor)))
        read(page, readable)
        readable.finish()
        results.append(found)
    assert results[0] == sections
    assert results[1] == sections


def test_only_places_that_a_link_can_lead_to_are_anchors(parse: Parse) -> None:
    got = parse('<!doctype html><input name=q><h2>Results</h2>1<h2><b>Set</b> id="x"</h2>2<h2><a name=n>N</a></h2>3')
    assert [(mark.value, mark.anchor) for mark in got.marks] == [("Results", ""), ('Set id="x"', ""), ("N", "n")]


def test_only_the_main_part_of_a_small_page(parse: Parse) -> None:
    page = "<html><title>T</title><nav>Home</nav><main><h1>H</h1><p>The code is 58213.</p></main><footer>Foot</footer>"
    got = parse(page)
    assert got.text == "# H\n\nThe code is 58213.\n"
    assert got.labels == Labels("T", "H")
    twice = parse("<html><body><main>one</main><main>two</main>three").text
    assert all(word in twice for word in ("one", "two", "three"))
    small = parse(f"<html><body><main>menu</main><div>{'the words of the page ' * 20}</div>").text
    assert "menu" in small and "words" in small


def test_what_only_looks_like_markup_stays_text(parse: Parse) -> None:
    page = '<html><p title="<p>no</p>">a &lt;b&gt; &amp;amp; c</p><xmp><p>raw</xmp><!-- <p>n</p> --><pre>x &lt; y</pre>'
    assert parse(page).text == "a <b> &amp; c\n\n<p>raw\n\nx < y\n"


def test_nesting_counts_what_stays_open() -> None:
    assert _nesting("<div><p><b></b><br></div>") == 2
    assert nesting("<div>" * 5_000) == 5_000
    assert nesting("<div></div>" * 50_000) <= TREE_DEPTH


@given(st.lists(st.sampled_from(["<div>", "</div>", "<p>", "x" * 1_000, "<b>", "</b>"]), max_size=60))
def test_the_rough_count_is_never_too_small(tags: list[str]) -> None:
    page = "".join(tags)
    assert nesting(page) >= _nesting(page)
