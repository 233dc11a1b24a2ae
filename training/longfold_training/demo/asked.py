"""What a question over several facts asks for, and its exercises. Knows prompts, not how the facts come into a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Protocol

from longfold_agent.profiles import demo as prompt
from longfold_agent.profiles.placeholders import Placeholders
from longfold_training.demo.rows import Exercise
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.spans import marks_of

Known = tuple[str, ...]
"""What was found so far, in the order of its finding."""


class Asked(Protocol):
    """A question over several facts, and the programmatic teacher's rules for it."""

    @property
    def family(self) -> str: ...

    @property
    def symbols(self) -> dict[str, str]:
        """What the question's templates bind."""
        ...

    def question(self, rng: Random) -> str: ...

    def counts(self, fact: Fact, known: Known) -> bool:
        """Whether a fact is one of those asked for, to a reader who knows `known`."""
        ...

    def read(self, known: Known, passages: Sequence[Passage]) -> Known | None:
        """What is known after the passages, read as often as there is something new to look for; None where they
        state nothing that counts."""
        ...

    def written(self, known: Known, passages: Sequence[Passage]) -> tuple[str, str] | None:
        """Line and plan of the reply to the passages, from which the profile makes the memory; None for KEEP."""
        ...

    def memory(self, known: Known) -> str:
        """A fact a line, as the profile keeps it."""
        ...

    def plan(self, known: Known) -> str: ...

    def answer(self, known: Known) -> str:
        """The answer, "" while it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Tale:
    """A chunk and what is asked about it, each with what was known before it."""

    text: str
    passages: tuple[Passage, ...]
    asked: tuple[tuple[Asked, Known], ...]
    answered: tuple[tuple[Asked, Known], ...]
    """What is answered from what is known, without the chunk."""


IDLE_SHARE = 0.4
"""Share of reading rows whose right reply is KEEP."""
ANSWER_SHARE = 0.25
"""Share of rows that answer: a list is copied, things are counted, and a name on the way is no answer."""


def exercises(rng: Random, tale: Tale, count: int) -> list[Exercise]:
    """About `count` exercises: active steps, idle steps and answers, shuffled."""
    steps = [step(rng, asked, known, tale.text, tale.passages) for asked, known in tale.asked]
    rng.shuffle(steps)
    active = [made for made in steps if not made.tag.startswith("keep")]
    idle = [made for made in steps if made.tag.startswith("keep")]
    answers = max(1, round(count * ANSWER_SHARE))
    chosen = active[: max(1, round((count - answers) * (1 - IDLE_SHARE)))]
    chosen += idle[: count - answers - len(chosen)]
    chosen += [answer(rng, *rng.choice(tale.answered)) for _ in range(answers)]
    rng.shuffle(chosen)
    return chosen


def step(rng: Random, asked: Asked, known: Known, text: str, passages: Sequence[Passage]) -> Exercise:
    """Reading for one question: KEEP, or what is written for the chunk."""
    seen = prompt.shown(asked.question(rng), asked.memory(known), asked.plan(known))
    text = prompt.shown_text(text)
    shown = prompt.render_read(seen.question, seen.memory, seen.plan, text)
    written = asked.written(known, passages)
    if written is None:
        return Exercise(shown, "<keep>", True, f"keep_{asked.family}")
    words = prompt.read_words(seen.question, seen.memory, text)
    tag = f"{asked.family}_{'more' if known else 'find'}"
    hide = partial(prompt.hide_text, words, seen.memory)
    marked = marks_of(text, passages, lambda fact: asked.counts(fact, known), hide)
    return Exercise(shown, prompt.render_update(words, *written), True, tag, marked)


def answer(rng: Random, asked: Asked, known: Known) -> Exercise:
    """Answering from what is known."""
    seen = prompt.shown(asked.question(rng), asked.memory(known), asked.plan(known))
    said = reply_of(asked, known, prompt.answer_words(seen.question, (), seen.memory))
    return Exercise(prompt.render_answer(seen.question, (), seen.memory), said, False, f"{asked.family}_answer")


def reply_of(asked: Asked, known: Known, words: Placeholders) -> str:
    """The reply of an answer from what is known."""
    if asked.family == "count" and known:
        return prompt.render_count(len(known))
    return prompt.render_reply(words, asked.answer(known) or prompt.UNKNOWN)
