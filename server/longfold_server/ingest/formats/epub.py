"""EPUB books (EPUB 3.3 and 2.0): the pages of the spine in their order, as HTML; chapters are named by the table of
contents."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

from lxml import etree
from selectolax.lexbor import LexborHTMLParser

from longfold_server.ingest import text
from longfold_server.ingest.formats.container import Container, opened
from longfold_server.ingest.formats.html import read_page
from longfold_server.ingest.formats.source import Labels, Source, damaged, encrypted
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind
from longfold_server.ingest.titles import tidy

WHAT = "an EPUB book"
CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
FONTS_ONLY = frozenset(["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"])
"""Scrambled fonts (EPUB 3.3, 4.4): the text is open."""
PAGES = frozenset(["application/xhtml+xml", "text/html", "text/x-oeb1-document"])

# XHTML ends any element with "/>"; for HTML that is the beginning of one that goes on.
_CLOSED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([a-zA-Z][\w:.-]*+)([^<>]*)/>"
)


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    with opened(source, WHAT) as container:
        _refuse_encrypted(container)
        package = _package(container)
        root = container.tree(package)
        items = {item.get("id", ""): item for item in _named(root, "item")}
        title = next((tidy("".join(map(str, found.itertext()))) for found in _named(root, "title")), "")
        chapters = _contents(container, package, items, writer)
        first, chapter = "", ""
        read_parts = set()
        for place in _named(root, "itemref"):
            item = items.get(place.get("idref", ""))
            if item is None or item.get("media-type", "") not in PAGES:
                continue
            part = _part(package, item.get("href", ""))
            if part in read_parts:  # some books name every section of a page
                continue
            read_parts.add(part)
            named = chapters.get(part, "")
            if named or not chapter:  # a page that the contents do not name goes on with the chapter before
                chapter = named or title or part
                writer.mark(Kind.CHAPTER, chapter)
            with writer.part(part):
                heading = _page(container, part, writer).heading
                first = first or heading
            writer.write("\n")
        return Labels(title, first)


def _page(container: Container, part: str, writer: Writer) -> Labels:
    data = container.whole(part)
    found = text.marked(data[: text.SAMPLE_BYTES])
    label = text.codec(text.meta_charset(data[:4096])) or "utf-8"
    page = data[found.skip :].decode(found.name, "replace") if found else data.decode(label, "replace")
    return read_page(_CLOSED.sub(r"<\1\2></\1>", page), writer, anchors=False)


def _refuse_encrypted(container: Container) -> None:
    if container.has(ENCRYPTION):
        methods = {method.get("Algorithm", "") for method in _named(container.tree(ENCRYPTION), "EncryptionMethod")}
        if methods - FONTS_ONLY:
            raise encrypted()


def _package(container: Container) -> str:
    for rootfile in _named(container.tree(CONTAINER), "rootfile"):
        return _part("", rootfile.get("full-path", ""))
    raise damaged(WHAT)


def _contents(container: Container, package: str, items: dict[str, etree._Element], writer: Writer) -> dict[str, str]:
    """Page -> what the table of contents calls it: the first entry for each page. One that cannot be read costs no
    page."""
    chapters: dict[str, str] = {}
    for item in items.values():
        part = _part(package, item.get("href", ""))
        if not container.has(part):
            continue
        with writer.part(part):
            for page, chapter in _entries(container, part, item):
                chapters.setdefault(page, chapter)
    return {page: chapter for page, chapter in chapters.items() if chapter}


def _entries(container: Container, part: str, item: etree._Element) -> Iterator[tuple[str, str]]:
    """Page and name, if the item is a table of contents."""
    if "nav" in item.get("properties", "").split():
        for link in LexborHTMLParser(container.whole(part)).css("nav a[href]"):
            yield _part(part, link.attributes.get("href") or ""), tidy(link.text())
    elif item.get("media-type") == "application/x-dtbncx+xml":
        for point in _named(container.tree(part, mend=True), "navPoint"):
            label, content = next(_named(point, "text"), None), next(_named(point, "content"), None)
            if label is not None and content is not None:
                yield _part(part, content.get("src", "")), tidy("".join(map(str, label.itertext())))


def _part(base: str, reference: str) -> str:
    """The part that a reference in another part means."""
    path = unquote(reference.partition("#")[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path)).lstrip("/")


def _named(root: etree._Element, name: str) -> Iterator[etree._Element]:
    """Elements by their name in whatever namespace: the versions of EPUB differ in it."""
    return root.iter(f"{{*}}{name}")
