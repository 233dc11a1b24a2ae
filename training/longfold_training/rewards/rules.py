"""Rules that tell whether an answer is right, each a pure function of question and answer. Knows no judge and no model.

A rule's `score` is 1.0 or 0.0 where it can tell (`Ratio`: anything between), and None where it cannot: then a judge may
decide. They are strict, since a policy learns whatever they let pass: an answer that names several values is wrong, and
so is a repeated question.
"""

from __future__ import annotations

import difflib
import unicodedata
from typing import Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from longfold_training.rewards.choice import chosen
from longfold_training.rewards.numbers import Quantity, quantities, single
from longfold_training.rewards.words import (
    ARTICLES,
    final,
    places,
    spoken,
    unnumbered,
    without,
    without_articles,
    words,
)

DOUBTS = frozenset((
    "not", "no", "never", "neither", "nor", "isnt", "wasnt", "arent", "werent", "doesnt", "didnt", "cannot", "cant",
    "except", "unlike", "without", "than", "or",
))  # fmt: skip
"""Words that, up to two words before an answer, may turn it round, or make it one of several."""
POLAR = frozenset(("yes", "no", "true", "false"))
"""Answers that stand in any longer text by chance; they must come first."""
ROOM = 32
"""Words an answer may hold besides the right one before covering it proves nothing."""
LONGEST_RATIO = 8
"""Times the right text's length beyond which a reproduction counts 0: its ratio would be below 2 / 9, and the matcher's
time grows with the square."""


