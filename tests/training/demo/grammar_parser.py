"""Decides whether a sentence can be produced by the training grammar: a recogniser with memory, so the answer is exact
and not a matter of luck. Letters only: case, punctuation and spacing do not matter.

Names, numbers and codes of the grammar match nothing here: held-out templates contain none but their placeholders.
"""

from __future__ import annotations

import re
from functools import cache

from longfold_training.demo.listing import LISTING
from longfold_training.demo.ordinary import ORDINARY
from longfold_training.demo.rules import RULES
from longfold_training.demo.words import read_lines, words

_LISTS = {
    "noun": "nouns",
    "adj": "adjectives",
    "past": "verbs_past",
    "pp": "participles",
    "adverb": "adverbs",
    "month": "months",
}
_PLACEHOLDERS = {
    "A": "{a}", "anA": "{an}", "A1": "{a1}", "anA1": "{an1}", "E": "{e}", "V": "{v}", "V2": "{v2}", "X": "{x}",
}  # fmt: skip
_WHOLE = {name: read_lines(name) for name in ("statements", "changes", "lists")}
_GRAMMAR = RULES | ORDINARY | LISTING | _WHOLE
_SENTENCES = (*_WHOLE, "statement", "change", "state", "update", "passage", "line", "litem", "litems")
_BEFORE = ("lead", "newslead", "intro")
_BEHIND = ("tail", "outro")


def _plain(text: str) -> str:
    return re.sub(r"[^\w{}']+", " ", text).lower()


@cache
def _parts(rule: str) -> tuple[tuple[str, str], ...]:
    """A rule as ("text", words) and ("symbol", name), in order."""
    pieces = re.split(r"\{(\w+)\}", rule)
    tagged = [("symbol" if place % 2 else "text", piece) for place, piece in enumerate(pieces)]
    return tuple((kind, piece if kind == "symbol" else _plain(piece)) for kind, piece in tagged if piece)


class Recogniser:
    """One sentence and where each symbol can end in it."""

    def __init__(self, template: str) -> None:
        for symbol, placeholder in _PLACEHOLDERS.items():
            template = template.replace(f"{{{symbol}}}", placeholder)
        self.text = _plain(template).strip()
        self.known: dict[tuple[str, int], frozenset[int]] = {}

    def produced(self) -> bool:
        starts = {0}.union(*(self._spaced(self._symbol(symbol, 0)) for symbol in _BEFORE))
        ends = set().union(*(self._symbol(symbol, start) for symbol in _SENTENCES for start in starts))
        ends |= set().union(*(self._symbol(symbol, end) for symbol in _BEHIND for end in self._spaced(ends)), ends)
        return len(self.text) in ends

    def _symbol(self, symbol: str, at: int) -> frozenset[int]:
        if (symbol, at) not in self.known:
            if symbol in _PLACEHOLDERS:
                found = self._literal(_PLACEHOLDERS[symbol], at)
            elif symbol in _GRAMMAR:
                found = set().union(*(self._rule(rule, at) for rule in set(_GRAMMAR[symbol])))
            else:
                listed = words(_LISTS[symbol]) if symbol in _LISTS else ()
                found = set().union(*(self._literal(word.lower(), at) for word in listed))
            self.known[symbol, at] = frozenset(found)
        return self.known[symbol, at]

    def _rule(self, rule: str, at: int) -> set[int]:
        ends = {at}
        for kind, piece in _parts(rule):
            ends = set().union(
                *(self._symbol(piece, end) if kind == "symbol" else self._literal(piece, end) for end in ends)
            )
        return ends

    def _literal(self, piece: str, at: int) -> set[int]:
        """Words in place; a space of the rule may be the one already passed, or the end of the sentence."""
        for sign in piece:
            if sign == " ":
                at += self.text.startswith(" ", at)
            elif self.text.startswith(sign, at):
                at += 1
            else:
                return set()
        return {at}

    def _spaced(self, places: frozenset[int] | set[int]) -> set[int]:
        return {place + self.text.startswith(" ", place) for place in places} | set(places)
