"""Questions over two facts: what is asked about is named by another fact ("the access code of the manager of Norbel").
Knows passages and questions, not prompts.

A reader that goes forward once learns from the first fact what to look for: a second fact that stood in an earlier
chunk is lost to it. Within one chunk they may stand in either order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from longfold_agent.profiles.demo import AFTER_FIND, find_plan, memory_line
from longfold_training.demo import names, sentences, story, values
from longfold_training.demo.asked import Asked, Known, Tale
from longfold_training.demo.chunks import chunk_text
from longfold_training.demo.grammar import expand
from longfold_training.demo.rules import CURRENT
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.words import Attribute, Split, apart, attribute, attributes

HOP_QUESTIONS = tuple(
    """
What is the {B} of the {A} of {E}?
What is the {B} of the {A} of {E}?
What is the {B} of the {A} of {E}?
What is the {B} of the {A} of {E}?
What is the {B} of {E}'s {A}?
What is the {B} of {E}'s {A}?
What is the {B} of {E}'s {A}?
What is {E}'s {A}'s {B}?
What is the {cur} {B} of the {A} of {E}?
What is the {cur} {B} of {E}'s {A}?
What is the {B} of the {cur} {A} of {E}?
What was the {B} of the {A} of {E}?
What was the {B} of {E}'s {A}?
What is the {B} for the {A} of {E}?
What's the {B} of the {A} of {E}?
What's the {B} of {E}'s {A}?
Which {B} does the {A} of {E} have?
Which {B} does {E}'s {A} have?
What {B} does the {A} of {E} have?
Which {B} is given for the {A} of {E}?
Which {B} belongs to the {A} of {E}?
Which is the {B} of the {A} of {E}?
Tell me the {B} of the {A} of {E}.
Tell me the {B} of {E}'s {A}.
Tell me what the {B} of the {A} of {E} is.
Please tell me the {B} of the {A} of {E}.
Give me the {B} of the {A} of {E}.
Give me the {B} of {E}'s {A}.
Find the {B} of the {A} of {E}.
Find the {B} of {E}'s {A}.
Look up the {B} of the {A} of {E}.
State the {B} of the {A} of {E}.
I need the {B} of the {A} of {E}.
I want to know the {B} of {E}'s {A}.
Do you know the {B} of the {A} of {E}?
Do you know the {B} of {E}'s {A}?
Can you tell me the {B} of the {A} of {E}?
Can you find the {B} of {E}'s {A}?
According to the text, what is the {B} of the {A} of {E}?
According to the documents, what is the {B} of {E}'s {A}?
In the end, what is the {B} of the {A} of {E}?
For the {A} of {E}, what is the {B}?
For {E}'s {A}, what is the {B}?
As for the {A} of {E}, what is the {B}?
{E}'s {A}: what is the {B}?
The {A} of {E} has which {B}?
Who is the {A} of {E}, and what is the {B}?
The {B} of the {A} of {E}?
The {B} of {E}'s {A}?
what is the {B} of the {A} of {E}
{B} of the {A} of {E}
""".strip().split("\n")
)
"""{E} has an {A}, which has a {B}; "of the" and a second "of" or "'s" tell two facts from one."""
WHO_OF = ("Who is the {B} of the {A} of {E}?", "Who is the {B} of {E}'s {A}?", "Who was the {B} of the {A} of {E}?")


@dataclass(frozen=True, slots=True)
class Chain:
    """Asks for an attribute of what is an entity's `link`. Known are the link's value, then also the attribute's."""

    entity: str
    link: Attribute
    wanted: Attribute

    @property
    def family(self) -> str:
        return "hops"

    @property
    def symbols(self) -> dict[str, str]:
        return {"A": self.link.phrase, "B": self.wanted.phrase, "E": self.entity}

    def question(self, rng: Random) -> str:
        ways = WHO_OF if self.wanted.kind == "person" and rng.random() < 0.3 else HOP_QUESTIONS
        return expand(rng, rng.choice(ways), self.symbols | {"cur": rng.choice(CURRENT)})

    def counts(self, fact: Fact, known: Known) -> bool:
        return story.name_of(fact.entity, fact.attribute) == self._sought(known)

    def read(self, known: Known, passages: Sequence[Passage]) -> Known | None:
        """The first chunk with the link settles it; of several values of the attribute the last counts."""
        stated = story.last_values(passages)
        link = known[:1] or tuple(filter(None, [stated.get(self._sought(()))]))
        value = stated.get(self._sought(link)) if link else None
        if value:
            return (*link, value)
        return link if link and not known else None

    def written(self, known: Known, passages: Sequence[Passage]) -> tuple[str, str] | None:
        """The fact that is looked for now, alone."""
        value = story.last_values(passages).get(self._sought(known))
        if not value:
            return None
        after = (*known[:1], value)
        return self.memory(after).split("\n")[-1], self.plan(after)

    def memory(self, known: Known) -> str:
        lines = [memory_line(self.link.phrase, self.entity, link) for link in known[:1]]
        return "\n".join(lines + [memory_line(self.wanted.phrase, known[0], value) for value in known[1:]])

    def plan(self, known: Known) -> str:
        return (find_plan(self.wanted.phrase, known[0]) if len(known) == 1 else AFTER_FIND) if known else ""

    def answer(self, known: Known) -> str:
        return known[1] if len(known) > 1 else ""

    def _sought(self, known: Known) -> tuple[str, str]:
        """Name of the fact that is looked for by a reader who knows `known`."""
        return story.name_of(known[0], self.wanted.phrase) if known else story.name_of(self.entity, self.link.phrase)


