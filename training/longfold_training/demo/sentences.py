"""Facts put into words: sentences, updates, two-sentence passages, lines, blocks and word soup. Knows no chunks and no
questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from longfold_training.demo.grammar import article, capital, expand, sentence
from longfold_training.demo.ordinary import ORDINARY
from longfold_training.demo.rules import RULES
from longfold_training.demo.words import read_lines, words

WHOLE = 0.65
"""Share of ordinary statements that are written out, in `statements.txt`, `changes.txt` and `lists.txt`; the others are
put together by rules."""


@dataclass(frozen=True, slots=True)
class Fact:
    """`attribute` of `entity` is `value` from here on."""

    entity: str
    attribute: str
    value: str
    wordy: bool = False
    """The value is made of ordinary words, so only its surroundings show where it begins and ends."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of text and what it states, in order."""

    text: str
    facts: tuple[Fact, ...] = ()
    line: bool = False
    """Stands on lines of its own."""


def bindings(fact: Fact, before: str = "", other: Fact | None = None, third: Fact | None = None) -> dict[str, str]:
    """Grammar symbols of a fact, the value it replaces, a fact of another entity and another fact of the same
    entity."""
    bound = {
        "A": fact.attribute,
        "anA": article(fact.attribute),
        "E": fact.entity,
        "V": fact.value,
        "X": before,
        "nl": "\n",
    }
    if other is not None:
        bound |= {"E2": other.entity, "V2": other.value}
    if third is not None:
        bound |= {"A2": third.attribute, "anA2": article(third.attribute), "V2": third.value}
    return bound


def state(rng: Random, fact: Fact, other: Fact, third: Fact) -> Passage:
    """A sentence that states `fact`; now and then `other` (same attribute) or `third` (same entity) with it."""
    template = rng.choice(RULES["state"])
    facts = [fact]
    second = None
    if "{E2}" in template:
        facts.append(other)
    elif "A2}" in template:
        second = third
        facts.append(third)
    core = _lead(rng, fact, template, expand(rng, template, bindings(fact, other=other, third=second)))
    return Passage(sentence(rng, core), tuple(facts))


def ordinary(rng: Random, fact: Fact, before: str) -> Passage:
    """A statement, or mostly a change where there was a value before, as people ordinarily write it."""
    changed = before and rng.random() < 0.7
    whole = rng.random() < WHOLE
    if whole:
        template = rng.choice(read_lines("changes" if changed else "statements"))
    else:
        template = rng.choice(ORDINARY["change" if changed else "statement"])
    bound = bindings(fact, before)
    text = expand(rng, template, bound)
    opens = text.startswith(fact.value) and fact.value[0].islower()
    if opens or (not whole and rng.random() < (0.45 if changed else 0.3)):
        text = f"{expand(rng, rng.choice(ORDINARY['newslead' if changed else 'lead']), bound)} {text}"
    if not whole and rng.random() < 0.3:
        text += expand(rng, rng.choice(ORDINARY["tail"]), bound)
    return Passage(sentence(rng, text), (fact,))


def update(rng: Random, fact: Fact, before: str) -> Passage:
    """A sentence that says the value changed, often naming the value before."""
    template = rng.choice(RULES["update"])
    core = _lead(rng, fact, template, expand(rng, template, bindings(fact, before)))
    return Passage(sentence(rng, core), (fact,))


def _lead(rng: Random, fact: Fact, template: str, core: str) -> str:
    """An introduction before and a continuation after the core clause; a lower-case value never opens a sentence."""
    opens = template.startswith("{V}") and fact.value[0].islower()
    if opens or rng.random() < 0.35:
        core = f"{expand(rng, rng.choice(RULES['intro']), {})} {core}"
    if rng.random() < 0.5:
        core += expand(rng, rng.choice(RULES["outro"]), {})
    return core


def passage(rng: Random, fact: Fact) -> Passage:
    """Two sentences, a question with its answer or a piece of dialogue."""
    text = expand(rng, rng.choice(RULES["passage"]), bindings(fact))
    if text[-1].isalnum() and rng.random() < 0.35:
        text += expand(rng, rng.choice(RULES["outro"]), {})
    return Passage(sentence(rng, text), (fact,))


def line(rng: Random, fact: Fact) -> Passage:
    """A note such as "Norbel - access code: 4821"."""
    bound = bindings(fact)
    if rng.random() < 0.25:
        bound["A"] = capital(fact.attribute)
    text = expand(rng, rng.choice(RULES["line"]), bound)
    if rng.random() < 0.6:
        text = capital(text)
    return Passage(text + rng.choice(("", "", "", ".", ";", ",")), (fact,), line=rng.random() < 0.75)


def block(rng: Random, facts: Sequence[Fact]) -> Passage:
    """An entity as a heading with one line per fact below it; all facts are of one entity."""
    shape = rng.choice(RULES["block"])
    heading = rng.choice(
        ("{E}", "{E}", "{E}:", "# {E}", "## {E}", "{E}\n", "[{E}]", "{E} ({noun})", "Name: {E}", "name: {E}")
    )
    rows = [expand(rng, heading, bindings(facts[0]))]
    upper = rng.random() < 0.6
    for fact in facts:
        bound = bindings(fact)
        if upper:
            bound["A"] = capital(fact.attribute)
        rows.append(expand(rng, shape, bound))
    if rng.random() < 0.2:
        return Passage(
            "; ".join(rows[1:]) if len(rows) == 1 else rows[0].strip() + " " + ", ".join(rows[1:]),
            tuple(facts),
            line=True,
        )
    return Passage("\n".join(rows), tuple(facts), line=True)


_LINKS = (
    "is",
    "is",
    "was",
    "to",
    "as",
    "at",
    "be",
    ":",
    "=",
    "become",
    "named",
    "called",
    "with",
    "for",
    "became",
    "being",
    "are",
    "-",
    "has",
    "by",
    "now",
)
_STOPS = (
    ",",
    ",",
    " and",
    " but",
    " since",
    " from",
    " when",
    " on",
    " because",
    " which",
    ";",
    " (",
    " where",
    " until",
    " if",
    " -",
    " after",
    " by",
    " in",
)
_LISTS = ("nouns", "nouns", "adjectives", "verbs_past", "functions", "functions", "participles", "adverbs")


def noise(rng: Random, low: int, high: int) -> list[str]:
    """Random words, neither a number nor a name among them."""
    return [rng.choice(words(rng.choice(_LISTS))) for _ in range(rng.randint(low, high))]


def soup(rng: Random, fact: Fact) -> Passage:
    """Attribute, entity and value in any order among random words: what is left of a sentence when its grammar is
    unknown."""
    entity = fact.entity + ("'s" if rng.random() < 0.15 else "")
    value = [fact.value]
    if fact.wordy or rng.random() < 0.6:
        value.insert(0, rng.choice(_LINKS))
    order: list[list[str]] = [[fact.attribute], [entity]]
    if rng.random() < 0.3:
        order.reverse()
    order.insert(2 if rng.random() < 0.65 else rng.randint(0, 1), value)
    pieces = noise(rng, 0, 4)
    for place, piece in enumerate(order):
        pieces += piece
        if piece is value and (fact.wordy or rng.random() < 0.4):
            if place == 2 and rng.random() < 0.5:
                break
            pieces[-1] += rng.choice(_STOPS)
        pieces += noise(rng, 0, 3)
    text = " ".join(pieces).replace(" :", ":").replace("( ", "(")
    if text[0].islower() and pieces[0] != fact.value:
        text = capital(text)
    return Passage(text.rstrip(",(-; ") + ".", (fact,))
