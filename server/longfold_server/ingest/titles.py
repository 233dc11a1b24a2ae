"""Finds a title for a document that came without one. Knows no files."""

from __future__ import annotations

import re
import unicodedata

LONGEST_TITLE = 500
"""Characters; the wire's limit."""
LONGEST_FIRST_LINE = 80

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Controls, also those that turn the direction of writing: a title stands in other people's lines."""


def tidy(title: str | None) -> str:
    """One line of NFC text, at most 500 characters."""
    line = " ".join(_INVISIBLE.sub(" ", title or "").split())
    return unicodedata.normalize("NFC", line)[:LONGEST_TITLE].rstrip()


def first_line(text: str) -> str:
    """The first line with content, without Markdown marks, cut at a word."""
    line = tidy(next((line for line in text.splitlines() if line.strip(" \t\f#*=-_")), "").lstrip("# "))
    if len(line) <= LONGEST_FIRST_LINE:
        return line
    cut = line[:LONGEST_FIRST_LINE]
    return (cut.rpartition(" ")[0] or cut) + "…"
