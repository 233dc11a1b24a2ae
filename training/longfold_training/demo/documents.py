"""Whole documents with questions and gold answers, for evaluation, tests and benchmarks. Knows no tokenizer but a
counting function, no model.

document = generate(Random(7), chunks=16, count=tokens.count)
document.text, document.items[0].question, document.items[0].answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

from longfold_agent.profiles.choices import LETTERS
from longfold_agent.profiles.demo import AFTER_FIND, BETWEEN, UNKNOWN, memory_line
from longfold_training.demo import filler, names, placing, story, teacher, values
from longfold_training.demo.asked import Asked
from longfold_training.demo.grammar import capital, expand
from longfold_training.demo.material import Material, say, unseen
from longfold_training.demo.placing import Plan
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.story import Key, attribute_like, last_values, name_of
from longfold_training.demo.words import Attribute, attribute, attributes
from longfold_training.errors import RecipeError

Family = Literal["single", "update", "choice", "absent", "list", "count", "hops"]
FAMILIES: tuple[Family, ...] = ("single", "update", "choice")
"""The families that the shipped policy was trained on; "absent" questions have no fact and the answer "unknown"."""
SEVERAL: tuple[Family, ...] = ("list", "count", "hops")
"""The families whose answer rests on several facts."""
_UNSEEN_QUESTIONS = 0.25
_DRAWS = 200
"""Until a document is short enough. Lists are the longest: at 112 tokens one in four is, at 240 nine in ten."""


def value_of(memory: str) -> str:
    """What a memory of a fact a line holds behind the keys."""
    return BETWEEN.join(line.split(": ", 1)[-1] for line in memory.split("\n"))


@dataclass(frozen=True, slots=True)
class Item:
    """A question on a document."""

    family: Family
    question: str
    """As a user writes it, options included."""
    answer: str
    """The gold answer: the value, the option's letter, the items, their number, or "unknown"."""
    key: Key
    memories: tuple[str, ...]
    """`value_of` the memory after each chunk."""
    updates: tuple[tuple[str, str], ...]
    """Memory and plan of the programmatic teacher after each chunk."""


