"""A text without what its layout puts between the words: broken lines, emphasis, links, notes, quotation marks. Knows
no prompts and no model.

without_layout("the access code of Mill\\nLane Bakery is **9047**[3]")   # "the access code of Mill Lane Bakery is 9047"

A small model knows a name by the words beside it; half a name at the end of a line, or a value in marks, is a sight it
was never shown.
"""

from __future__ import annotations

import re
from itertools import pairwise

NARROWEST = 40
"""Characters that the widest line of a paragraph has at least where it is wrapped: verse and records are narrower."""
FILL = 0.8
"""A line is full when the next word would have taken it beyond this share of the widest one. In plain text that is all
of it, but the lines of a PDF are equally wide on paper, not in characters."""

_BLANK = re.compile(r"(\n[ \t]*(?=\n))")
_OWN_LINE = re.compile(
    r"[ \t]*(?:[-*+\u2022\u2013\u2014][ \t]|[-*_=~]{3}|#|\(?(?:\d{1,3}|[A-Za-z])[.)][ \t]|[^\W\d_][\w /-]{0,40}:[ \t])"
    r"|.*[|\t]"
)
"""What begins an item, a heading or a record, and what is a table's row."""
_ALONE = re.compile(r"[ \t]*#|.*[|\t]")
"""A heading or a table's row: nothing goes on behind it."""

_QUOTED = re.compile(r"^[ \t]{0,3}(?:> ?){1,8}", re.MULTILINE)
"""Before each line of a mail that is answered."""
_MARKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"!?\[([^\[\]\n]{1,200})\]\([^()\s]{0,500}(?:\([^()\s]{0,100}\)[^()\s]{0,100})?\)"), r"\1"),  # a link
    (re.compile(r"(?<=[\w.,;:!?)\"'\u201d\u2019%*`])(?:\[(?:\d{1,3}|\^[^\[\]\s]{1,20})\]){1,9}"), ""),  # notes
    (re.compile(r"(?<![\w*])\*{1,3}(?=[^\s*])|(?<=[^\s*])\*{1,3}(?![\w*])"), ""),
    (re.compile(r"(?<!\w)(_{1,3})(?=[^\s_])([^\n]{1,200}?)(?<=[^\s_])\1(?!\w)"), r"\2"),
    (re.compile(r"(?<!`)`{1,2}(?=[^\s`])|(?<=[^\s`])`{1,2}(?!`)"), ""),
    (re.compile(r"(?<!\w)[\"\u201c\u201e]([^\"\u201c\u201d\u201e\n]{1,300})[\"\u201c\u201d](?!\w)"), r"\1"),
    (re.compile(r"(?<!\w)\u00ab\s?([^\u00ab\u00bb\n]{1,300}?)\s?\u00bb(?!\w)"), r"\1"),
    (re.compile(r"(?<!\w)\u2018([^\u2018\u2019\n]{1,100})\u2019(?!\w)"), r"\1"),
    (re.compile(r"(?<!\w)'([^'\n]{1,100})'(?!\w)"), r"\1"),
)
"""Marks around words, of Markdown and of type, and what stays of each. A sign between two words ("x*y", "snake_case",
"5\\" pipe") is none."""


def without_layout(text: str) -> str:
    """`text` without marks around its words, each wrapped paragraph in one line."""
    text = "".join(_joined(part) for part in _BLANK.split(_QUOTED.sub("", text)))
    for mark, kept in _MARKS:
        text = mark.sub(kept, text)
    return text


def _joined(paragraph: str) -> str:
    """A space for each line break, and the indentation behind it, that only the width has made."""
    lines = paragraph.split("\n")
    width = max(len(line.rstrip()) for line in lines)
    if width < NARROWEST:
        return paragraph
    out = [lines[0]]
    for line, following in pairwise(lines):
        if _is_full(line, following, width):
            out[-1] = out[-1].rstrip()
            out += " ", following.lstrip()
        else:
            out += "\n", following
    return "".join(out)


def _is_full(line: str, following: str, width: int) -> bool:
    word, *_ = following.split(None, 1) or [""]
    if not word or not line.strip() or _OWN_LINE.match(following) or _ALONE.match(line):
        return False
    return len(line.rstrip()) + 1 + len(word) > FILL * width