class Rule(Protocol):
    """What is right for one question."""

    @property
    def golds(self) -> tuple[str, ...]:
        """Answers that are right, each by itself; a judge compares with them."""
        ...

    def score(self, question: str, answer: str) -> float | None:
        """How right `answer` is, from 0.0 to 1.0; None where this rule cannot tell."""
        ...

    def recall(self, memory: str) -> float:
        """Which share of what is right stands in `memory`, from 0.0 to 1.0."""
        ...


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _sayable(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not without_articles(words(value)):
            raise ValueError(f"{value!r} holds no word by which it could be recognised")
    return values


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    kinds = {tuple(words(value)) for value in values}
    if len(kinds) < len(values) or () in kinds:
        raise ValueError("two of them are the same, or one holds no word")
    return values


class Exact(_Rule):
    """The answer is one of `answers`, but for case, spacing, outer quotes and a final full stop."""

    rule: Literal["exact"] = "exact"
    answers: tuple[str, ...] = Field(min_length=1)

    _check = field_validator("answers")(_distinct)

    @property
    def golds(self) -> tuple[str, ...]:
        return self.answers

    def score(self, question: str, answer: str) -> float:
        return float(_bare(spoken(answer)) in map(_bare, self.answers))

    def recall(self, memory: str) -> float:
        found = words(memory)
        return float(any(places(answer, found) for answer in self.answers))


class Cover(_Rule):
    """Strict cover exact match: one of `answers` stands in the answer as whole words.

    One direction only: an answer that is part of the gold covers nothing. 0.0 for an answer without words, for a
    repeated question and for one that names a value of `wrong` (old values, other options) outside the right one. It
    cannot tell where the right answer is negated or one of several, stands in more than `ROOM` other words, or is not
    there at all.
    """

    rule: Literal["cover"] = "cover"
    answers: tuple[str, ...] = Field(min_length=1)
    wrong: tuple[str, ...] = ()

    _check = field_validator("answers", "wrong")(_sayable)

    @model_validator(mode="after")
    def _is_decided(self) -> Self:
        for other in self.wrong:
            if without_articles(words(other)) in [without_articles(words(answer)) for answer in self.answers]:
                raise ValueError(f"{other!r} is both right and wrong")
        return self

    @property
    def golds(self) -> tuple[str, ...]:
        return self.answers

    def score(self, question: str, answer: str) -> float | None:
        found = without(final(answer), question)
        if not without_articles(found):
            return 0.0
        right = [span for gold in self.answers for span in places(gold, found)]
        wrong = [span for other in self.wrong for span in places(other, found)]
        if any(not any(start <= a and b <= end for start, end in right) for a, b in wrong):
            return 0.0
        polar = {gold for gold in map(_bare, self.answers) if gold in POLAR}
        if polar:
            return float(found[0] in polar)
        if not right or any(
            DOUBTS.intersection(found[max(0, start - 2) : start]) or found[end : end + 1] == ["or"]
            for start, end in right
        ):
            return None
        covered = {at for start, end in right for at in range(start, end)}
        return 1.0 if len(found) - len(covered) <= ROOM else None

    def recall(self, memory: str) -> float:
        found = words(memory)
        return float(any(places(answer, found) for answer in self.answers))


class Choice(_Rule):
    """The answer chooses one of the lettered `options` (A, B, ...), by its letter or its text; a repeated question
    chooses none."""

    rule: Literal["choice"] = "choice"
    letter: str = Field(pattern="^[A-Z]$")
    options: tuple[str, ...] = Field(min_length=2, max_length=26)

    _check = field_validator("options")(_distinct)

    @model_validator(mode="after")
    def _holds_letter(self) -> Self:
        if ord(self.letter) - ord("A") >= len(self.options):
            raise ValueError(f"the right letter is {self.letter}, but there are {len(self.options)} options")
        return self

    @property
    def golds(self) -> tuple[str, ...]:
        said = (self.letter, f"{self.letter}) {self._text}")
        reads_as_another = chosen(self._text, self.options) != self.letter  # blood group A as option B
        return said if reads_as_another else (*said, self._text)

    def score(self, question: str, answer: str) -> float:
        repeated = not without(final(answer), question)  # "... of Norbel A. 12 B. 14" would choose by its first clause
        return float(not repeated and chosen(answer, self.options) == self.letter)

    def recall(self, memory: str) -> float:
        return float(bool(places(self._text, words(memory))))

    @property
    def _text(self) -> str:
        return self.options[ord(self.letter) - ord("A")]


class Number(_Rule):
    """The answer gives one number, within `tolerance` (relative) of `value`; "12%" is 12 % and 0.12.

    0.0 for several different numbers, those of the question aside; it cannot tell where there is none.
    """

    rule: Literal["number"] = "number"
    value: str
    """As written, with unit or percent sign where it has one: "1,204", "12.5%", "3.1 million"."""
    tolerance: float = Field(default=1e-6, ge=0, lt=1)

    @field_validator("value")
    @classmethod
    def _is_one_number(cls, value: str) -> str:
        if len(quantities(value)) != 1:
            raise ValueError(f"{value!r} is not one number")
        return value

    @property
    def golds(self) -> tuple[str, ...]:
        return (self.value,)

    def score(self, question: str, answer: str) -> float | None:
        said = without(final(answer), question)
        if not without_articles(said):
            return 0.0
        if not any(map(str.isdigit, "".join(said))) or not quantities(final(answer)):
            return None
        found = single(answer, question)
        return float(found is not None and self._gold.equals(found, self.tolerance))

    def recall(self, memory: str) -> float:
        return float(any(self._gold.equals(found, self.tolerance) for found in quantities(memory)))

    @property
    def _gold(self) -> Quantity:
        return quantities(self.value)[0]


class Items(_Rule):
    """The answer lists exactly `items`, each once, in any order unless `ordered`; separators do not matter.

    No items: the answer says that there are none. 0.0 for an answer without words and a repeated question; it cannot
    tell where something is missing or left over.
    """

    rule: Literal["items"] = "items"
    items: tuple[str, ...]
    ordered: bool = False

    _check = field_validator("items")(_sayable)
    _check_again = field_validator("items")(_distinct)

    @property
    def golds(self) -> tuple[str, ...]:
        return ("; ".join(self.items),) if self.items else ("none", "[]")

    def score(self, question: str, answer: str) -> float | None:
        listed = final(answer)
        if not self.items and listed.strip() in ("[]", "{}"):
            return 1.0
        if not without_articles(without(listed, question)):
            return 0.0
        if not self.items:
            return 1.0 if words(listed) in (["none"], ["nothing"], ["no", "items"], ["there", "are", "none"]) else None
        readings = {listed, listed.partition(":")[2]}
        return 1.0 if any(self._tiles(reading, question) for reading in readings) else None

    def recall(self, memory: str) -> float:
        found = words(memory)
        return sum(bool(places(item, found)) for item in self.items) / len(self.items) if self.items else 1.0

    def _tiles(self, listed: str, question: str) -> bool:
        """Whether the items, the longest first, cover the list's words, each once, and leave nothing but "and"."""
        found = without("\n".join(map(unnumbered, listed.splitlines())), question)
        begins: dict[str, int] = {}
        for item in sorted(self.items, key=lambda item: len(words(item)), reverse=True):
            spans = places(item, found)
            if not spans:
                return False
            start, end = spans[0]
            begins[item] = start
            found[start:end] = [""] * (end - start)
        if any(word not in ("", "and", *ARTICLES) for word in found):
            return False
        return not self.ordered or sorted(self.items, key=lambda item: begins[item]) == list(self.items)


class Ratio(_Rule):
    """MRCR: the answer reproduces `text` behind `prefix`; the ratio of difflib's SequenceMatcher, as the official
    scorer has it. Without the prefix at its start an answer is worth 0.0."""

    rule: Literal["ratio"] = "ratio"
    text: str = Field(min_length=1)
    """Without the prefix."""
    prefix: str = Field(min_length=1)

    @property
    def golds(self) -> tuple[str, ...]:
        return (self.prefix + self.text,)

    def score(self, question: str, answer: str) -> float:
        said = spoken(answer)
        if not said.startswith(self.prefix) or len(said) > LONGEST_RATIO * (len(self.prefix) + len(self.text)):
            return 0.0
        return difflib.SequenceMatcher(None, said.removeprefix(self.prefix), self.text).ratio()

    def recall(self, memory: str) -> float:
        return float(self.text in memory)


AnyRule = Annotated[Exact | Cover | Choice | Number | Items | Ratio, Field(discriminator="rule")]


def _bare(text: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip("\"'\u2018\u2019\u201c\u201d*`").rstrip(".").strip()
