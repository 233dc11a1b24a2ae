"""PDF and EPUB: pages and chapters."""

from __future__ import annotations

import io
import zipfile

import pytest
from samples import XML, epub, packed, pdf

from longfold_server.errors import DocumentError
from longfold_server.ingest.index import Reason

from .conftest import Parse


def test_pages_of_a_pdf(parse: Parse) -> None:
    got = parse(pdf("The code is 58213.", "Second page.", "Third page."))
    assert got.text == "The code is 58213.\n\nSecond page.\n\nThird page.\n\n"
    assert got.brief() == [("page", "1"), ("page", "2"), ("page", "3")]
    assert (got.at("Second").text, got.at("Second").fragment) == ("p. 2", "page=2")
    assert (got.at("page.\n\nThird").text, got.at("page.\n\nThird").fragment) == ("pp. 2-3", "page=2")


def test_pages_without_text_are_told_in_runs(parse: Parse) -> None:
    got = parse(pdf("one", None, None, "four", None))
    assert [entry.path for entry in got.skipped] == ["pages 2-3", "page 5"]
    assert {entry.reason for entry in got.skipped} == {Reason.SCANNED_PAGE}
    assert got.at("four").text == "p. 4"


def test_a_pdf_with_an_owners_password_only_is_read(parse: Parse) -> None:
    assert "open to all" in parse(pdf("open to all", password="")).text
    with pytest.raises(DocumentError) as caught:
        parse(pdf("closed", password="secret"))
    assert caught.value.code == "document_encrypted"


def test_chapters_of_a_book(parse: Parse) -> None:
    got = parse(epub("It began.", "It ended."))
    assert got.text == "# Chapter 1\n\nIt began.\n\n# Chapter 2\n\nIt ended.\n\n"
    assert got.labels.title == "A book" and got.labels.heading == "Chapter 1"
    found = got.at("It ended.")
    assert found.text == 'chapter "A book", section "Chapter 2"'
    assert found.fragment == ""  # no link leads into a book


def book(spine: str, pages: dict[str, str], manifest: str = "", more: dict[str, str] | None = None) -> bytes:
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in pages)
    package = (
        f'{XML}<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest>{items}{manifest}</manifest>'
        f"<spine>{spine}</spine></package>"
    )
    container = (
        f'{XML}<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="in/b.opf"/></rootfiles></container>'
    )
    parts = {"META-INF/container.xml": container, "in/b.opf": package, **(more or {})}
    return packed(parts | {f"in/{name}": page for name, page in pages.items()})


def test_chapters_are_named_by_the_contents(parse: Parse) -> None:
    contents = '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
    nav = '<nav><a href="a.xhtml#x">Loomings</a><a href="c.xhtml">The Carpet-Bag</a></nav>'
    got = parse(
        book(
            '<itemref idref="a.xhtml"/><itemref idref="b.xhtml"/><itemref idref="c.xhtml"/><itemref idref="a.xhtml"/>',
            {"a.xhtml": "<p>one</p>", "b.xhtml": "<p>two</p>", "c.xhtml": "<p>three</p>"},
            contents,
            {"in/nav.xhtml": nav},
        )
    )
    assert got.text == "one\n\ntwo\n\nthree\n\n"
    assert got.brief() == [("chapter", "Loomings"), ("chapter", "The Carpet-Bag")]
    assert got.at("two").text == 'chapter "Loomings"'


def test_the_contents_of_an_older_book(parse: Parse) -> None:
    point = '<navPoint><navLabel><text>Old</text></navLabel><content src="a.xhtml"/></navPoint>'
    ncx = f'{XML}<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{point}</navMap></ncx>'
    contents = '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    got = parse(book('<itemref idref="a.xhtml"/>', {"a.xhtml": "<p>x</p>"}, contents, {"in/toc.ncx": ncx}))
    assert got.brief() == [("chapter", "Old")]


@pytest.mark.parametrize(
    ("label", "chapter"),
    [("Salt & Pepper", "Salt Pepper"), ("Caf&eacute;s", "Caf&eacute;s"), ("A<b>cut", "Acut"), ("\0", "in/a.xhtml")],
)
def test_broken_contents_cost_names_only(parse: Parse, label: str, chapter: str) -> None:
    ncx = f'<ncx><navPoint><navLabel><text>{label}</text></navLabel><content src="a.xhtml"/></navPoint></ncx>'
    contents = '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    got = parse(book('<itemref idref="a.xhtml"/>', {"a.xhtml": "<p>x</p>"}, contents, {"in/toc.ncx": ncx}))
    assert (got.text, got.skipped) == ("x\n\n", []) and got.brief() == [("chapter", chapter)]


@pytest.mark.parametrize("ncx", ["", "no XML"])
def test_contents_that_cannot_be_read_are_told(parse: Parse, ncx: str) -> None:
    contents = '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    got = parse(book('<itemref idref="a"/>', {"a": "<p>x</p>"}, contents, {"in/toc.ncx": ncx}))
    assert got.text == "x\n\n"
    assert [(entry.path, entry.reason) for entry in got.skipped] == [("in/toc.ncx", Reason.UNDECODABLE)]


def test_elements_that_xhtml_closes_at_once_swallow_nothing(parse: Parse) -> None:
    page = f'{XML}<html><head><title/><script src="x"/></head><body><p><a id="p1"/>kept<br/>too</p></body></html>'
    assert parse(book('<itemref idref="a"/>', {"a": page})).text == "kept\ntoo\n\n"


def test_a_page_that_is_not_there_is_told(parse: Parse) -> None:
    got = parse(
        book(
            '<itemref idref="a"/><itemref idref="b"/>',
            {"a": "<p>here</p>"},
            '<item id="b" href="b" media-type="text/html"/>',
        )
    )
    assert got.text.strip() == "here"
    assert [(entry.path, entry.reason) for entry in got.skipped] == [("in/b", Reason.UNDECODABLE)]


def test_a_protected_book(parse: Parse) -> None:
    method = '<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/></encryption>'
    with pytest.raises(DocumentError) as caught:
        parse(book('<itemref idref="a"/>', {"a": "x"}, more={"META-INF/encryption.xml": method}))
    assert caught.value.code == "document_encrypted"
    fonts = method.replace("http://www.w3.org/2001/04/xmlenc#aes256-cbc", "http://www.idpf.org/2008/embedding")
    assert "x" in parse(book('<itemref idref="a"/>', {"a": "x"}, more={"META-INF/encryption.xml": fonts})).text


def test_a_book_without_a_package_is_damaged(parse: Parse) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
    with pytest.raises(DocumentError) as caught:
        parse(target.getvalue())
    assert caught.value.code == "document_undecodable"
