"""One chunk of a simulated document with the keys one may ask about. Knows passages and their facts, not prompts or
tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from longfold_training.demo import filler, names, sentences, values
from longfold_training.demo.chunks import chunk_text
from longfold_training.demo.grammar import expand, sentence
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.words import Attribute, Split, attribute, words

PHRASES = 0.2
"""Share of attributes whose values are phrases, whatever they usually are: most other values are one token, and copying
on has to be learned too."""


@dataclass(frozen=True, slots=True)
class Key:
    """An entity and one of its attributes: what a question asks for."""

    entity: str
    attribute: str
    usual: str
    """The kind of value the attribute usually has."""
    prior: str = ""
    """The value in memory before the chunk; "" for none."""
    origin: str = "stated"
    """Why the key is asked: "stated" in the chunk, or the kind of near miss."""

    @property
    def shown(self) -> str:
        return self.entity


@dataclass(frozen=True, slots=True)
class Story:
    text: str
    passages: tuple[Passage, ...]
    keys: tuple[Key, ...]
    split: Split
    index: dict[tuple[str, str], str] = field(default_factory=dict)

    def last_value(self, key: Key) -> str:
        """The last value the chunk states for a key; "" when it states none."""
        return self.index.get(name_of(key.entity, key.attribute), "")

    def last_statement(self, key: Key) -> str:
        """The last passage that states a value for a key; "" when none does."""
        wanted = name_of(key.entity, key.attribute)
        stating = (
            passage.text
            for passage in reversed(self.passages)
            if any(name_of(fact.entity, fact.attribute) == wanted for fact in passage.facts)
        )
        return next(stating, "")


def name_of(entity: str, phrase: str) -> tuple[str, str]:
    """What makes two keys the same: case and a leading article do not matter."""
    return entity.lower().removeprefix("the "), phrase.lower()


def last_values(passages: Iterable[Passage]) -> dict[tuple[str, str], str]:
    """The teacher's rule: of several values of one key the last one stated counts."""
    return {name_of(fact.entity, fact.attribute): fact.value for passage in passages for fact in passage.facts}


def make_fact(rng: Random, entity: str, chosen: Attribute, split: Split, avoid: str = "") -> Fact:
    kind = values.kind_for(rng, chosen.kind)
    made = values.value(rng, kind, split, frozenset({avoid.lower(), ""}))
    return Fact(entity, chosen.phrase, made, kind in values.WORDY)


def entity_name(rng: Random, split: Split) -> str:
    made = names.entity(rng, split)
    last = made.split()[-1]
    if rng.random() < 0.3 and last in words("org_words"):
        return f"the {made}"
    return f"the {made}" if made[0].islower() and rng.random() < 0.3 else made


def attribute_like(rng: Random, phrase: str, split: Split) -> Attribute:
    """Another attribute, often sharing a word with `phrase`."""
    parts = phrase.split()
    for _ in range(20):
        other = attribute(rng, split)
        if len(parts) > 1 and rng.random() < 0.7:
            mine, others = list(parts), other.phrase.split()
            at = rng.choice((0, -1))
            mine[at] = others[at]
            other = Attribute(" ".join(mine), other.kind)
        elif rng.random() < 0.3 and len(parts) == 1 and split == "train":
            other = Attribute(f"{rng.choice(words('attribute_mods'))} {phrase}", other.kind)
        if other.phrase != phrase:
            return other
    return attribute(rng, split)


