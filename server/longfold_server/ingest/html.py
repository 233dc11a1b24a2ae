"""Reads HTML as plain text: lexbor for usual pages, libxml2's streaming parser for large or absurdly nested ones.

lexbor is there for quality, not speed: it repairs broken pages as browsers do. With our writer, on tag-dense HTML, it
reads 3.5 MB per CPU second and holds the whole tree (124 MB for a 9 MB page); its time is quadratic in nesting depth.
libxml2 without a tree reads 4.4 MB, in a few megabytes, linear in both. Neither loads entities or uses the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from selectolax.lexbor import LexborHTMLParser

from longfold_server.ingest.readable import Readable
from longfold_server.ingest.text import Encoding, pieces

TREE_BYTES = 10_000_000
"""Largest page that is parsed into a tree, which takes about 14 times its size."""
TREE_TAGS = 1_000_000
"""Most tags for it: the tree's memory grows with them, and the parser process has a limit."""
TREE_DEPTH = 1_000
"""Deepest nesting for it; browsers stop at 512. Measured: 6 ms for 1,000 open blocks, 5.5 s for 40,000."""

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "td",
        "tr",
        "th",
        "option",
        "dt",
        "dd",
    ]
)
"""Elements that never nest, or that close themselves when their like begins."""


@dataclass(frozen=True, slots=True)
class Page:
    """What was found beside the text."""

    title: str
    heading: str


def read_html(source: Path, encoding: Encoding, write: Callable[[str], object], tree_bytes: int = TREE_BYTES) -> Page:
    """Write the readable text of a page; return its title and first heading."""
    readable = Readable(write)
    if source.stat().st_size <= tree_bytes:
        page = "".join(pieces(source, encoding))
        if page.count("<") <= TREE_TAGS and nesting(page) <= TREE_DEPTH:
            from_tree(page, readable)
        else:
            from_stream([page], readable)
    else:
        from_stream(pieces(source, encoding), readable)
    readable.finish()
    return Page(readable.title, readable.heading)


def nesting(page: str) -> int:
    """Upper estimate of the tree's depth: most start tags minus end tags at any place."""
    depth = deepest = 0
    for match in _TAG.finditer(page):
        if match[2].lower() in _VOID:
            continue
        if match[1]:
            depth = max(0, depth - 1)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def from_tree(page: str, readable: Readable) -> None:
    """Walk lexbor's tree in document order, without recursion."""
    tree = LexborHTMLParser(page.encode("utf-8", "replace"))
    top = tree.root
    node = top
    if top is None:
        return
    while node is not None:
        tag = node.tag or ""
        child = None
        if tag == "-text":
            readable.text(node.text_content or "")
        elif not tag.startswith("-"):
            readable.start(tag)
            child = node.child
            if child is None:
                readable.end(tag)
        if child is not None:
            node = child
            continue
        while node is not None:
            if node.mem_id == top.mem_id:
                return
            following = node.next
            if following is not None:
                node = following
                break
            node = node.parent
            if node is not None:
                readable.end(node.tag or "")


class _Target:
    """libxml2's callbacks; comments vanish."""

    def __init__(self, readable: Readable) -> None:
        self._readable = readable

    def start(self, tag: str | bytes, attributes: object) -> None:
        self._readable.start(str(tag))

    def end(self, tag: str | bytes) -> None:
        self._readable.end(str(tag))

    def data(self, data: str | bytes) -> None:
        self._readable.text(str(data))

    def comment(self, data: str | bytes) -> None:
        return None

    def close(self) -> None:
        return None


def from_stream(page: Iterable[str], readable: Readable) -> None:
    """Feed libxml2 piece by piece; no tree is built."""
    parser = etree.HTMLParser(target=_Target(readable), encoding="utf-8", no_network=True, huge_tree=True)
    fed = False
    for text in page:
        for start in range(0, len(text), 65536):
            parser.feed(text[start : start + 65536].encode("utf-8", "replace"))
            fed = True
    if fed:
        parser.close()
