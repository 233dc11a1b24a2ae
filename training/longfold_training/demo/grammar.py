"""A recursive text grammar: symbols in braces are replaced by one of their alternatives. Knows the rules of facts and
fillers, not who asks.

Upper-case symbols are bound by the caller: {A} attribute, {E} entity, {V} value, {X} the value before it, {A2} {E2}
{V2} a second fact. Lower-case symbols are rules or word lists. Everything is data, so that more ways of saying a thing
are more lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from longfold_training.demo import names, values
from longfold_training.demo.listing import LISTING
from longfold_training.demo.ordinary import ORDINARY
from longfold_training.demo.rules import RULES
from longfold_training.demo.words import words

_SYMBOL = re.compile(r"\{(\w+)\}")
_VOWEL = re.compile(r"[aeiou]", re.IGNORECASE)


def article(phrase: str) -> str:
    return f"{'an' if _VOWEL.match(phrase) else 'a'} {phrase}"


def expand(rng: Random, template: str, bound: Mapping[str, str]) -> str:
    """`template` with every symbol replaced, recursively. Bound symbols win over rules, rules over word makers."""

    def replace(match: re.Match[str]) -> str:
        symbol = match.group(1)
        if symbol in bound:
            return bound[symbol]
        alternatives = ORDINARY.get(symbol) or RULES.get(symbol) or LISTING.get(symbol)
        if alternatives is not None:
            return _SYMBOL.sub(replace, rng.choice(alternatives))
        return _MAKERS[symbol](rng)

    return _SYMBOL.sub(replace, template)


def sentence(rng: Random, text: str) -> str:
    """First letter capitalised, one mark at the end where none stands."""
    text = capital(text)
    if text[-1] in '.!?"”':
        return text
    return text + ("." if rng.random() < 0.93 else rng.choice(("!", ";", " ...", "\n")))


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _list(name: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(words(name))


_MAKERS: dict[str, Callable[[Random], str]] = {
    "noun": _list("nouns"),
    "adj": _list("adjectives"),
    "past": _list("verbs_past"),
    "pp": _list("participles"),
    "adverb": _list("adverbs"),
    "function": _list("functions"),
    "month": _list("months"),
    "first": _list("first_names"),
    "person": names.person,
    "place_name": names.place,
    "firm": names.organisation,
    "pseudo": names.pseudo,
    "int": lambda rng: str(rng.randint(2, 99)),
    "big": lambda rng: str(rng.randint(100, 99999)),
    "year": lambda rng: str(rng.randint(1750, 2049)),
    "number": values.number,
    "code": values.code,
    "money": values.money,
    "measure": values.measure,
    "date": values.date,
    "phrase": values.phrase,
    "value0": lambda rng: values.value(
        rng, rng.choice(("num", "code", "phrase", "person", "money", "measure")), "train"
    ),
    "digit": lambda rng: rng.choice("123456789"),
}