def make_story(rng: Random, tokens: int, count: int, split: Split, ordinary: float = 0.0) -> Story:
    """A chunk of about `tokens` tokens stating facts of about half of `count` keys, with near misses of them.

    ordinary: share of statements as people ordinarily write them.
    """
    stated = max(1, round(min(count * 0.6, tokens / 36) * rng.uniform(0.35, 1.1)))
    if rng.random() < 0.06:
        stated = 0
    chosen: dict[tuple[str, str], tuple[Key, Attribute]] = {}
    while len(chosen) < stated:
        entity, wanted = _next_subject(rng, list(chosen.values()), split)
        if rng.random() < PHRASES:
            wanted = Attribute(wanted.phrase, "phrase")
        prior = make_fact(rng, entity, wanted, split).value if rng.random() < 0.5 else ""
        chosen.setdefault(name_of(entity, wanted.phrase), (Key(entity, wanted.phrase, wanted.kind, prior), wanted))
    queues = [_passages(rng, key, wanted, split, chosen, ordinary) for key, wanted in chosen.values()]
    passages = _interleave(rng, queues)
    for _ in range(rng.randint(0, 1 + tokens // 100)):
        passages.insert(rng.randint(0, len(passages)), _mention(rng, [key for key, _ in chosen.values()], split))
    if rng.random() < 0.06:
        passages.append(_cut(rng, split))
    index = last_values(passages)
    keys = [key for key, _ in chosen.values()]
    keys += _companions(rng, passages, keys)
    keys += _near_misses(rng, keys, index, count, split)
    text = chunk_text(rng, passages, tokens, split)
    return Story(text, tuple(passages), tuple(keys), split, index)


def _next_subject(rng: Random, have: Sequence[tuple[Key, Attribute]], split: Split) -> tuple[str, Attribute]:
    """A fresh subject, or one that is easily taken for another: same entity, same attribute, near name."""
    if have and (shape := rng.random()) < 0.6:
        key, wanted = rng.choice(have)
        if shape < 0.22:
            return key.entity, attribute_like(rng, key.attribute, split)
        if shape < 0.42:
            return names.near(rng, key.entity, split), wanted
        if shape < 0.55:
            return entity_name(rng, split), wanted
        return names.near(rng, key.entity, split), attribute_like(rng, key.attribute, split)
    return entity_name(rng, split), attribute(rng, split)


def _passages(
    rng: Random,
    key: Key,
    wanted: Attribute,
    split: Split,
    taken: dict[tuple[str, str], tuple[Key, Attribute]],
    ordinary: float,
) -> list[Passage]:
    """The statements of one key in order: one, or several with changing values."""
    count = rng.choices((1, 2, 3), (0.72, 0.21, 0.07))[0]
    before, out = key.prior, []
    for number in range(count):
        fact = make_fact(rng, key.entity, wanted, split, before)
        if rng.random() < ordinary:
            out.append(sentences.ordinary(rng, fact, before))
        else:
            out.append(put(rng, fact, wanted, before, split, taken, later=bool(before)))
        before = fact.value
        if number == 0 and rng.random() < 0.04:
            out.append(put(rng, fact, wanted, "", split, taken, later=False))
    return out


def put(
    rng: Random,
    fact: Fact,
    wanted: Attribute,
    before: str,
    split: Split,
    taken: Iterable[tuple[str, str]],
    *,
    later: bool,
) -> Passage:
    """A fact in words. `later` facts mostly say that the value changed."""
    shape = rng.random()
    if shape < (0.55 if later else 0.1):
        return sentences.update(rng, fact, before or make_fact(rng, fact.entity, wanted, split, fact.value).value)
    shape = rng.random()
    if shape < 0.5:
        other_name = names.near(rng, fact.entity, split) if rng.random() < 0.5 else entity_name(rng, split)
        other = make_fact(rng, other_name, wanted, split, fact.value)
        third_wanted = attribute_like(rng, fact.attribute, split)
        third = make_fact(rng, fact.entity, third_wanted, split, fact.value)
        made = sentences.state(rng, fact, other, third)
        if any(name_of(extra.entity, extra.attribute) in set(taken) for extra in made.facts[1:]):
            return sentences.soup(rng, fact)
        return made
    if shape < 0.6:
        return sentences.passage(rng, fact)
    if shape < 0.72:
        return sentences.line(rng, fact)
    if shape < 0.8:
        facts = [fact]
        for _ in range(rng.randint(0, 3)):
            facts.append(make_fact(rng, fact.entity, attribute(rng, split), split))
        rng.shuffle(facts)
        names_of = [name_of(one.entity, one.attribute) for one in facts]
        mine = name_of(fact.entity, fact.attribute)
        facts = [
            one
            for one, name in zip(facts, names_of, strict=True)
            if one is fact or (name != mine and name not in set(taken))
        ]
        return sentences.block(rng, facts)
    return sentences.soup(rng, fact)


def _interleave(rng: Random, queues: Sequence[list[Passage]]) -> list[Passage]:
    """All passages in random order, each key's own in theirs."""
    order = [number for number, queue in enumerate(queues) for _ in queue]
    rng.shuffle(order)
    rests = [iter(queue) for queue in queues]
    return [next(rests[number]) for number in order]


def _mention(rng: Random, keys: Sequence[Key], split: Split) -> Passage:
    """Text about an entity or an attribute that states no value."""
    key = rng.choice(keys) if keys and rng.random() < 0.7 else None
    entity = key.entity if key else names.entity(rng, split)
    phrase = key.attribute if key else attribute(rng, split).phrase
    bound = {"E": entity, "A": phrase}
    shape = rng.random()
    if shape < 0.35:
        return Passage(sentence(rng, expand(rng, rng.choice(_ABOUT_ENTITY), bound)))
    if shape < 0.65:
        return Passage(sentence(rng, expand(rng, rng.choice(_ABOUT_ATTRIBUTE), bound)))
    if shape < 0.8:
        return Passage(filler.questions(rng, entity, phrase))
    return Passage(sentence(rng, expand(rng, rng.choice(_ABOUT_BOTH), bound)))


_ABOUT_ENTITY = (
    "{E} {vp}", "{E} {vp}", "{E} {vp}{outro}", "{agent} {past} {E}", "{agent} {past} {E}{outro}",
    "{E} {past} {int} {noun}s", "{E} and {person} {past} the {noun}", "{person} {past} {E} in {place_name}",
    "{E} is {adj}", "{intro} {E} {vp}", "{E}", "{E} {past} {code}", "the {noun} of {E} was {adj}",
    "{agent} {past} {measure} of {noun} for {E}", "{document} mentions {E}", "{E} paid {money} for the {noun}",
    "{person} wrote to {E} on {date}", "{E} ({year}) {vp}", "{E} was founded in {year}",
)  # fmt: skip
_ABOUT_ATTRIBUTE = (
    "the {A} was {adj}", "{agent} {past} the {A}", "{agent} {past} about the {A}{outro}", "the {A} is on {document}",
    "the {A} {past}", "the {A} of the {noun} is {value0}", "the {A} of the {noun} is {value0}", "{A}: {value0}",
    "the {A} is {value0}", "every {A} has {int} {noun}s", "{A}", "the {A} of {person} is {value0}",
    "{firm} has the {A} {value0}", "{intro} the {A} {past}", "{person}'s {A} is {value0}",
)  # fmt: skip
_ABOUT_BOTH = (
    "{agent} {past} about the {A} of {E}", "the {A} of {E} is {pp} in {document}", "{E} {past} the {A}",
    "nobody knows the {A} of {E}", "the {A} of {E} is unknown", "{agent} {past} {np}", "{E} has no {A}",
    "we still need the {A} of {E}", "{agent} {past} {E} and the {A}", "the {A} was {pp} near {E}",
    "{E} asked {person} for the {A}", "{agent} will {verb} the {A} of {E} later", "{E} {vp} and {past} the {A}",
)  # fmt: skip


def _cut(rng: Random, split: Split) -> Passage:
    """A statement cut off before its value, as at the end of a chunk."""
    wanted = attribute(rng, split)
    entity = names.entity(rng, split)
    start = rng.choice(("The {A} of {E}", "The {A} of {E} is", "{E}'s {A}", "{E} has the", "For {E}, the {A} is"))
    return Passage(expand(rng, start, {"A": wanted.phrase, "E": entity}))


def _companions(rng: Random, passages: Sequence[Passage], keys: Sequence[Key]) -> list[Key]:
    """Keys of facts that came with another fact in one sentence."""
    known = {name_of(key.entity, key.attribute) for key in keys}
    found: dict[tuple[str, str], Key] = {}
    for passage in passages:
        for fact in passage.facts:
            name = name_of(fact.entity, fact.attribute)
            if name not in known and rng.random() < 0.6:
                found[name] = Key(fact.entity, fact.attribute, "num")
    return list(found.values())


def _near_misses(
    rng: Random, keys: Sequence[Key], index: dict[tuple[str, str], str], count: int, split: Split
) -> list[Key]:
    """Keys the chunk says nothing about, most of them close to one it speaks of."""
    out: list[Key] = []
    for _ in range(max(2, round(count * 0.7))):
        shape = rng.random()
        entity, wanted, origin = entity_name(rng, split), attribute(rng, split), "far"
        if keys and shape < 0.9:
            key = rng.choice(keys)
            if shape < 0.26:
                entity, wanted, origin = (
                    names.near(rng, key.entity, split),
                    Attribute(key.attribute, key.usual),
                    "near_name",
                )
            elif shape < 0.38:
                wanted, origin = Attribute(key.attribute, key.usual), "other_name"
            elif shape < 0.62:
                entity, wanted, origin = key.entity, attribute_like(rng, key.attribute, split), "other_attribute"
            else:
                other = rng.choice(keys)
                entity, wanted, origin = key.entity, Attribute(other.attribute, other.usual), "crossed"
        if name_of(entity, wanted.phrase) in index:
            continue
        prior = make_fact(rng, entity, wanted, split).value if rng.random() < 0.5 else ""
        out.append(Key(entity, wanted.phrase, wanted.kind, prior, origin))
    return out
