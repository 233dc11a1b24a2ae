"""Collections: what somebody or something has several of, stated one or two at a time, listed or counted. Knows
passages and questions, not prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from longfold_agent.profiles.demo import AFTER_FIND, BETWEEN, memory_line
from longfold_training.demo import names, story, values
from longfold_training.demo.asked import Asked, Known, Tale
from longfold_training.demo.chunks import chunk_text
from longfold_training.demo.grammar import article, capital, expand, sentence
from longfold_training.demo.listing import COUNT_QUESTIONS, LIST_QUESTIONS, LISTING, WHO_ARE
from longfold_training.demo.ordinary import ORDINARY
from longfold_training.demo.rules import CURRENT
from longfold_training.demo.sentences import WHOLE, Fact, Passage
from longfold_training.demo.words import Split, apart, read_lines, split_of, words

MOST = 6
"""Items of a collection."""


@dataclass(frozen=True, slots=True)
class Collection:
    """An entity's things of one sort."""

    entity: str
    one: str
    """What each of them is, in the singular."""
    kind: str
    """How they usually look: person, place, phrase or code."""
    counted: bool = False
    """Whether their number is asked for, rather than a list of them."""

    @property
    def many(self) -> str:
        return plural(self.one)

    @property
    def name(self) -> tuple[str, str]:
        return story.name_of(self.entity, self.many)

    @property
    def family(self) -> str:
        return "count" if self.counted else "list"

    @property
    def symbols(self) -> dict[str, str]:
        return {"A": self.many, "E": self.entity}

    def question(self, rng: Random) -> str:
        ways: Sequence[str] = COUNT_QUESTIONS if self.counted else LIST_QUESTIONS
        if not self.counted and self.kind == "person" and rng.random() < 0.2:
            ways = WHO_ARE
        return expand(rng, rng.choice(ways), self.symbols | {"cur": rng.choice(CURRENT)})

    def counts(self, fact: Fact, known: Known) -> bool:
        own = story.name_of(fact.entity, fact.attribute) == self.name
        return own and fact.value.casefold() not in {item.casefold() for item in known}

    def read(self, known: Known, passages: Sequence[Passage]) -> Known | None:
        """Each item once, in the order in which they are stated first."""
        stated: dict[str, str] = {}
        for fact in (fact for passage in passages for fact in passage.facts if self.counts(fact, known)):
            stated.setdefault(fact.value.casefold(), fact.value)
        return (*known, *stated.values()) if stated else None

    def written(self, known: Known, passages: Sequence[Passage]) -> tuple[str, str] | None:
        """The first that is new: the profile adds it and asks again."""
        after = self.read(known, passages)
        return None if after is None else (memory_line(self.many, self.entity, after[len(known)]), AFTER_FIND)

    def memory(self, known: Known) -> str:
        return "\n".join(memory_line(self.many, self.entity, item) for item in known)

    def plan(self, known: Known) -> str:
        return AFTER_FIND if known else ""

    def answer(self, known: Known) -> str:
        """Where nothing was found, nothing is known: it may stand elsewhere."""
        return "" if not known else str(len(known)) if self.counted else BETWEEN.join(known)


def plural(one: str) -> str:
    """The regular plural; `placeholders.singulars` leads back."""
    if re.search(r"[^aeiou]y$", one):
        return f"{one[:-1]}ies"
    return f"{one}es" if one.endswith(("s", "x", "ch", "sh")) else f"{one}s"


@cache
def sorts(split: Split) -> tuple[tuple[str, str], ...]:
    """What collections are made of: the singular and the kind of the single ones."""
    found: dict[str, str] = {}
    for line in read_lines("collections" if split == "train" else "collections_heldout"):
        kind, _, rest = line.partition(":")
        found |= {one.strip(): kind for one in rest.split(",")}
    return tuple(found.items())


PAIRS = 0.45
"""Share of a chunk's statements that hold two items, where there are two."""
NOUNS = 0.3
"""Share of training collections of any noun: the policy sees it as a numbered token anyway."""


def collection(rng: Random, split: Split, sort: Split = "train") -> Collection:
    """A collection with names of `split`; `sort` is the split of the word for its things."""
    entity = story.entity_name(rng, split)
    while True:
        one, kind = rng.choice(sorts(sort))
        if sort == "train" and rng.random() < NOUNS:
            one, kind = rng.choice(words("nouns")), rng.choice(("person", "place", "phrase", "code"))
        if apart(one, entity):
            return Collection(entity, one, kind, rng.random() < 0.4)


def like(rng: Random, other: Collection, split: Split) -> Collection:
    """A collection that is easily taken for `other`: a near name, the same thing's others, another thing's same."""
    shape = rng.random()
    fresh = collection(rng, split)
    if shape < 0.4:
        return replace(fresh, entity=names.near(rng, other.entity, split), one=other.one, kind=other.kind)
    if shape < 0.8:
        return replace(fresh, entity=other.entity)
    return replace(fresh, one=other.one, kind=other.kind)


def items(rng: Random, of: Collection, count: int, split: Split) -> Known:
    """Different things that share no word with the question: such a word would come back as the question spells it."""
    made: dict[str, str] = {}
    while len(made) < count:
        item = _item(rng, of.kind if rng.random() < values.TYPED_SHARE else rng.choice(("person", "place", "code")))
        if split_of(item) == split and apart(item, of.entity, of.one, of.many):
            made.setdefault(item.casefold(), item)
    return tuple(made.values())


