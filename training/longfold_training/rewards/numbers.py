"""Numbers in text, read without evaluating anything: separators, percent signs and words of scale. Knows no rule.

Spelled numbers ("five") and decimal commas ("3,5") are not read: what is not surely one number is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from longfold_training.rewards.words import final, statements

_SCALES = {
    "": 1.0, "k": 1e3, "K": 1e3, "thousand": 1e3, "M": 1e6, "mn": 1e6, "million": 1e6, "B": 1e9, "bn": 1e9,
    "billion": 1e9, "trillion": 1e12,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\w.])(?<![^\W\d_][-\u2212\u2010])"  # not inside a word, a version or a code such as AX-4821
    r"(?P<sign>[-\u2212+]?)[$\u20ac\u00a3\u00a5]?"
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\w))?)"
    r"(?:(?P<attached>[kKMB]|mn|bn)(?!\w)"
    r"|\s*(?P<percent>%|per\s?cent\b|percent\b)|\s+(?P<scale>(?i:thousand|million|billion|trillion|bn|mn)\b))?"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as text gives it."""

    value: float
    """As written: 12.0 for "12%"."""
    percent: bool = False

    def equals(self, other: Quantity, tolerance: float) -> bool:
        """Whether `other` is within `tolerance` of this one, relative to it. Where one of the two has a percent sign,
        the other may be the percentage (12) or the share (0.12)."""
        pairs = [(self.value, other.value)]
        if self.percent != other.percent:
            pairs.append((self.value / 100, other.value) if self.percent else (self.value, other.value / 100))
        return any(abs(found - gold) <= tolerance * abs(gold) for gold, found in pairs)


def quantities(text: str) -> list[Quantity]:
    """All numbers of `text`, in order."""
    found = []
    for number in _NUMBER.finditer(text):
        scale = number["attached"] or (number["scale"] or "").lower()
        value = float(number["digits"].replace(",", "")) * _SCALES[scale]
        sign = -1 if number["sign"] in ("-", "\u2212") else 1
        found.append(Quantity(sign * value, number["percent"] is not None))
    return found


def single(answer: str, question: str) -> Quantity | None:
    """The one number an answer gives: that of its statements ("the answer is ..."), else of all of it.

    Numbers of the question may be repeated, unless there is no other. None where there is no number, or several differ.
    """
    clauses = statements(answer) or [final(answer)]
    given = [number for clause in clauses for number in quantities(clause)]
    repeated = quantities(question)
    new = [number for number in given if number not in repeated] or given
    return new[0] if new and all(number == new[0] for number in new) else None
