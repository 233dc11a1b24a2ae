"""Citations: passages of the documents that stand behind an answer, found through the memory's provenance and verified
by string comparison. Asks no model; where nothing can be shown to support the answer there is no citation.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import log

from longfold_agent.provenance import Line, Provenance, Source
from longfold_agent.sentences import sentences
from longfold_agent.types import Query

MOST = 8
"""Citations of one answer; more are not read."""
FEW = 6
"""With at most this many lines all of them are what the answer was made from, even if it repeats none ("yes")."""
_NEAR_BEST = 0.5
"""Lines that support the answer at least half as well as the best one are cited too."""
_ENOUGH = 0.5
"""Share of the value's weight (without a value, of the line's) that a sentence must hold to support it."""
_SAME = 0.8
"""Statements that meet the line at least this well, compared with the best, say the same."""
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+(?:[.,:'\u2019/-](?=\\d)\\d+)*")
"""Words and numbers; characters of scripts without spaces one by one."""
_NAME = re.compile(r"(?<=[\w,;] )[^\W\d_a-z][\w-]*")
"""A word with a capital inside a sentence."""
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "sir", "i"})
_BETWEEN = re.compile(r"[;\n]")
"""Stands between what an answer lists."""
_OPTION = re.compile(r"(?:^|(?<=\s)|(?<=\())\(?([A-Za-z])[).:\]]\s+")
_LETTER = re.compile(
    r"(?:(?:the\s)?(?:correct\s)?(?:answer|option|choice)\s?(?:is|:)?\s?)?[(\[*\"']{0,4}([A-Za-z])(?:[).:\]*\"']+(?:\s.*)?)?",
    re.IGNORECASE | re.DOTALL,
)
"""An answer that names an option: "B", "(b)", "**B.** text", "The answer is B"."""
_COMMON = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "did", "do", "does", "for", "from", "had",
    "has", "have", "he", "her", "his", "how", "in", "is", "it", "its", "not", "of", "on", "or", "she", "so", "that",
    "the", "their", "there", "they", "this", "to", "was", "were", "what", "when", "where", "which", "who", "whom",
    "whose", "why", "will", "with", "would", "answer", "question",
))  # fmt: skip
"""Words that tell nothing about a place."""


@dataclass(frozen=True, slots=True)
class Citation:
    """`quote == text[start:end]` of the document's canonical text, in characters."""

    document: int
    start: int
    end: int
    quote: str
    chunk: int


def cite(
    answer: str,
    provenance: Provenance,
    load_text: Callable[[Source], str],
    query: Query | None = None,
    *,
    most: int = MOST,
) -> tuple[Citation, ...]:
    """Verified quotes for the memory lines that support `answer`, best supported first; deterministic.

    load_text: gives the canonical text of a source, `document[start:end]`; called once for each source that is looked
    at.
    query: the question (and the options of a choice question), so that a value that occurs often is quoted where the
    question is about.
    """
    query = query or Query("")
    claim = _claim(answer, query)
    asked = _terms(query.core)
    texts: dict[Source, _Passage] = {}
    found: dict[tuple[int, int, int], Citation] = {}
    for line in _supporting(claim, asked, provenance.lines)[:most]:
        for source in (line.source, line.origin):
            if source is None:
                continue
            if source not in texts:
                texts[source] = _Passage(load_text(source))
            if quoted := _quote(texts[source], source, claim, _terms(line.text), asked, latest=line.origin is not None):
                found.setdefault((quoted.document, quoted.start, quoted.end), quoted)
                break
    return tuple(found.values())


def cite_direct(
    answer: str,
    sources: Sequence[Source],
    load_text: Callable[[Source], str],
    query: Query | None = None,
    *,
    most: int = 3,
) -> tuple[Citation, ...]:
    """Verified quotes for an answer of the single pass, where no memory tells the place: each source (a document) is
    searched for a sentence that holds the answer's value; those that share most with the question come first."""
    query = query or Query("")
    claim, asked = _claim(answer, query), _terms(query.core)
    ranked: list[tuple[float, int, Citation]] = []
    for at, source in enumerate(sources):
        passage = _Passage(load_text(source))
        quoted = _quote(passage, source, claim, Counter(), asked, latest=False)
        if quoted is not None:
            ranked.append((-_overlap(_terms(quoted.quote), asked, passage.weight), at, quoted))
    return tuple(quoted for *_, quoted in sorted(ranked, key=lambda one: one[:2])[:most])


