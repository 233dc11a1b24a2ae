"""Entities: pseudo-names, persons, places, firms, ships, projects and things, and near misses of each. Knows no
sentences."""

from __future__ import annotations

from random import Random

from longfold_training.demo.words import Split, split_of, words

_ONSETS = (
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "dr", "gr", "kr",
    "tr", "pl", "st", "sh", "th", "cl", "fl", "gl", "sk", "sl", "sn", "sp", "ch", "qu",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ea", "ia", "oo", "ou", "y")
_CODAS = ("", "", "", "n", "r", "l", "s", "m", "x", "th", "nd", "rt", "ck", "ll", "v", "k", "sk")


_PLAIN_ONSETS = (
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "dr", "gr", "tr",
    "st", "sh",
)  # fmt: skip
_PLAIN_CODAS = ("", "", "", "n", "r", "l", "s", "m", "n", "l")


def _syllable(rng: Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(_PLAIN_ONSETS) + rng.choice("aeiou") + rng.choice(_PLAIN_CODAS)
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)


def pseudo(rng: Random) -> str:
    """An invented word such as "Norbel"."""
    return "".join(_syllable(rng) for _ in range(rng.choice((1, 2, 2, 2, 3)))).capitalize()


def person(rng: Random) -> str:
    first = rng.choice(words("first_names")) if rng.random() < 0.75 else pseudo(rng)
    last = rng.choice(words("last_names")) if rng.random() < 0.7 else pseudo(rng)
    shape = rng.random()
    if shape < 0.62:
        return f"{first} {last}"
    if shape < 0.74:
        return f"{rng.choice(words('titles'))} {first} {last}"
    if shape < 0.86:
        return f"{rng.choice(words('titles'))} {last}"
    if shape < 0.93:
        return f"{first} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
    return first


def place(rng: Random) -> str:
    first = rng.choice(words("place_mods")) if rng.random() < 0.75 else pseudo(rng)
    if rng.random() < 0.15:
        return f"{rng.choice(('Port', 'Mount', 'Lake', 'Fort', 'Saint', 'New', 'Old', 'Cape'))} {pseudo(rng)}"
    if rng.random() < 0.12:
        return first + rng.choice(("ton", "ville", "field", "wick", "ford", "bury", "stead", "port"))
    return f"{first} {rng.choice(words('place_words'))}"


def organisation(rng: Random) -> str:
    head = rng.choice((pseudo, pseudo, place, _surname, _noun_capital))(rng)
    return f"{head} {rng.choice(words('org_words'))}"


def _surname(rng: Random) -> str:
    return rng.choice(words("last_names"))


def _noun_capital(rng: Random) -> str:
    return rng.choice(words("nouns")).capitalize()


def project(rng: Random) -> str:
    name = rng.choice(words("project_words")) if rng.random() < 0.6 else pseudo(rng)
    kinds = ("project", "Project", "operation", "Operation", "ship", "ferry", "team", "mission", "file", "room", "tank")
    return f"{rng.choice(kinds)} {name}"


def numbered(rng: Random) -> str:
    """A thing known by a number or letter, such as "pump 7" or "Line C"."""
    noun = rng.choice(words("nouns"))
    noun = noun.capitalize() if rng.random() < 0.5 else noun
    mark = str(rng.randint(1, 99)) if rng.random() < 0.6 else rng.choice("ABCDEFGHKLMNPQRSTX")
    return f"{noun} {mark}"


def double(rng: Random) -> str:
    """Two invented or ordinary capitalised words, such as "Trask Mivon" or "Velvet Anchor"."""
    first = pseudo(rng) if rng.random() < 0.6 else rng.choice(words("adjectives")).capitalize()
    second = pseudo(rng) if rng.random() < 0.5 else rng.choice(words("nouns")).capitalize()
    return f"{first} {second}"


_MAKERS = (
    pseudo,
    pseudo,
    pseudo,
    person,
    person,
    person,
    place,
    place,
    organisation,
    organisation,
    project,
    double,
    double,
)


def entity(rng: Random, split: Split) -> str:
    """A name of the given split, decided by `split_of` on the whole name."""
    while True:
        made = numbered(rng) if rng.random() < 0.05 else rng.choice(_MAKERS)(rng)
        if split_of(made) == split:
            return made


def near(rng: Random, name: str, split: Split) -> str:
    """A different name that looks like `name`: a shared word with another beside it, or another ending."""
    parts = name.split()
    for _ in range(40):
        if len(parts) > 1 and rng.random() < 0.75:
            changed = list(parts)
            at = rng.randrange(len(parts))
            other = entity(rng, split).split()
            replacement = other[min(at, len(other) - 1)]
            changed[at] = replacement if parts[at][0].isupper() else parts[at]
            made = " ".join(changed)
        else:
            last = parts[-1]
            made = " ".join(
                [*parts[:-1], last[: max(2, len(last) - rng.randint(1, 3))] + _syllable(rng)[-rng.randint(1, 3) :]]
            )
        if made != name and split_of(made) == split and made.lower() not in name.lower():
            return made
    return entity(rng, split)
