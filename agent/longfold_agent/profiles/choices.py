"""The rule that takes a question apart: lettered options and wishes about the answer's form leave the core question.

No model is asked. Knows no prompts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice, pairwise

from longfold_agent.types import Query

LETTERS = "ABCDEF"
"""Letters that the demo policy can answer with."""

_STRONG = (r"\({}\)", r"\[{}\]", r"{}\)", r"{}\]")
_WEAK = (r"{}\.(?=\s|\d)", r"{}:", r"{} [-\u2013\u2014](?=\s)")
"""Ways to mark an option; the weak ones also occur in names ("Dr. A. Smith", "Plan B: ...")."""
_BEFORE = r"(?:^|(?<=[\s,;:?|]))(?:[-*\u2022]\s+)?(?:\*\*)?"
_AFTER = r"(?:\*\*)?(?=\s*\S)"
_LEAD = re.compile(
    r"(?:^|(?<=[.?!:;,\n]))\s*(?:"
    r"(?:here are )?(?:(?:the|your|possible|answer) )*(?:options|choices|answers)(?: are)?"
    r"|(?:please )?(?:choose|select|pick)"
    r"(?: (?:one|from|of|between|the|these|following|options|answers?|correct|right))*"
    r")\s*:?\s*$",
    re.IGNORECASE,
)
"""Words that announce the options."""
_LEAD_LENGTH = 200
"""Characters in which they are looked for: the pattern begins at every line end, so a longer text would cost its
square."""
_TRIES = 32
"""Marks "A" from which options are looked for: each costs a look at the whole text, and a question has a few."""
_FORM = re.compile(
    r"(?:(?<=[.?!])|(?<=[.?!][\"')\u201d]))\s+(?=\(?(?:please\s+)?(?:"
    r"(?:answer|reply|respond|explain|format)\b"
    r"|(?:give|return|output|write|state|print|say)\s+(?:me\s+)?(?:only|just|the\s+answer|your|the\s+letter|nothing)\b"
    r"|use\s+(?:json|at\s+most|only|one|no|a\s+single|digits|the\s+form)\b"
    r"|keep\s+(?:it|the\s+answer|your)\b|(?:do\s+not|don't)\s+(?:explain|add|write|give|use|include|say)\b"
    r"|no\s+(?:explanations?|comments?|other|more|further|extra|words|text)\b"
    r"|in\s+(?:one|a\s+single|json|at\s+most)\b"
    r"|(?:only|just)\s+(?:the|answer|reply|give)\b|(?:choose|select|pick)\s+(?:one|the|from)\b))",
    re.IGNORECASE,
)
"""Where sentences about the answer's form begin."""
_LOOSE_FORM = re.compile(
    r"(?<!\s)\s++(?=\(?(?:Please )?(?:[Aa]nswer|[Rr]eply|[Rr]espond) (?:with|by|using|in|only)\b"
    r"|Please (?:choose|select|pick)\b)"
)
"""The same behind the last option, where no mark need end it."""
_JOINT = re.compile(r"(?:(?<![\s,;|/])[\s,;|/]++(?:and|or)?|(?<!\s)\s*+\*\*|(?<!\s)\s++[-*\u2022])\s*$", re.IGNORECASE)
"""What joins an option to the next one. Each run of signs is looked at once."""
_AND = re.compile(r"[\s,;]and\s*$", re.IGNORECASE)
_SHORT = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|prof|st|capt|col|gen|lt|sgt|rev|hon|messrs|etc|inc|ltd|co|corp|jr|sr|no|vs)"
    r"|(?<![^\W_])[^\W\d_])\.$",
    re.IGNORECASE,
)
"""A full stop that ends no sentence: a title, a short form or an initial."""
_OPTION = re.compile(r"([A-Z])\) (.+)")


def split_question(question: str) -> Query:
    """q_core and q_inst by rule: lettered options, and sentences about the answer's form behind the question.

    The policy understands options ("A) 12 B) 14", also "A.", "(A)", "A:", "[A]", "A -", inline or on lines, two to
    six); it ignores requests about form, which are kept as instructions all the same. Of the question's words only the
    options' marks and the "and" or "or" between options stand in neither part.
    """
    text = question.strip()
    found = _choice(text)
    if found is None:
        core, form = _cut(text, _FORM)
        return Query(core, form)
    core, options, rest = found
    core, form = _cut(core, _FORM)
    announced = form or core
    lead = _LEAD.search(announced, max(0, len(announced) - _LEAD_LENGTH))
    said = ""
    if lead is not None:
        said, announced = announced[lead.start() :].strip(), announced[: lead.start()].strip()
        core, form = (core, announced) if form else (announced, form)
    if not core:
        return Query(text)
    if len(options) > len(LETTERS):  # more than the policy knows letters for: it answers with the value
        marked = " ".join(f"{chr(ord('A') + place)}) {option}" for place, option in enumerate(options))
        return Query(core, "\n".join(filter(None, (form, f"{said or 'Options:'} {marked}", rest))))
    lines = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return Query(core, "\n".join(filter(None, (form, said, *lines, rest))))


