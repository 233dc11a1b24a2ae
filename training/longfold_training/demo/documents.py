"""Whole documents with questions and gold answers, for evaluation, tests and benchmarks. Knows no tokenizer but a
counting function, no model.

document = generate(Random(7), chunks=16, count=tokens.count)
document.text, document.items[0].question, document.items[0].answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

from longfold_agent.profiles.choices import LETTERS
from longfold_agent.profiles.demo import UNKNOWN
from longfold_training.demo import filler, names, story, teacher, values
from longfold_training.demo.grammar import capital, expand
from longfold_training.demo.sentences import Fact, Passage, bindings
from longfold_training.demo.story import Key, attribute_like, last_values, name_of
from longfold_training.demo.words import Attribute, Split, attribute, attributes, read_lines

Family = Literal["single", "update", "choice", "absent"]
Templates = Literal["everyday", "heldout", "grammar"]
FAMILIES: tuple[Family, ...] = ("single", "update", "choice")
"""The families with an accuracy bar; "absent" questions have no fact and the answer "unknown"."""
_UNSEEN_QUESTIONS = 0.25


@dataclass(frozen=True, slots=True)
class Item:
    """A question on a document."""

    family: Family
    question: str
    """As a user writes it, options included."""
    answer: str
    """The gold answer: the value, the option's letter or "unknown"."""
    key: Key
    memories: tuple[str, ...]
    """The value known after each chunk, "" while none is."""


@dataclass(frozen=True, slots=True)
class Document:
    chunks: tuple[str, ...]
    """The text in stretches that fit the token budget; a service cuts it by rules of its own."""
    items: tuple[Item, ...]

    @property
    def text(self) -> str:
        return "".join(self.chunks)


@dataclass(frozen=True, slots=True)
class Material:
    """What a document is made of."""

    split: Split = "heldout"
    """Names, values and filler."""
    templates: Templates = "everyday"
    """Sentences: a collection written apart from the grammar ("heldout" is far-fetched), or the grammar's."""
    attributes: Split = "train"
    """Attribute phrases; "heldout" phrases were never seen in training."""


def generate(
    rng: Random,
    *,
    chunks: int,
    count: Callable[[str], int],
    chunk_tokens: int = 256,
    per_family: int = 1,
    families: Sequence[Family] = FAMILIES,
    material: Material | None = None,
    density: float = 0.8,
) -> Document:
    """A document of `chunks` stretches of at most `chunk_tokens` tokens (by `count`), with `per_family` questions of
    each family.

    density: mean number of distracting passages a stretch has, most of them near misses of what is asked.
    """
    material = material or Material()
    plan: list[list[Passage]] = [[] for _ in range(chunks)]
    asked: list[tuple[Family, Key, Attribute]] = []
    for family in families:
        for _ in range(per_family):
            wanted = rng.choice(attributes("heldout")) if material.attributes == "heldout" else attribute(rng, "train")
            entity = story.entity_name(rng, material.split)
            key = Key(entity, wanted.phrase, wanted.kind)
            asked.append((family, key, wanted))
            _place(rng, plan, family, key, wanted, material)
    taken = {name_of(key.entity, key.attribute) for _, key, _ in asked}
    for passages in plan:
        for _ in range(_poisson(rng, density)):
            distraction = _distraction(rng, [(key, wanted) for _, key, wanted in asked], material)
            if not any(name_of(fact.entity, fact.attribute) in taken for fact in distraction.facts):
                passages.insert(rng.randint(0, len(passages)), distraction)
    texts = tuple(_write(rng, passages, chunk_tokens, count, material) for passages in plan)
    return Document(texts, tuple(_item(rng, family, key, plan, material) for family, key, _ in asked))


def _place(
    rng: Random, plan: list[list[Passage]], family: Family, key: Key, wanted: Attribute, material: Material
) -> None:
    """Put the statements of a key into the plan, in document order."""
    statements = {"single": 1, "choice": rng.choice((1, 1, 2)), "update": rng.randint(2, 4), "absent": 0}[family]
    places = sorted(rng.randrange(len(plan)) for _ in range(statements))
    if family == "update" and statements > 1 and rng.random() < 0.2:
        places[-2] = places[-1]
    before = ""
    lowest: dict[int, int] = {}
    for place in places:
        fact = _fact(rng, key.entity, wanted, material, before)
        at = rng.randint(lowest.get(place, 0), len(plan[place]))
        plan[place].insert(at, _say(rng, fact, wanted, before, material))
        lowest[place] = at + 1
        before = fact.value


