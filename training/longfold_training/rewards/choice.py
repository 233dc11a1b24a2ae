"""Which option an answer chooses. Knows no question.

Whatever it is given, it names one letter at most, so an answer that mentions every option is right for no question or
for one choice only, like a guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from longfold_training.rewards.words import final, spoken, statements, without_articles, words

_MARKUP = " \t\n*_`$\"'"
_OPTION = re.compile(r"(?:option|choice)\s+", re.IGNORECASE)
_LEADING = re.compile(r"\(?([A-Z])(?:\)|\.|:|\]| -|\Z)\s*(.*)", re.DOTALL)
_ALONE = re.compile(r"(?<![\w'\u2019])([A-Z])(?![\w'\u2019])")


def chosen(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the option that `answer` chooses; None for none, for several, and for a letter whose text is
    another's.

    options: the texts of A, B, ... Taken are a letter alone ("B", "(b)", "**B.**"), a letter with its own text, an
    option's text alone, and statements ("The correct answer is (B).") when all of them name the same.
    """
    for text in (spoken(answer), final(answer)):
        letter = _plainly(text, options)
        if letter is not None:
            return letter
    letters = "".join(chr(ord("A") + place) for place in range(len(options)))
    named = {_plainly(clause, options) or _only(clause, letters) for clause in statements(answer)}
    return named.pop() if len(named) == 1 else None


def _plainly(text: str, options: Sequence[str]) -> str | None:
    """The letter of a text that is an option and nothing else."""
    text = _OPTION.sub("", text.strip(_MARKUP)).strip(_MARKUP)
    texts = [_key(option) for option in options]
    leading = _LEADING.fullmatch(text if len(text) > 3 else text.upper())
    if leading is not None and (place := ord(leading[1]) - ord("A")) < len(options):
        rest = _key(leading[2])
        if not rest or rest == texts[place]:
            return leading[1]
    return chr(ord("A") + texts.index(key)) if (key := _key(text)) in texts else None


def _key(text: str) -> list[str]:
    found = words(text)
    return without_articles(found) or found


def _only(clause: str, letters: str) -> str | None:
    """The one option letter that stands alone in a clause."""
    named = {letter for letter in _ALONE.findall(clause) if letter in letters}
    return named.pop() if len(named) == 1 else None