class _Passage:
    """A source's text with its sentences and the weight of its words: rare ones tell places apart, common ones do
    not."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = list(sentences(text))
        self.terms = [_terms(text[start:end]) for start, end in self.spans]
        self._having = Counter(term for terms in self.terms for term in terms)

    def __contains__(self, term: str) -> bool:
        return term in self._having

    def weight(self, term: str) -> float:
        rarity = log(1 + (len(self.spans) + 1) / (self._having[term] + 1))
        return rarity * (0.1 if term in _COMMON else 1.0)


def _quote(
    passage: _Passage, source: Source, claim: _Claim, line: Counter[str], asked: Counter[str], *, latest: bool
) -> Citation | None:
    """The sentence of `passage` that supports the line best, or None when none does.

    Support is the answer's value, word for word (a number of it, where it has numbers), in a place that is about the
    same: words of the line or the question stand in the sentence or in the one before it. Without a value the sentence
    must say what the line says.
    """
    said = [term for term in claim.terms if term not in _COMMON and (not line or term in line)]
    value = {term: passage.weight(term) for term in said if term not in asked}
    value = value or {term: passage.weight(term) for term in said}
    if any(term in claim.names and term not in passage for term in value):
        return None
    numbers = [term for term in value if _number(term)]
    frame = {term: passage.weight(term) for term in (*line, *asked) if term not in _COMMON and term not in value}
    wanted = sum((value or frame).values())
    scored: list[tuple[float, float, int]] = []
    before = 0.0
    for at, terms in enumerate(passage.terms):
        held = sum(weight for term, weight in value.items() if term in terms)
        around = sum(weight for term, weight in frame.items() if term in terms)
        if not value and around >= _ENOUGH * wanted > 0:
            scored.append((0.0, around, at))
        elif value and held >= _ENOUGH * wanted and (not numbers or any(term in terms for term in numbers)):
            scored.append((held, around + before / 2, at))
        before = around
    if not scored:
        return None
    top = max(held for held, _, _ in scored)
    scored = [one for one in scored if one[0] == top]
    most = max(around for _, around, _ in scored)
    if frame and most <= 0:
        return None
    # An updated fact is stated more than once in nearly the same words; the memory holds the last statement.
    fair = most * _SAME if latest else most
    _, _, best = max((one for one in scored if one[1] >= fair), key=lambda one: one[2])
    start, end = passage.spans[best]
    return Citation(source.document, source.start + start, source.start + end, passage.text[start:end], source.chunk)


def _supporting(claim: _Claim, asked: Counter[str], lines: Sequence[Line]) -> list[Line]:
    """The lines that hold something of a part of the claim: the best ones of each part, then the second ones. All of
    few lines when none does."""
    held = [_terms(line.text) for line in lines]
    having = Counter(term for terms in held for term in terms)

    def weight(term: str) -> float:
        return log(1 + (len(lines) + 1) / (having[term] + 1)) * (3.0 if _number(term) else 1.0)

    def ranked(part: Counter[str]) -> list[Line]:
        value = [term for term in part if term not in _COMMON]
        scored = []
        for at, (line, terms) in enumerate(zip(lines, held, strict=True)):
            support = sum(weight(term) for term in value if term in terms)
            # The question decides between lines that hold the value equally, and must not make up for a line that
            # lacks it.
            topic = sum(weight(term) for term in asked if term in terms and term not in _COMMON)
            if support > 0:
                scored.append((support + 0.2 * topic, -at, line))
        scored.sort(key=lambda one: one[:2], reverse=True)
        return [line for score, _, line in scored if score >= scored[0][0] * _NEAR_BEST]

    rows = zip_longest(*map(ranked, claim.parts))
    found = list(dict.fromkeys(line for row in rows for line in row if line is not None))
    return found or (list(lines) if len(lines) <= FEW else [])


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the answer says: its terms, and those of them that cannot be put in other words (names and numbers)."""

    terms: Counter[str]
    names: frozenset[str]
    parts: tuple[Counter[str], ...]
    """The terms of each thing that it lists: a short one is supported by a line of its own."""


def _claim(answer: str, query: Query) -> _Claim:
    """Of the answer; of a choice question's letter, of the option it stands for."""
    letter = _LETTER.fullmatch(" ".join(answer[:400].split()))
    if letter:
        for text in (query.instructions, query.core):
            if chosen := _options(text).get(letter[1].upper()):
                answer = chosen
                break
    names = {name for found in _NAME.finditer(answer) for name in _terms(found[0]) if name not in _TITLES}
    terms = _terms(answer)
    parts = tuple(filter(None, map(_terms, _BETWEEN.split(answer))))
    return _Claim(terms, frozenset(names | {term for term in terms if _number(term)}), parts)


def _options(text: str) -> dict[str, str]:
    """Letter -> text of the options in `text`; empty unless they run A, B, ..."""
    marks = list(_OPTION.finditer(text))
    options: dict[str, str] = {}
    for mark, following in zip_longest(marks, marks[1:]):
        if mark[1].upper() == chr(ord("A") + len(options)):
            options[mark[1].upper()] = text[mark.end() : following.start() if following else len(text)].strip(" \n,;")
    return options if len(options) > 1 else {}


def _terms(text: str) -> Counter[str]:
    """Normalised words and numbers: compatibility forms unified, case folded, thousands separators dropped."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return Counter(_plain(word[0]) for word in _WORD.finditer(folded))


def _plain(word: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", word) if word[0].isdigit() else word


def _number(term: str) -> bool:
    return any(map(str.isdigit, term))


def _overlap(terms: Iterable[str], asked: Counter[str], weight: Callable[[str], float]) -> float:
    return sum(weight(term) for term in terms if term in asked)
