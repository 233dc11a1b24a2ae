"""Replies: finds the memory, the plan and other tagged parts in a model's text. Knows no wording, no budgets and no
state.

Every function is total and takes linear time, since a reply is whatever a model (or a document that got hold of it)
wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from longfold_agent.types import Completion

_THINK_END = re.compile(r"</\s*think\s*>", re.IGNORECASE)
_THINK_START = re.compile(r"\s*<\s*think\s*>", re.IGNORECASE)
_FENCE = "```"
_MARKUP = " \t\r\n*_`~#>\"'.!()[]</:-\u201c\u201d\u2018\u2019"
"""What models put around a single word: markdown, quotes, brackets, a full stop."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a reply, or a part of it, cannot be used."""

    reason: str


def spoken(completion: Completion, *, thinks: bool) -> str | Unusable:
    """The reply without its reasoning: what follows the last `</think>`, whether the server separated the reasoning or
    not.

    `thinks` tells that the model always reasons first: a reply of its that was cut before `</think>` is all reasoning.
    """
    text, cut = well_formed(completion.text), completion.finish_reason == "length"
    ends = list(_THINK_END.finditer(text))
    if ends:
        said = text[ends[-1].end() :]
        return Unusable("reasoning was not ended") if _THINK_START.match(said) else said.strip()
    if _THINK_START.match(text):
        return Unusable("cut by the output limit" if cut else "reasoning was not ended")
    if not text.strip():
        behind = list(_THINK_END.finditer(completion.reasoning))
        said = well_formed(completion.reasoning[behind[-1].end() :]).strip() if behind else ""
        return said or Unusable("cut by the output limit" if cut else "empty")
    if thinks and cut and not completion.reasoning:
        return Unusable("cut by the output limit")
    return text.strip()


def is_word(text: str, word: str) -> bool:
    """Whether `text` is exactly `word`, in any case and whatever markdown, quotes or code fence surround it."""
    bare = unfenced(text).strip(_MARKUP)
    return bare.casefold() == word.casefold()


@dataclass(frozen=True, slots=True)
class Part:
    """A tagged stretch of a reply."""

    text: str
    start: int
    end: int
    closed: bool


def part(text: str, name: str) -> Part | Unusable | None:
    """The one `<name>...</name>` of `text`; None when the tag is not there.

    Several blocks are taken when they say the same. Nested, crossed or differing ones are unusable: nobody can tell
    which is meant. A last block without its closing tag runs to the end of the text, with `closed` false.
    """
    opened: re.Match[str] | None = None
    found: list[Part] = []
    for tag in re.finditer(rf"<\s{{0,4}}(/?)\s{{0,4}}{name}\s{{0,4}}>", text, re.IGNORECASE):
        if not tag[1]:
            if opened is not None:
                return Unusable(f"nested {name} tags")
            opened = tag
        elif opened is None:
            return Unusable(f"a closing {name} tag without its opening")
        else:
            found.append(Part(unfenced(text[opened.end() : tag.start()]), opened.start(), tag.end(), True))
            opened = None
    if opened is not None:
        rest = unfenced(
            text[opened.end() :].strip().removesuffix(_FENCE)
        )  # a fence opened before the tag ends behind it
        found.append(Part(rest, opened.start(), len(text), False))
    if not found:
        return None
    if any(other.text != found[0].text for other in found):
        return Unusable(f"several {name} tags that differ")
    return found[-1]


def overlapping(parts: Iterable[Part]) -> bool:
    ordered = sorted(parts, key=lambda one: one.start)
    return any(left.end > right.start for left, right in pairwise(ordered))


def unfenced(text: str) -> str:
    """`text` without outer whitespace and without one code fence that wraps all of it."""
    text = text.strip()
    if text.startswith(_FENCE) and text.endswith(_FENCE) and len(text) >= 2 * len(_FENCE):
        first, _, rest = text[: -len(_FENCE)].partition("\n")
        inner = rest if rest else first[len(_FENCE) :]
        if _FENCE not in inner:
            return inner.strip()
    return text


def well_formed(text: str) -> str:
    """`text` with lone surrogates and NULs replaced: neither survives UTF-8 or every store."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