def _item(rng: Random, kind: str) -> str:
    if kind != "phrase":
        return values.MAKERS[kind](rng)
    noun = rng.choice(words("nouns"))
    return f"{rng.choice(words('adjectives'))} {noun}" if rng.random() < 0.5 else noun


def bindings(of: Collection, listed: Sequence[str], shown: Sequence[str] = ()) -> dict[str, str]:
    """Grammar symbols of a collection and one or two of its items, `shown` being the items with their articles."""
    bound = {"A": of.many, "A1": of.one, "anA1": article(of.one), "E": of.entity, "nl": "\n"}
    return bound | dict(zip(("V", "V2"), shown or listed, strict=False))


def state(rng: Random, of: Collection, listed: Sequence[str]) -> Passage:
    """A sentence of the training grammar that states one item or two."""
    if rng.random() < WHOLE:
        # A small letter opens no sentence.
        ways = [way for way in read_lines("lists") if not (listed[0][0].islower() and way.startswith("{V}"))]
        return _passage(sentence(rng, _put(rng, of, listed, ways)), of, listed)
    shown = [_with_article(rng, item) for item in listed]
    bound = bindings(of, listed, shown)
    template = rng.choice(LISTING["litems" if len(listed) > 1 or rng.random() < 0.4 else "litem"])
    ways = [way for way in LISTING["Vs"] if ("{V2}" in way) == (len(listed) > 1)]
    text = expand(rng, template, bound | {"Vs": expand(rng, rng.choice(ways), bound)})
    if (text[0].islower() and text.startswith(listed[0])) or rng.random() < 0.25:
        # A lead ends in a comma, or the name behind it would be one with its month.
        leads = [lead for lead in ORDINARY["lead"] if lead.endswith(",")]
        text = f"{expand(rng, rng.choice(leads), bound)} {text}"
    if rng.random() < 0.3:
        text += expand(rng, rng.choice(ORDINARY["tail"]), bound)
    return _passage(sentence(rng, text), of, listed, line=":" in template and rng.random() < 0.4)


def say(rng: Random, of: Collection, listed: Sequence[str], templates: Sequence[str]) -> Passage:
    """One item or two in a sentence of a collection of templates."""
    return _passage(capital(_put(rng, of, listed, templates)), of, listed)


def _put(rng: Random, of: Collection, listed: Sequence[str], templates: Sequence[str]) -> str:
    fitting = [template for template in templates if ("{V2}" in template) == (len(listed) > 1)]
    return expand(rng, rng.choice(fitting), bindings(of, listed))


def _passage(text: str, of: Collection, listed: Sequence[str], *, line: bool = False) -> Passage:
    return Passage(text, tuple(Fact(of.entity, of.many, item) for item in listed), line=line)


def _with_article(rng: Random, item: str) -> str:
    if not item[0].islower() or not item[-1].isalpha() or rng.random() < 0.4:
        return item
    return f"the {item}" if rng.random() < 0.5 else article(item)


def grouped(rng: Random, listed: Sequence[str], pairs: float) -> list[tuple[str, ...]]:
    """Items in the order given, by ones and twos; two with the probability `pairs`, where there are two."""
    out: list[tuple[str, ...]] = []
    rest = list(listed)
    while rest:
        size = 2 if len(rest) > 1 and rng.random() < pairs else 1
        out.append(tuple(rest[:size]))
        del rest[:size]
    return out


def tale(rng: Random, tokens: int, split: Split) -> Tale:
    """A chunk of about `tokens` tokens on a few collections that are easily mixed up."""
    all_: dict[tuple[str, str], Collection] = {}
    for _ in range(rng.randint(1, 1 + tokens // 64)):
        made = like(rng, rng.choice(list(all_.values())), split) if all_ else collection(rng, split)
        all_.setdefault(made.name, made)
    room = 1 + tokens // 48
    queues: list[list[Passage]] = []
    asked: list[tuple[Asked, Known]] = []
    answered: list[tuple[Asked, Known]] = []
    for one in all_.values():
        everything = items(rng, one, rng.randint(1, MOST), split)
        begin = 0 if rng.random() < 0.4 else rng.randint(0, len(everything))
        groups = grouped(rng, everything[begin : begin + rng.choice((0, 1, 1, 2, 2, 2, 3))], PAIRS)[:room]
        if begin and rng.random() < 0.25:
            groups.insert(rng.randint(0, len(groups)), (rng.choice(everything[:begin]),))
        room -= len(groups)
        queues.append([state(rng, one, group) for group in groups])
        other = replace(one, counted=not one.counted)
        before = everything[:begin]
        new = [item for group in groups for item in group if item not in before]
        asked += [(one, before), (other, (*before, *new))]
        # While the chunk is read again: a policy finds its items in any order.
        asked += [(of, (*before, *rng.sample(new, rng.randint(1, len(new) - 1)))) for of in (one, other) if new[1:]]
        answered += [(one, everything), (one, everything[: rng.randint(0, len(everything))])]
    passages = story.interleave(rng, queues)
    keys = [story.Key(one.entity, one.many, "num") for one in all_.values()]
    for _ in range(rng.randint(0, 1 + tokens // 100)):
        passages.insert(rng.randint(0, len(passages)), story.mention(rng, keys, split))
    for _ in range(2):
        missed = like(rng, rng.choice(list(all_.values())), split)
        if missed.name not in all_:
            asked.append((missed, items(rng, missed, rng.randint(0, 4), split)))
    return Tale(chunk_text(rng, passages, tokens, split), tuple(passages), tuple(asked), tuple(answered))
