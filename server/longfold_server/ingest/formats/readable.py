"""Turns a stream of HTML events (start, end, text) into readable plain text. Knows no parser.

Blocks become lines, headings get "#" marks, list items "- " or their number, table cells " | " between them; <pre>
stays as it is. Scripts, styles, templates, drawings and the head are left out; everything else is kept, in document
order.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST_HEADING = 2_000
"""Characters; text behind them stands in no heading, whatever the tags say."""

DROPPED = frozenset(["head", "script", "style", "noscript", "template", "svg", "iframe", "noframes", "noembed"])
_PARAGRAPHS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "dl",
        "table",
        "blockquote",
        "pre",
        "listing",
        "xmp",
        "section",
        "article",
        "aside",
        "main",
        "nav",
        "header",
        "footer",
        "figure",
        "hr",
        "form",
        "fieldset",
        "details",
    ]
)
_LINES = frozenset(
    [
        "div",
        "li",
        "dt",
        "dd",
        "tr",
        "caption",
        "figcaption",
        "summary",
        "legend",
        "address",
        "center",
        "option",
        "optgroup",
        "br",
        "body",
        "html",
        "thead",
        "tbody",
        "tfoot",
        "textarea",
        "hgroup",
        "search",
        "menu",
        "dir",
        "dialog",
        "select",
    ]
)
_LISTS = frozenset({"ul", "ol", "menu", "dir"})
_VERBATIM = frozenset({"pre", "listing", "xmp", "textarea"})
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
# An <svg> that nobody closed must not swallow the page: these end it (WHATWG, "parsing in foreign content").
_BREAKOUT = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "dl",
        "table",
        "blockquote",
        "pre",
        "listing",
        "nav",
        "hr",
        "div",
        "li",
        "body",
        "center",
        "dd",
        "dt",
        "menu",
    ]
)
_CELLS = frozenset({"td", "th"})
KNOWN = DROPPED | _PARAGRAPHS | _LINES | _LISTS | _VERBATIM | _BREAKOUT | _CELLS | {"title"}
"""Tags that change anything; text inside others is as if they were not there."""
_DEEPEST_INDENT = 8
_WHITE = " \t\n\r\f"
_BLANKS = re.compile(f"[{_WHITE}]+")
LAYOUT = {0xA0: " ", 0xAD: None, 0x200B: None, 0xFEFF: None}
"""No-break space, soft hyphen, zero-width space and joiner mark: layout, which would keep words from matching."""


class Readable:
    """Feed events in document order, then `finish`. `write` gets the text in small pieces, `section` every heading that
    begins a line with the id to link to, before its own text; memory is bounded by nesting."""

    def __init__(
        self, write: Callable[[str], object], section: Callable[[str, str], object] = lambda heading, anchor: None
    ) -> None:
        self._out = write
        self._write = write
        self._section = section
        self._held: list[str] | None = None
        """What the heading that is open has written so far."""
        self._anchor = ""
        """The id seen last, as long as no text follows."""
        self._dropped: list[str] = []
        self._verbatim = 0
        self._lists: list[int | None] = []
        """Next number of each open list; None for bullets."""
        self._steps: list[int] = []
        """For each open list: from one number to the next."""
        self._items: list[bool] = []
        """For each open list: whether an item has begun."""
        self._rows: list[bool] = []
        """For each open table row: whether a cell has begun."""
        self._fresh_cell = False
        """Whether the current cell has no text yet."""
        self._tall_cell = False
        """Whether the current cell has several lines."""
        self._separators = 0
        self._breaks = 0
        self._space = False
        self._mark = ""
        self._written = False
        self._title: list[str] | None = None
        self._heading: list[str] | None = None
        """The text of the heading that is open."""
        self._heading_length = 0
        self.title = ""
        """Content of the first <title>."""
        self.heading = ""
        """Text of the first heading."""

    @property
    def in_heading(self) -> bool:
        """Whether a heading is open."""
        return self._heading is not None

    def anchor(self, name: str) -> None:
        """An id that a link may name."""
        if self._heading is None or not self._anchor:
            self._anchor = name

    def start(self, tag: str, anchor: str = "", number: int | None = None, down: bool = False) -> None:
        """`number` is an item's own, or that of a list's first item; a list that counts down without one gets
        bullets."""
        if anchor:
            self.anchor(anchor)
        if tag not in KNOWN:
            return
        if tag == "title" and not self.title and "svg" not in self._dropped:
            self._title = []
        if self._dropped:
            if self._dropped[0] == "svg" and tag in _BREAKOUT:
                self._dropped.clear()
            else:
                if tag in DROPPED:
                    self._dropped.append(tag)
                return
        if tag in DROPPED:
            self._dropped.append(tag)
            return
        if tag in ("li", "tr"):
            self._mark, self._fresh_cell = "", False
        if tag in _CELLS:
            self._cell()
        elif tag in _PARAGRAPHS:
            self._break(2)
        elif tag in _LINES:
            self._break(1)
        if tag in _LISTS:
            if len(self._lists) > 0:
                self._breaks = min(self._breaks, 1)
            first = 1 if number is None and not down else number
            self._lists.append(first if tag == "ol" else None)
            self._steps.append(-1 if down else 1)
            self._items.append(False)
        elif tag == "li":
            self._item(number)
        elif tag == "tr":
            self._rows.append(False)
        elif tag in _HEADINGS:
            self._close_heading()
            self._mark = _HEADINGS[tag]
            self._heading = []
            self._heading_length = 0
        if tag in _VERBATIM:
            self._verbatim += 1

    def end(self, tag: str) -> None:
        if tag not in KNOWN:
            return
        if tag == "title" and self._title is not None:
            self.title, self._title = " ".join("".join(self._title).split()), None
        if self._dropped:
            if tag in self._dropped:
                while self._dropped.pop() != tag:
                    pass
            return
        if tag in _VERBATIM:
            self._verbatim = max(0, self._verbatim - 1)
        if tag in _HEADINGS:
            self._mark = ""
            self._close_heading()
        elif tag in _LISTS and self._lists:
            self._lists.pop()
            self._steps.pop()
            self._items.pop()
        elif tag in _CELLS and not (self._fresh_cell or self._tall_cell):
            self._breaks = min(self._breaks, 1)
        elif tag == "tr" and self._rows:
            self._rows.pop()
            self._separators, self._fresh_cell = 0, False
        elif tag == "li":
            self._mark = ""
        if tag in _PARAGRAPHS:
            self._break(1 if tag in _LISTS and self._lists else 2)
        elif tag in _LINES and tag != "br":
            self._break(1)

    def text(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)
            return
        if self._dropped:
            return
        data = data.translate(LAYOUT) if not data.isascii() else data
        if self._heading is not None:
            self._heading.append(data)
            self._heading_length += len(data)
            if self._heading_length > LONGEST_HEADING:
                self._close_heading()
        if self._verbatim:
            self._verbatim_text(data)
            return
        if not data:
            return
        blank = data[0] in _WHITE
        body = " ".join(data.split()) if data.isascii() else _BLANKS.sub(" ", data).strip(" ")
        if not body:
            self._space = True
            return
        self._space = self._space or blank
        self._open_line()
        self._write(" " + body if self._space else body)
        self._space = data[-1] in _WHITE

    def finish(self) -> None:
        """End the last line."""
        self._close_heading()
        if self._written:
            self._write("\n")

    def _close_heading(self) -> None:
        if self._heading is None:
            return
        heading, self._heading = " ".join("".join(self._heading).split()), None
        self.heading = self.heading or heading
        if self._held is not None:
            held, self._held, self._write = self._held, None, self._out
            self._section(heading, self._anchor)
            for piece in held:
                self._out(piece)
        if heading:
            self._anchor = ""

    def _verbatim_text(self, data: str) -> None:
        if not self._written or self._breaks:
            data = data.removeprefix("\n")  # HTML ignores a newline right after <pre>
            if not data:
                return
        self._open_line()
        self._write(data)
        self._space = False

    def _open_line(self) -> None:
        """Write what stands between the text so far and the next: line breaks, cell separators, the item's or
        heading's mark."""
        line_begins = not self._written or self._breaks > 0
        if self._breaks:
            if self._written:
                self._write("\n" * self._breaks)
            self._tall_cell = self._tall_cell or not self._fresh_cell
            self._breaks, self._space = 0, False
        if self._heading is None:
            self._anchor = ""
        elif line_begins and not self._separators and self._held is None:
            self._held = []
            self._write = self._held.append
        if self._separators:
            bars = " |" * self._separators
            self._write(bars.lstrip() if line_begins else bars)
            self._separators, self._space = 0, True
        if not self._written:
            self._space = False
        if self._mark:
            self._write(self._mark)
            self._mark, self._space = "", False
        self._written, self._fresh_cell = True, False

    def _break(self, lines: int) -> None:
        # Blocks at the start of a cell or item stay on its line; later ones keep theirs.
        if lines > self._breaks and not self._fresh_cell and not self._mark:
            self._breaks = lines

    def _cell(self) -> None:
        """Begin a cell: a bar replaces the break its predecessor's blocks asked for, unless those took several lines
        (layout tables)."""
        if not self._rows:
            self._break(1)
            return
        if self._rows[-1]:
            if not self._fresh_cell:
                self._breaks = int(self._tall_cell)
            if not self._tall_cell:
                self._separators += 1
        self._rows[-1] = True
        self._fresh_cell, self._tall_cell = True, False

    def _item(self, own: int | None) -> None:
        if self._lists and self._items[-1]:
            self._breaks = min(self._breaks, 1)
        number = self._lists[-1] if self._lists else None
        if self._lists:
            self._items[-1] = True
        if number is not None:
            number = number if own is None else own
            self._lists[-1] = number + self._steps[-1]
        indent = "  " * min(max(len(self._lists) - 1, 0), _DEEPEST_INDENT)
        self._mark = f"{indent}{number}. " if number is not None else f"{indent}- "
