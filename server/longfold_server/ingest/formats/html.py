"""Reads HTML as plain text: lexbor for usual pages, libxml2's streaming parser for large or absurdly nested ones.

lexbor repairs broken pages as browsers do; its tree takes about 12 times the page, and its time is quadratic in nesting
depth. Its tree is written out again as well-formed HTML and that is cut into tags and text, which takes less time than
a walk from Python. libxml2 without a tree needs a few megabytes and is linear in both. Neither loads entities or uses
the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from lxml import etree
from selectolax.lexbor import LexborHTMLParser, LexborNode

from longfold_server.ingest.formats.readable import DROPPED, KNOWN, Readable
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind
from longfold_server.ingest.text import pieces

TREE_BYTES = 2_000_000
"""Largest page that is parsed into a tree: with everything made of it that takes about 20 times its size, and no less
time than the stream."""
TREE_TAGS = 1_000_000
"""Most tags for it: the tree's memory grows with them, and the parser process has a limit."""
TREE_DEPTH = 1_000
"""Deepest nesting for it; browsers stop at 512. Measured: 6 ms for 1,000 open blocks, 5.5 s for 40,000."""

BLOCK = 4_096
"""Characters whose tags are counted at once."""

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


# What lexbor writes: lower-case names, and no "<" or ">" in an attribute or a text but in <xmp> and <plaintext>. Tags
# that only change how text looks are part of the text around them.
_INLINE = "a|abbr|acronym|b|big|cite|code|em|font|i|img|kbd|q|s|samp|small|span|strong|sub|sup|tt|u|var"
_TOKEN = re.compile(
    rf"((?:[^<]++|</?(?:{_INLINE})(?=[\s>])[^>]*+>)++)"
    r"|<!--.*?-->|<![^>]*+>"
    r"|<(xmp|plaintext)[^>]*+>(.*?)</\2>"
    r"|<(/?)([a-z][^\s/>]*+)([^>]*+)>",
    re.DOTALL,
)
_ESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&nbsp;", " "), ("&amp;", "&"))
"""Of HTML's serialisation; the ampersand last."""
_TAGS = re.compile(r"<[^>]*+>")
_ID = re.compile(r"""\sid="([^"]*)\"""")
_INLINE_ID = re.compile(r"""<[a-z][^<>]*?\sid="([^"]*)"|<a\s(?:[^<>]*?\s)?name="([^"]*)\"""")
"""Within text: the places that a link can lead to."""
_INTEGER = r"[ \t\n\f\r]*([-+]?[0-9]{1,9})(?![0-9])"
_NUMBER = re.compile(_INTEGER)
_NUMBERED = re.compile(rf"""\s(?:start|value)="{_INTEGER}""")
"""The number of a list's first item, or of an item."""
_INVISIBLE = [*sorted(DROPPED - {"head"})]
MAIN_SHARE = 0.25
"""Of a page's text; a <main> with less is not taken for what the page is about."""


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    if source.path.stat().st_size <= TREE_BYTES:
        return read_page("".join(pieces(source.path, source.encoding)), writer)
    readable = Readable(writer.write, partial(writer.mark, Kind.HEADING))
    from_stream(pieces(source.path, source.encoding), readable)
    readable.finish()
    return Labels(readable.title, readable.heading)


def read_page(page: str, writer: Writer, anchors: bool = True) -> Labels:
    """A page in memory. Without `anchors` its ids are no places that a link can lead to."""

    def section(heading: str, anchor: str) -> None:
        writer.mark(Kind.HEADING, heading, anchor if anchors else "")

    readable = Readable(writer.write, section)
    if len(page) <= TREE_BYTES and page.count("<") <= TREE_TAGS and nesting(page) <= TREE_DEPTH:
        from_tree(page, readable, main_only=True)
    else:
        from_stream([page], readable)
    readable.finish()
    return Labels(readable.title, readable.heading)


def nesting(page: str) -> int:
    """Upper estimate of the tree's depth: most start tags minus end tags at any place. Rough where it is no matter."""
    rough = before = 0
    for place in range(0, len(page), BLOCK):
        ends = page.count("</", place, place + BLOCK)
        starts = page.count("<", place, place + BLOCK) - ends
        rough = max(rough, before + starts)
        before = max(starts, before + starts - ends)
    return rough if rough <= TREE_DEPTH else _nesting(page)


def _nesting(page: str) -> int:
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


def from_tree(page: str, readable: Readable, main_only: bool = False) -> None:
    """Read a page through lexbor. `main_only`: where a page marks its main part, leave out what stands around it."""
    tree = LexborHTMLParser(page.encode("utf-8", "replace"))
    tree.strip_tags(_INVISIBLE)
    for counted in tree.css("ol[reversed]:not([start])") if "reversed" in page.lower() else ():
        counted.attrs["start"] = str(sum(item.tag == "li" for item in counted.iter()))
    main = _main(tree) if main_only else None
    if main is not None:
        title = tree.css_first("head title")
        readable.title = " ".join(title.text().split()) if title else ""
    _from_markup((main.html if main is not None else tree.html) or "", readable)


def _main(tree: LexborHTMLParser) -> LexborNode | None:
    found = tree.css("main, [role=main]")
    body = tree.body
    if len(found) != 1 or body is None:
        return None
    return found[0] if len(found[0].text()) >= MAIN_SHARE * len(body.text()) else None


def _from_markup(markup: str, readable: Readable) -> None:
    """Events of well-formed HTML, as lexbor writes it."""
    for match in _TOKEN.finditer(markup):
        text, raw, verbatim, end, tag, attributes = match.groups()
        if text is not None:
            if "<" in text:
                named = _INLINE_ID.search(text)
                text = _TAGS.sub("", text)
                if named and (readable.in_heading or not text.strip()):
                    readable.anchor(_plain(named[1] or named[2]))
            readable.text(_plain(text))
        elif end:
            readable.end(tag)
        elif tag:
            named = _ID.search(attributes) if attributes else None
            number = _NUMBERED.search(attributes) if attributes and tag in ("ol", "li") else None
            readable.start(
                tag, _plain(named[1]) if named else "", int(number[1]) if number else None, ' reversed="' in attributes
            )
        elif raw:
            readable.start(raw)
            readable.text(verbatim)
            readable.end(raw)


def _plain(text: str) -> str:
    """A text or an attribute without its escapes."""
    if "&" not in text:
        return text
    for escaped, plain in _ESCAPES:
        text = text.replace(escaped, plain)
    return text


class _Target:
    """libxml2's callbacks; comments vanish."""

    def __init__(self, readable: Readable) -> None:
        self._start = readable.start
        # Called for every tag and every piece of text: no call of ours in between.
        self.end: Callable[[str | bytes], None] = cast(Any, readable.end)
        self.data: Callable[[str | bytes], None] = cast(Any, readable.text)

    def start(self, tag: str | bytes, attributes: dict[str | bytes, str | bytes]) -> None:
        anchor = (attributes.get("id") or (tag == "a" and attributes.get("name")) or "") if attributes else ""
        if attributes and tag in ("ol", "li"):
            number = _NUMBER.match(str(attributes.get("start") or attributes.get("value") or ""))
            self._start(str(tag), str(anchor), int(number[1]) if number else None, "reversed" in attributes)
        elif anchor or tag in KNOWN:
            self._start(str(tag), str(anchor))

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
