"""One chunk of a simulated document: passages among filler, as one natural string. Knows nothing of questions or
tokens."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from longfold_training.demo import filler
from longfold_training.demo.sentences import Passage
from longfold_training.demo.words import Split

CHARS_PER_TOKEN = 3.7
"""Estimate used to size training chunks; the service counts exactly."""


def chunk_text(rng: Random, passages: Sequence[Passage], tokens: int, split: Split) -> str:
    """`passages` in order, filler between them, about `tokens` tokens long. Begins and now and then ends within a
    sentence."""
    room = int(tokens * CHARS_PER_TOKEN) - sum(len(passage.text) + 1 for passage in passages)
    runs: list[list[tuple[str, bool]]] = []
    while room > 0:
        taken = filler.run(rng, split)
        cost = sum(len(text) + 1 for text, _ in taken)
        if cost > room * 1.3 + 20:
            taken = [item for item in taken if len(item[0]) <= room][:1]
            cost = sum(len(text) + 1 for text, _ in taken)
            if not taken:
                break
        runs.append(taken)
        room -= cost
    # A passage goes between two sentences, inside a run as well as between runs.
    pieces = [item for taken in runs for item in taken]
    places = sorted(rng.randint(0, len(pieces)) for _ in passages)
    if passages and rng.random() < 0.15:
        places[-1] = len(pieces)
    if passages and rng.random() < 0.15:
        places[0] = 0
    for place, passage in reversed(list(zip(places, passages, strict=True))):
        pieces.insert(place, (passage.text, passage.line))
    if pieces and not passages_at_start(places) and rng.random() < 0.3:
        pieces[0] = (_tail(rng, pieces[0][0]), pieces[0][1])
    return join(rng, pieces)


def passages_at_start(places: Sequence[int]) -> bool:
    return bool(places) and places[0] == 0


def _tail(rng: Random, text: str) -> str:
    parts = text.split(" ")
    return " ".join(parts[rng.randrange(len(parts)) :])


def join(rng: Random, pieces: Sequence[tuple[str, bool]]) -> str:
    """Pieces as one text: lines on lines of their own, sentences in paragraphs."""
    breaks = rng.choice((0.0, 0.05, 0.1, 0.25))
    out: list[str] = []
    for number, (text, is_line) in enumerate(pieces):
        if number:
            if is_line or pieces[number - 1][1]:
                out.append("\n" if rng.random() < 0.75 else "\n\n")
            elif rng.random() < breaks:
                out.append(rng.choice(("\n", "\n\n")))
            else:
                out.append(" ")
        out.append(text)
    text = "".join(out)
    return text + rng.choice(("", "", "", " ", "\n", "\n\n"))
