"""What a document for evaluation or RL is made of, and its facts in sentences of that. Knows no questions and no
chunks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

from longfold_training.demo import collections, story
from longfold_training.demo.collections import Collection
from longfold_training.demo.grammar import capital, expand
from longfold_training.demo.sentences import Fact, Passage, bindings
from longfold_training.demo.words import Attribute, Split, read_lines

Templates = Literal["everyday", "heldout", "grammar"]
Kind = Literal["statements", "updates", "questions", "lists", "list_questions", "count_questions", "hop_questions"]


@dataclass(frozen=True, slots=True)
class Material:
    """What a document is made of."""

    split: Split = "heldout"
    """Names, values and filler."""
    templates: Templates = "everyday"
    """Sentences: a collection written apart from the grammar ("heldout" is far-fetched), or the grammar's."""
    attributes: Split = "train"
    """Attribute phrases; "heldout" phrases were never seen in training."""


@cache
def unseen(kind: Kind, templates: str = "heldout") -> tuple[str, ...]:
    """Templates of a collection that training never uses."""
    return read_lines(f"{templates}_{kind}")


def say(rng: Random, fact: Fact, wanted: Attribute, before: str, material: Material) -> Passage:
    """A fact, or its change from the value `before`."""
    if material.templates == "grammar":
        return story.put(rng, fact, wanted, before, material.split, (), later=bool(before))
    kind: Kind = "updates" if before and rng.random() < 0.65 else "statements"
    template = rng.choice(unseen(kind, material.templates))
    text = expand(rng, template, bindings(fact, before))
    return Passage(text if template.startswith("{V}") else capital(text), (fact,), line=">>" in template)


def say_items(rng: Random, of: Collection, listed: tuple[str, ...], material: Material) -> Passage:
    """One item or two of a collection."""
    if material.templates == "grammar":
        return collections.state(rng, of, listed)
    return collections.say(rng, of, listed, unseen("lists", material.templates))