def chain(rng: Random, split: Split, phrases: Split = "train") -> Chain:
    """A chain with names of `split`; `phrases` is the split of its attributes."""
    links = [one for one in attributes(phrases) if one.kind in ("person", "place") and " of " not in one.phrase]
    while True:
        entity, link = story.entity_name(rng, split), rng.choice(links)
        wanted = rng.choice(attributes("heldout")) if phrases == "heldout" else attribute(rng, "train")
        if (
            " of " not in wanted.phrase
            and apart(wanted.phrase, link.phrase)
            and apart(entity, link.phrase, wanted.phrase)
        ):
            return Chain(entity, link, wanted)


def link_value(rng: Random, of: Chain, split: Split) -> str:
    """A name for the link, of no word of the question."""
    while True:
        made = values.value(rng, of.link.kind, split)
        if apart(made, of.entity, of.link.phrase, of.wanted.phrase):
            return made


def trap(rng: Random, of: Chain, link: str, split: Split) -> tuple[Fact, Attribute]:
    """A fact that is easily taken for one of the chain's, whose link is `link`."""
    shape = rng.random()
    if shape < 0.2:
        entity, wanted = names.near(rng, of.entity, split), of.link
    elif shape < 0.4:
        entity, wanted = names.near(rng, link, split), of.wanted
    elif shape < 0.55:
        entity, wanted = of.entity, of.wanted
    elif shape < 0.7:
        entity, wanted = values.value(rng, of.link.kind, split), of.wanted
    elif shape < 0.85:
        entity, wanted = link, story.attribute_like(rng, of.wanted.phrase, "train")
    else:
        entity, wanted = of.entity, story.attribute_like(rng, of.link.phrase, "train")
    return story.make_fact(rng, entity, wanted, split), wanted


def tale(rng: Random, tokens: int, split: Split, ordinary: float) -> Tale:
    """A chunk of about `tokens` tokens with both facts of a chain, one or none, and what may be mistaken for them.

    ordinary: share of statements as people ordinarily write them.
    """
    one = chain(rng, split)
    link = link_value(rng, one, split)
    first = Fact(one.entity, one.link.phrase, link, wordy=True)
    second = story.make_fact(rng, link, one.wanted, split)
    taken = [story.name_of(fact.entity, fact.attribute) for fact in (first, second)]
    shape = rng.random()
    stated = [(first, one.link)] if shape < 0.65 else []
    stated += [(second, one.wanted)] if shape < 0.4 or 0.65 <= shape < 0.9 else []
    for _ in range(rng.randint(0, 1 + tokens // 80)):
        fact, wanted = trap(rng, one, link, split)
        if story.name_of(fact.entity, fact.attribute) not in taken:
            stated.append((fact, wanted))
    rng.shuffle(stated)
    passages = [
        sentences.ordinary(rng, fact, "")
        if rng.random() < ordinary
        else story.put(rng, fact, wanted, "", split, taken, later=False)
        for fact, wanted in stated
    ]
    before = story.make_fact(rng, link, one.wanted, split, second.value).value
    states: list[Known] = [(), (), (), (link,), (link, before)]
    asked: list[tuple[Asked, Known]] = [(one, known) for known in states]
    answered: list[tuple[Asked, Known]] = [*asked, (one, (link, second.value))]
    return Tale(chunk_text(rng, passages, tokens, split), tuple(passages), tuple(asked), tuple(answered))
