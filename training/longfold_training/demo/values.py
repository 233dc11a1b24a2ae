"""Values of attributes: numbers, codes, money, measures, dates, names and short phrases. Knows no sentences."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from longfold_training.demo import names
from longfold_training.demo.words import Split, phrases, split_of, words

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def _digits(rng: Random, low: int, high: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(rng.randint(low, high)))


def _integer(rng: Random) -> str:
    return str(rng.randint(1, 9)) + _digits(rng, 0, 5)


def number(rng: Random) -> str:
    shape = rng.random()
    if shape < 0.72:
        return _integer(rng) if rng.random() < 0.7 else _digits(rng, 3, 5)
    if shape < 0.85:
        return f"{rng.randint(1, 999)},{rng.randint(0, 999):03d}"
    if shape < 0.95:
        return f"{rng.randint(0, 999)}.{_digits(rng, 1, 2)}"
    return f"{rng.randint(1, 9)},{rng.randint(0, 999):03d},{rng.randint(0, 999):03d}"


def code(rng: Random) -> str:
    def up(low: int, high: int) -> str:
        return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(low, high)))

    shapes: tuple[Callable[[], str], ...] = (
        lambda: f"{up(1, 3)}-{_digits(rng, 2, 4)}",
        lambda: f"{up(2, 2)}{_digits(rng, 2, 4)}",
        lambda: f"{_digits(rng, 1, 2)}{up(1, 1)}-{_digits(rng, 2, 3)}{up(0, 1)}",
        lambda: f"{up(1, 1)}{_digits(rng, 1, 4)}",
        lambda: f"{_digits(rng, 2, 4)}-{_digits(rng, 2, 4)}",
        lambda: f"{_digits(rng, 1, 3)}{up(1, 2)}",
        lambda: f"{up(2, 4)}",
        lambda: f"{up(1, 2)}{_digits(rng, 1, 2)}-{up(1, 2)}{_digits(rng, 1, 2)}",
        lambda: f"{up(1, 2)} {_digits(rng, 2, 4)}",
        lambda: f"{up(1, 3)}/{_digits(rng, 2, 4)}",
        lambda: f"{up(1, 3)}-{_digits(rng, 2, 3)}-{up(1, 2)}",
        lambda: _digits(rng, 4, 6),
        lambda: f"{_digits(rng, 1, 2)}.{_digits(rng, 1, 2)}.{_digits(rng, 1, 1)}",
        lambda: f"{rng.choice(words('nouns'))}-{_digits(rng, 1, 3)}",
        lambda: f"#{_digits(rng, 2, 4)}",
    )
    return rng.choice(shapes)()


def money(rng: Random) -> str:
    amount = number(rng)
    shape = rng.random()
    if shape < 0.3:
        return rng.choice(("$", "£", "€")) + amount
    if shape < 0.75:
        return (
            f"{amount} {rng.choice(('dollars', 'pounds', 'euros', 'crowns', 'francs', 'pence', 'cents', 'EUR', 'USD'))}"
        )
    if shape < 0.85:
        return f"{rng.randint(1, 99)} million"
    return amount


def measure(rng: Random) -> str:
    amount = number(rng) if rng.random() < 0.5 else str(rng.randint(1, 999))
    shape = rng.random()
    if shape < 0.75:
        return f"{amount} {rng.choice(words('units'))}"
    if shape < 0.85:
        return f"{rng.randint(1, 99)}%"
    return amount


def date(rng: Random) -> str:
    month, day, year = rng.choice(words("months")), rng.randint(1, 28), rng.randint(1750, 2049)
    shapes = (
        f"{day} {month}",
        f"{month} {day}",
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{month} {year}",
        str(year),
        f"{year}-{rng.randint(1, 12):02d}-{day:02d}",
        rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")),
        f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}",
        str(rng.randint(1, 12)) + rng.choice((" am", " pm", " o'clock")),
    )
    return rng.choice(shapes)


def phrase(rng: Random) -> str:
    """One to three ordinary words."""
    shape = rng.random()
    noun = rng.choice(words("nouns"))
    if shape < 0.35:
        return rng.choice(phrases("phrases"))
    if shape < 0.6:
        return f"{rng.choice(words('adjectives'))} {noun}"
    if shape < 0.72:
        return f"{rng.choice(('the', 'a', 'the', 'his', 'their', 'every'))} {rng.choice(words('adjectives'))} {noun}"
    if shape < 0.8:
        return f"the {noun}"
    if shape < 0.88:
        return f"{noun} {rng.choice(('and', 'of', 'with', 'in'))} {rng.choice(words('nouns'))}"
    return noun


def _person(rng: Random) -> str:
    return names.person(rng) if rng.random() < 0.8 else names.pseudo(rng)


def _place(rng: Random) -> str:
    return rng.choice((names.place, names.place, names.organisation, names.pseudo, names.double))(rng)


MAKERS: dict[str, Callable[[Random], str]] = {
    "num": number,
    "code": code,
    "money": money,
    "measure": measure,
    "date": date,
    "person": _person,
    "place": _place,
    "phrase": phrase,
}
_ANY = (
    "num",
    "num",
    "num",
    "code",
    "code",
    "code",
    "money",
    "measure",
    "person",
    "person",
    "place",
    "phrase",
    "phrase",
    "date",
)

WORDY = frozenset({"person", "place", "phrase"})
"""Kinds made of letters only: in a random frame nothing but a linking word shows where such a value begins."""

TYPED_SHARE = 0.85
"""How often a value looks as its attribute's kind suggests; the rest teaches that any attribute may have any value."""


def kind_for(rng: Random, usual: str) -> str:
    """The kind of the next value of an attribute whose values usually are of kind `usual`."""
    return usual if rng.random() < TYPED_SHARE else rng.choice(_ANY)


def value(rng: Random, kind: str, split: Split, avoid: frozenset[str] = frozenset()) -> str:
    """A value of a kind and split, none of `avoid` (compared without case)."""
    while True:
        made = MAKERS[kind](rng)
        if split_of(made) == split and made.lower() not in avoid:
            return made


def near(rng: Random, right: str, kind: str, split: Split) -> str:
    """A value that looks like `right`: digits or capitals changed, else another value of the kind."""
    changed = list(right)
    places = [at for at, sign in enumerate(right) if sign.isdigit() or (sign.isupper() and kind == "code")]
    if not places:
        return value(rng, kind, split)
    for at in rng.sample(places, min(len(places), rng.randint(1, 2))):
        changed[at] = rng.choice("0123456789" if changed[at].isdigit() else _LETTERS)
    return "".join(changed)
