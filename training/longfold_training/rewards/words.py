"""Text as words, so that two ways of writing the same answer compare equal. Knows no rule and no question.

Lower case, no punctuation, no articles, single spaces, as the official cover exact match has it; but a sign that
changes a value stays: 3.5 is not 35, -5 is not 5, C++ is not C.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

ARTICLES = frozenset(("a", "an", "the"))
_KEPT = frozenset("+#.-")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_INSIDE = re.compile(r"(?<=\w)['\u2019](?=\w)|(?<=\b[^\W\d_])\.(?=[^\W\d_]\.)|(?<=\.[^\W\d_])\.")
"""Apostrophes in words and the stops of initials: "O'Neil" and "ONeil", "U.S." and "US" are the same."""
_LOOSE = re.compile(r"(?<!\d)\.|\.(?!\d)|(?<=\w)-|-(?!\d)|(?<!\w)[+#]+")
_THINK_END = re.compile(r"</\s*think\s*>", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{")
_SAID = re.compile(
    r"(?:\b(?:final|correct|right|my)\s+)?\banswer\b\s*(?:is\b\s*:?|:)\s*(?:that\s+|option\s+)?", re.IGNORECASE
)
_BULLET = re.compile(r"\s*(?:[-*\u2022]|\(?\d{1,3}[.)])\s+")
_CLAUSE_END = re.compile(r"\n|[.!?;](?=\s|$)")


class _Plain(dict[int, str]):
    """What a character becomes: itself, a blank for punctuation and signs, or, in scripts without blanks, a word of
    its own."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        kind = unicodedata.category(sign)
        if sign not in _KEPT and kind[0] in "PSZC":
            made = " "
        elif kind == "Lo" and unicodedata.east_asian_width(sign) == "W" and "HANGUL" not in unicodedata.name(sign, ""):
            made = f" {sign} "
        else:
            made = sign
        self[code] = made
        return made


_PLAIN = _Plain()


def words(text: str) -> list[str]:
    """The words of `text`, articles included."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-")
    plain = _INSIDE.sub("", _THOUSANDS.sub("", folded)).translate(_PLAIN)
    return _LOOSE.sub(" ", plain).split()


def without_articles(found: Sequence[str]) -> list[str]:
    return [word for word in found if word not in ARTICLES]


def places(wanted: str, found: Sequence[str]) -> list[tuple[int, int]]:
    """Where `wanted` stands as whole words in `found` (both ends as indices, the second behind the last word).

    Articles do not matter, but a last one does: "vitamin A" is not "vitamin". What is nothing but articles or
    punctuation stands nowhere.
    """
    parts = words(wanted)
    if not without_articles(parts):
        return []
    parts = [*without_articles(parts[:-1]), parts[-1]]
    spans = []
    for start in range(len(found)):
        end, met = start, 0
        while end < len(found) and met < len(parts):
            if found[end] == parts[met]:
                met += 1
            elif not met or found[end] not in ARTICLES:
                break
            end += 1
        if met == len(parts):
            spans.append((start, end))
    return spans


def without(text: str, other: str) -> list[str]:
    """The words of `text` less every copy of `other`: a question that is only repeated answers nothing."""
    found, taken = words(text), words(other)
    if not taken:
        return found
    kept: list[str] = []
    for word in found:
        kept.append(word)
        if word == taken[-1] and kept[-len(taken) :] == taken:
            del kept[-len(taken) :]
    return kept


def unnumbered(line: str) -> str:
    """A list's line without its bullet or number."""
    return _BULLET.sub("", line)


def spoken(text: str) -> str:
    """`text` behind its reasoning."""
    ends = list(_THINK_END.finditer(text))
    return (text[ends[-1].end() :] if ends else text).strip()


def final(text: str) -> str:
    """What `text` gives as its answer: the contents of its boxes, else all from the first "the answer is" on, else
    everything.

    From the first on, so that a text that names several answers is seen to do so.
    """
    text = spoken(text)
    if boxes := _boxes(text):
        return "\n".join(boxes)
    said = _SAID.search(text)
    return text[said.end() :].strip() if said is not None and text[said.end() :].strip() else text


def statements(text: str) -> list[str]:
    """Every different clause that says what the answer is: the contents of boxes, and what follows "the answer is" up
    to the end of its sentence or the next such words."""
    text = spoken(text)
    clauses = _boxes(text)
    marks = list(_SAID.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, last in zip(marks, ends, strict=False):
        end = _CLAUSE_END.search(text, mark.end(), last)
        clauses.append(text[mark.end() : end.start() if end is not None else last].strip())
    return [clause for clause in dict.fromkeys(clauses) if clause]


def _boxes(text: str) -> list[str]:
    r"""Contents of each outermost \boxed{...}, braces balanced; one that is not closed ends the search."""
    found, at = [], 0
    while (start := _BOXED.search(text, at)) is not None:
        depth, at = 1, start.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if depth:
            break
        found.append(text[start.end() : at - 1].strip())
    return found
