"""The programmatic teacher: questions about a fact, answers from a memory, options of a multiple choice. Knows no
chunks."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from longfold_agent.profiles.choices import LETTERS
from longfold_agent.profiles.demo import UNKNOWN, render_reply
from longfold_agent.profiles.placeholders import Placeholders
from longfold_training.demo import values
from longfold_training.demo.grammar import expand
from longfold_training.demo.rules import CURRENT, LEADS, QUESTIONS, WHEN, WHO
from longfold_training.demo.story import Key
from longfold_training.demo.words import Split, read_lines

_LED_SHARE = 0.06
_USUAL_SHARE = 0.6
"""Share of questions in one of the usual forms."""


def question(rng: Random, key: Key) -> str:
    """One of many ways to ask for the attribute of the entity."""
    ways: Sequence[str] = QUESTIONS if rng.random() < _USUAL_SHARE else read_lines("questions")
    if key.usual == "person" and rng.random() < 0.4:
        ways = WHO
    elif key.usual == "date" and rng.random() < 0.2:
        ways = WHEN
    asked = expand(rng, rng.choice(ways), {"A": key.attribute, "E": key.shown, "cur": rng.choice(CURRENT)})
    return expand(rng, rng.choice(LEADS), {"q": asked}) if rng.random() < _LED_SHARE else asked


def value(rng: Random, key: Key, split: Split) -> str:
    return values.value(rng, values.kind_for(rng, key.usual), split)


def options(rng: Random, key: Key, right: str, split: Split) -> list[str]:
    """Two to six options of one kind, `right` among them (nearly always) when it is not empty."""
    kind = values.kind_for(rng, key.usual)
    made = [] if not right or rng.random() < 0.03 else [right]
    count = rng.choice((2, 3, 4, 4, 4, 4, 5, 6))
    while len(made) < count:
        other = values.near(rng, right, kind, split) if right and rng.random() < 0.5 else values.value(rng, kind, split)
        if other.lower() not in {option.lower() for option in made} | {right.lower()}:
            made.append(other)
    rng.shuffle(made)
    return made


def answer(words: Placeholders, found: str, choices: Sequence[str]) -> str:
    """The reply from memory: the value, behind it the letter of the option that holds it; "unknown" where there is
    none."""
    if not found:
        return render_reply(words, UNKNOWN)
    if not choices:
        return render_reply(words, found)
    places = [place for place, option in enumerate(choices) if option.lower() == found.lower()]
    return render_reply(words, choices[places[0]], LETTERS[places[0]]) if places else render_reply(words, UNKNOWN)