def _fact(rng: Random, entity: str, wanted: Attribute, material: Material, avoid: str = "") -> Fact:
    return story.make_fact(rng, entity, wanted, material.split, avoid)


@cache
def unseen(kind: Literal["statements", "updates", "questions"], templates: str = "heldout") -> tuple[str, ...]:
    """Templates of a collection that training never uses."""
    return read_lines(f"{templates}_{kind}")


def _say(rng: Random, fact: Fact, wanted: Attribute, before: str, material: Material) -> Passage:
    if material.templates == "grammar":
        return story.put(rng, fact, wanted, before, material.split, (), later=bool(before))
    kind: Literal["statements", "updates"] = "updates" if before and rng.random() < 0.65 else "statements"
    template = rng.choice(unseen(kind, material.templates))
    text = expand(rng, template, bindings(fact, before))
    return Passage(text if template.startswith("{V}") else capital(text), (fact,), line=">>" in template)


def _distraction(rng: Random, asked: Sequence[tuple[Key, Attribute]], material: Material) -> Passage:
    """Near misses of an asked key: another name, another attribute, no value at all."""
    key, wanted = rng.choice(asked)
    shape = rng.random()
    if shape < 0.35:
        return _say(
            rng, _fact(rng, names.near(rng, key.entity, material.split), wanted, material), wanted, "", material
        )
    if shape < 0.7:
        other = attribute_like(rng, key.attribute, "train")
        return _say(rng, _fact(rng, key.entity, other, material), other, "", material)
    if shape < 0.85:
        fresh = attribute(rng, "train")
        return _say(rng, _fact(rng, story.entity_name(rng, material.split), fresh, material), fresh, "", material)
    bare = rng.choice(
        ("{E} was in the news again.", "Many people wrote about {E} that year.", "Nothing was said about the {A}.")
    )
    return Passage(capital(expand(rng, bare, {"E": key.entity, "A": key.attribute})))


def _write(
    rng: Random, passages: Sequence[Passage], budget: int, count: Callable[[str], int], material: Material
) -> str:
    """Passages among running text, at most `budget` tokens; passages always stay, text is dropped to fit."""
    pieces: list[tuple[str, bool]] = [(passage.text, passage.line) for passage in passages]
    room = budget - count(" \n".join(text for text, _ in pieces)) - 2 * len(pieces) - 8
    filling: list[tuple[str, bool]] = []
    misses = 0
    while room > 0 and misses < 6:
        taken = filler.run(rng, material.split)
        for text, is_line in taken:
            cost = count(" " + text) + 1
            if cost > room:
                misses += 1
                break
            filling.append((text, is_line))
            room -= cost
    places = sorted(rng.randint(0, len(filling)) for _ in pieces)
    for place, piece in reversed(list(zip(places, pieces, strict=True))):
        filling.insert(place, piece)
    text = " ".join(f"{text}\n" if is_line else text for text, is_line in filling).replace("\n ", "\n")
    return text + ("\n\n" if rng.random() < 0.3 else " ")


def _item(rng: Random, family: Family, key: Key, plan: Sequence[Sequence[Passage]], material: Material) -> Item:
    known, memories = "", []
    for passages in plan:
        known = last_values(passages).get(name_of(key.entity, key.attribute), known)
        memories.append(known)
    if material.templates != "grammar" and rng.random() < _UNSEEN_QUESTIONS:
        question = expand(rng, rng.choice(unseen("questions")), {"A": key.attribute, "E": key.entity})
    else:
        question = teacher.question(rng, key)
    answer = known or UNKNOWN
    if family == "choice":
        options = _options(rng, key, known, material)
        answer = LETTERS[[option.lower() for option in options].index(known.lower())]
        style = rng.choice(("{}) {}", "{}. {}", "({}) {}", "{}: {}"))
        gap = rng.choice((" ", "\n", "  "))
        question += gap + gap.join(
            style.format(letter, option) for letter, option in zip(LETTERS, options, strict=False)
        )
    return Item(family, question, answer, key, tuple(memories))


def _options(rng: Random, key: Key, right: str, material: Material) -> list[str]:
    made = [right]
    kind = values.kind_for(rng, key.usual)
    while len(made) < 4:
        other = (
            values.near(rng, right, kind, material.split)
            if rng.random() < 0.5
            else values.value(rng, kind, material.split)
        )
        if other.lower() not in {option.lower() for option in made}:
            made.append(other)
    rng.shuffle(made)
    return made


def _poisson(rng: Random, mean: float) -> int:
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count += 1
        left += rng.expovariate(1.0)
    return count
