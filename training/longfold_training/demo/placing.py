"""Questions over several facts in whole documents: their statements, their near misses and their gold answers. Knows no
chunk's text and no tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from longfold_training.demo import collections, hops, story
from longfold_training.demo.asked import Asked, Known
from longfold_training.demo.collections import Collection
from longfold_training.demo.grammar import capital, expand
from longfold_training.demo.hops import Chain
from longfold_training.demo.material import Kind, Material, say, say_items, unseen
from longfold_training.demo.sentences import Fact, Passage

Plan = list[list[Passage]]
"""The passages of each chunk, in their order."""

BARE = ("{E} was in the news again.", "Many people wrote about {E} that year.", "Nothing was said about the {A}.")
"""Mentions that state nothing."""
_REPEATED = 0.4
_PAIRS = 0.3
_TOGETHER = 0.25
_CHANGED = 0.25
"""Shares: of collections with an item stated twice; of statements with two items; of chains with both facts in one
chunk; of chains whose second fact changes."""


def place_collection(rng: Random, plan: Plan, material: Material, *, counted: bool) -> Collection:
    """Two items or more, by ones and twos, anywhere."""
    of = replace(collections.collection(rng, material.split, material.attributes), counted=counted)
    held = collections.items(rng, of, rng.randint(2, collections.MOST), material.split)
    groups = collections.grouped(rng, held, _PAIRS)
    if rng.random() < _REPEATED:
        groups.append((rng.choice(held),))
    for group in groups:
        passages = rng.choice(plan)
        passages.insert(rng.randint(0, len(passages)), say_items(rng, of, group, material))
    return of


def place_chain(rng: Random, plan: Plan, material: Material) -> tuple[Chain, str]:
    """A chain and the value of its link. The first fact stands before the second, however the text is cut."""
    of = hops.chain(rng, material.split, material.attributes)
    link = hops.link_value(rng, of, material.split)
    places = sorted(rng.randrange(len(plan)) for _ in range(3 if rng.random() < _CHANGED else 2))
    if rng.random() < _TOGETHER:
        places[0] = places[1]
    first = Fact(of.entity, of.link.phrase, link, wordy=True)
    passages = plan[places[0]]
    low, last = rng.randint(0, len(passages)), places[0]
    passages.insert(low, say(rng, first, of.link, "", material))
    before = ""
    for place in places[1:]:
        fact = story.make_fact(rng, link, of.wanted, material.split, before)
        low = rng.randint(low + 1 if place == last else 0, len(plan[place]))
        plan[place].insert(low, say(rng, fact, of.wanted, before, material))
        before, last = fact.value, place
    return of, link


def near_collection(rng: Random, of: Collection, material: Material) -> Passage:
    """Items that are not of this collection, or a mention of it."""
    if rng.random() < 0.25:
        return Passage(capital(expand(rng, rng.choice(BARE), {"E": of.entity, "A": of.many})))
    other = collections.like(rng, of, material.split)
    listed = collections.items(rng, other, rng.choice((1, 1, 2)), material.split)
    return say_items(rng, other, listed, material)


def near_chain(rng: Random, of: Chain, link: str, material: Material) -> Passage:
    fact, wanted = hops.trap(rng, of, link, material.split)
    return say(rng, fact, wanted, "", material)


def reading(of: Asked, plan: Sequence[Sequence[Passage]]) -> list[Known]:
    """What the teacher knows after each chunk."""
    known: Known = ()
    out = []
    for passages in plan:
        after = of.read(known, passages)
        known = known if after is None else after
        out.append(known)
    return out


_QUESTIONS: dict[str, Kind] = {"list": "list_questions", "count": "count_questions", "hops": "hop_questions"}


def unseen_question(rng: Random, of: Asked) -> str:
    """The question in words that training never uses."""
    return expand(rng, rng.choice(unseen(_QUESTIONS[of.family])), of.symbols)
