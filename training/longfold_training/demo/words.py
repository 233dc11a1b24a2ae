"""Word lists of the generator, read from package data. Knows nothing of sentences or of what the words are used for."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Literal

from longfold_training.errors import DataError

Split = Literal["train", "heldout"]

HELD_OUT_SHARE = 10
"""One name, value or filler sentence in this many belongs to the held-out split, decided by a checksum of its text."""


def split_of(text: str) -> Split:
    """The split a name, value or sentence belongs to; stable across runs, machines and Python versions."""
    return "heldout" if zlib.crc32(text.lower().encode()) % HELD_OUT_SHARE == 0 else "train"


@cache
def read_lines(name: str) -> tuple[str, ...]:
    """Non-empty lines of `data/words/{name}.txt` without comments. Raises `DataError` when the file is missing."""
    path = files("longfold_training").joinpath("data", "words", f"{name}.txt")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"word list {name!r} is missing from the installation") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


@cache
def words(name: str) -> tuple[str, ...]:
    """All words of a list, each once, in file order."""
    return tuple(dict.fromkeys(" ".join(read_lines(name)).split()))


@cache
def phrases(name: str) -> tuple[str, ...]:
    """All comma-separated phrases of a list, each once, in file order."""
    return tuple(dict.fromkeys(phrase.strip() for line in read_lines(name) for phrase in line.split(",")))


def apart(text: str, *others: str) -> bool:
    """Whether `text` shares no word with the others, case aside."""
    return not _parts(text) & {part for other in others for part in _parts(other)}


def _parts(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a question asks about an entity."""

    phrase: str
    kind: str
    """How its values usually look: code, num, money, measure, person, place, phrase or date."""


@cache
def attributes(split: Split) -> tuple[Attribute, ...]:
    """The curated attribute phrases; the held-out list shares no phrase with the training list."""
    name = "attributes" if split == "train" else "attributes_heldout"
    found: dict[str, Attribute] = {}
    for line in read_lines(name):
        kind, _, rest = line.partition(":")
        for phrase in rest.split(","):
            found.setdefault(phrase.strip(), Attribute(phrase.strip(), kind.strip()))
    if split == "train":
        for held in attributes("heldout"):
            found.pop(held.phrase, None)
    return tuple(found.values())


_OF_HEADS = (
    "head",
    "colour",
    "name",
    "number",
    "date",
    "place",
    "price",
    "name",
    "keeper",
    "size",
    "type",
    "time",
    "cost",
    "weight",
    "owner",
)


def attribute(rng: Random, split: Split) -> Attribute:
    """An attribute phrase of a split: curated or, in training, also composed or made of random nouns."""
    while True:
        made = _attribute(rng, split)
        if split == "heldout" or made.phrase not in _heldout_phrases():
            return made


def _attribute(rng: Random, split: Split) -> Attribute:
    shape = rng.random()
    if split == "heldout" or shape < 0.62:
        return rng.choice(attributes(split))
    if shape < 0.87:
        head = rng.choice(words("attribute_heads"))
        return Attribute(f"{rng.choice(words('attribute_mods'))} {head}", _HEAD_KINDS.get(head, "num"))
    kind = rng.choice(("num", "code", "measure", "money", "phrase", "person", "place"))
    noun = rng.choice(words("nouns"))
    if shape < 0.92:
        return Attribute(noun, kind)
    if shape < 0.96:
        return Attribute(f"{rng.choice(words('nouns'))} {noun}", kind)
    if shape < 0.98:
        return Attribute(f"{rng.choice(words('adjectives'))} {noun}", kind)
    return Attribute(f"{rng.choice(_OF_HEADS)} of {noun}", kind)


@cache
def _heldout_phrases() -> frozenset[str]:
    return frozenset(held.phrase for held in attributes("heldout"))


_HEAD_KINDS = {
    "code": "code", "number": "code", "name": "person", "colour": "phrase", "weight": "measure", "height": "measure",
    "price": "money", "fee": "money", "rate": "measure", "date": "date", "manager": "person", "owner": "person",
    "type": "phrase", "speed": "measure", "length": "measure", "width": "measure", "status": "phrase",
    "address": "place", "label": "code", "keeper": "person", "supplier": "place", "time": "date", "location": "place",
    "charge": "money", "budget": "money", "plan": "phrase", "temperature": "measure", "agent": "person",
    "guard": "person", "mark": "code", "officer": "person", "inspector": "person", "sign": "phrase",
    "pattern": "phrase", "pressure": "measure",
}  # fmt: skip