@dataclass(frozen=True, slots=True)
class Document:
    chunks: tuple[str, ...]
    """The text in stretches of about the same length; a service cuts it by rules of its own."""
    items: tuple[Item, ...]

    @property
    def text(self) -> str:
        return "".join(self.chunks)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A question whose statements stand in the plan."""

    taken: frozenset[tuple[str, str]]
    """Names of its facts; no near miss may state one."""
    near: Callable[[], Passage]
    """Makes a near miss."""
    item: Callable[[], Item]


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
    """A document of at most `chunks` x `chunk_tokens` tokens (by `count`), with `per_family` questions of each family.

    density: mean number of distracting passages a stretch has, most of them near misses of what is asked.

    A stretch is filled up to `chunk_tokens`; one that many statements fall into is longer. Raises `RecipeError` where
    so much is asked that no document is short enough.
    """
    for _ in range(_DRAWS):
        document = _drawn(rng, chunks, count, chunk_tokens, per_family, families, material or Material(), density)
        if count(document.text) <= chunks * chunk_tokens:
            return document
        # From itself, so that the documents that are drawn from `rng` behind it stay what they are.
        rng = Random(document.text)
    raise RecipeError(
        f"{per_family} of each of {', '.join(families)} find no room in a document of {chunks * chunk_tokens} tokens: "
        "ask for fewer, or give it more chunks or longer ones"
    )


def _drawn(
    rng: Random,
    chunks: int,
    count: Callable[[str], int],
    chunk_tokens: int,
    per_family: int,
    families: Sequence[Family],
    material: Material,
    density: float,
) -> Document:
    """As `generate`, of whatever length it comes to."""
    plan: Plan = [[] for _ in range(chunks)]
    asked: list[_Placed] = []
    for family in families:
        for _ in range(per_family):
            if family == "hops":
                asked.append(_chain(rng, plan, material))
            elif family in SEVERAL:
                asked.append(_collection(rng, plan, family, material))
            else:
                asked.append(_single(rng, plan, family, material))
    taken = frozenset().union(*(one.taken for one in asked))
    for passages in plan:
        for _ in range(_poisson(rng, density)):
            distraction = rng.choice(asked).near()
            if not any(name_of(fact.entity, fact.attribute) in taken for fact in distraction.facts):
                passages.insert(rng.randint(0, len(passages)), distraction)
    texts = tuple(_write(rng, passages, chunk_tokens, count, material) for passages in plan)
    return Document(texts, tuple(one.item() for one in asked))


def _single(rng: Random, plan: Plan, family: Family, material: Material) -> _Placed:
    wanted = rng.choice(attributes("heldout")) if material.attributes == "heldout" else attribute(rng, "train")
    entity = story.entity_name(rng, material.split)
    key = Key(entity, wanted.phrase, wanted.kind)
    _place(rng, plan, family, key, wanted, material)
    return _Placed(
        frozenset({name_of(entity, wanted.phrase)}),
        partial(_distraction, rng, key, wanted, material),
        partial(_item, rng, family, key, plan, material),
    )


def _collection(rng: Random, plan: Plan, family: Family, material: Material) -> _Placed:
    of = placing.place_collection(rng, plan, material, counted=family == "count")
    key = Key(of.entity, of.many, of.kind)
    return _Placed(
        frozenset({of.name}),
        partial(placing.near_collection, rng, of, material),
        partial(_item_of, rng, family, of, key, plan, material),
    )


def _chain(rng: Random, plan: Plan, material: Material) -> _Placed:
    of, link = placing.place_chain(rng, plan, material)
    key = Key(of.entity, of.wanted.phrase, of.wanted.kind)
    return _Placed(
        frozenset({name_of(of.entity, of.link.phrase), name_of(link, of.wanted.phrase)}),
        partial(placing.near_chain, rng, of, link, material),
        partial(_item_of, rng, "hops", of, key, plan, material),
    )


def _place(rng: Random, plan: Plan, family: Family, key: Key, wanted: Attribute, material: Material) -> None:
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
        plan[place].insert(at, say(rng, fact, wanted, before, material))
        lowest[place] = at + 1
        before = fact.value


def _fact(rng: Random, entity: str, wanted: Attribute, material: Material, avoid: str = "") -> Fact:
    return story.make_fact(rng, entity, wanted, material.split, avoid)


def _distraction(rng: Random, key: Key, wanted: Attribute, material: Material) -> Passage:
    """Near misses of an asked key: another name, another attribute, no value at all."""
    shape = rng.random()
    if shape < 0.35:
        return say(rng, _fact(rng, names.near(rng, key.entity, material.split), wanted, material), wanted, "", material)
    if shape < 0.7:
        other = attribute_like(rng, key.attribute, "train")
        return say(rng, _fact(rng, key.entity, other, material), other, "", material)
    if shape < 0.85:
        fresh = attribute(rng, "train")
        return say(rng, _fact(rng, story.entity_name(rng, material.split), fresh, material), fresh, "", material)
    return Passage(capital(expand(rng, rng.choice(placing.BARE), {"E": key.entity, "A": key.attribute})))


def _write(
    rng: Random, passages: Sequence[Passage], budget: int, count: Callable[[str], int], material: Material
) -> str:
    """Passages among running text that fills what they leave of `budget` tokens; passages always stay."""
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
    lines = (memory_line(key.attribute, key.shown, value) if value else "" for value in memories)
    return Item(
        family, question, answer, key, tuple(memories), tuple((line, AFTER_FIND if line else "") for line in lines)
    )


def _item_of(rng: Random, family: Family, of: Asked, key: Key, plan: Plan, material: Material) -> Item:
    states = placing.reading(of, plan)
    updates = tuple((of.memory(known), of.plan(known)) for known in states)
    unseen_words = material.templates != "grammar" and rng.random() < _UNSEEN_QUESTIONS
    question = placing.unseen_question(rng, of) if unseen_words else of.question(rng)
    memories = tuple(value_of(memory) for memory, _ in updates)
    return Item(family, question, of.answer(states[-1]) or UNKNOWN, key, memories, updates)


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