def options_in(instructions: str) -> list[str]:
    """The options `split_question` put into a query's instructions, in order: lines "A) ...", "B) ..." and so on."""
    options: list[str] = []
    for line in instructions.splitlines():
        found = _OPTION.fullmatch(line.strip())
        if len(options) < len(LETTERS) and found is not None and found[1] == LETTERS[len(options)]:
            options.append(found[2].strip())
        elif options:
            break
    return options if len(options) > 1 else []


def _choice(text: str) -> tuple[str, list[str], str] | None:
    """Core question, options and what follows them; None when the text has no options."""
    for strong, marks in ((True, _STRONG), (False, _WEAK)):
        for on_lines in (True, False):
            for mark in marks:
                for first in ("A", "a"):
                    found = _options(text, mark, first, strong=strong, on_lines=on_lines)
                    if found is not None:
                        return found
    return None


def _options(text: str, mark: str, first: str, *, strong: bool, on_lines: bool) -> tuple[str, list[str], str] | None:
    """The options with one kind of mark, begun by the first place from which a believable row of letters follows."""
    letters = [chr(ord(first) + place) for place in range(26)]
    in_sentence = None
    shape = (r"^[ \t]*(?:[-*\u2022]\s+)?(?:\*\*)?" if on_lines else _BEFORE) + mark + _AFTER
    for start in islice(re.finditer(shape.format(letters[0]), text, re.MULTILINE), _TRIES):
        starts = [start]
        for letter in letters[1:]:
            following = re.compile(shape.format(letter), re.MULTILINE).search(text, starts[-1].end())
            if following is None:
                break
            starts.append(following)
        if len(starts) < 2:
            return None
        found = _texts(text, starts)
        if found is not None and (on_lines or _ends_sentence(text[: start.start()])):
            return found
        if in_sentence is None and _believable(text, starts, strong=strong):
            in_sentence = found
    return in_sentence


def _ends_sentence(before: str) -> bool:
    """Whether what stands before the first option is complete."""
    stripped = before.rstrip()
    if "\n" in before[len(stripped) :] or stripped.endswith(("?", "!", ":", ";")):
        return True
    return stripped.endswith(".") and not _SHORT.search(stripped)


def _believable(text: str, starts: Sequence[re.Match[str]], *, strong: bool) -> bool:
    """Whether marks in the middle of a sentence are options rather than parts of names."""
    gaps = [text[start.end() : end.start()] for start, end in pairwise(starts)]
    word = text[: starts[0].start()].split()[-1:]
    if any("?" in gap or _AND.search(gap) or gap.split()[-1:] == word for gap in gaps):
        return False
    return strong or (len(starts) > 2 and not any(_JOINT.search(gap.rstrip()) for gap in gaps))


def _texts(text: str, starts: Sequence[re.Match[str]]) -> tuple[str, list[str], str] | None:
    """The text before the marks, the texts between them and what follows the last one's line."""
    core = text[: starts[0].start()].strip()
    ends = [start.start() for start in starts[1:]] + [len(text)]
    options = [text[start.end() : end].strip() for start, end in zip(starts, ends, strict=True)]
    last, _, rest = options[-1].partition("\n")
    last, form = _cut(last, _FORM)
    if not form:
        last, form = _cut(last, _LOOSE_FORM)
    options[-1] = last
    options = [_JOINT.sub("", " ".join(option.split())) for option in options]
    stops = [option.endswith(".") and not _SHORT.search(option) for option in options]
    if all(stops) or not any(stops[:-1]):
        options = [option.removesuffix(".") if stop else option for option, stop in zip(options, stops, strict=True)]
    options[-1] = options[-1].rstrip("?").rstrip()
    if not core or not all(any(sign.isalnum() for sign in option) for option in options):
        return None
    return core, options, "\n".join(filter(None, (form, rest.strip())))


def _cut(text: str, where: re.Pattern[str]) -> tuple[str, str]:
    """`text` before and behind the first place where sentences about form begin; a question never stays behind."""
    for found in where.finditer(text):
        before, behind = text[: found.start()].strip(), text[found.end() :].strip()
        if before and ("?" in before or "?" not in behind):
            return before, behind
    return text, ""
