"""Problems of every kind of rule."""

from __future__ import annotations

import pytest

from longfold_training.problems import Problem, Text
from longfold_training.rewards import AnyRule, Choice, Cover, Exact, Items, Number, Ratio


def problem(name: str, question: str, gold: AnyRule) -> Problem:
    return Problem(id=name, task=gold.rule, question=question, documents=(Text(text="Nothing."),), gold=gold)


@pytest.fixture
def problems() -> list[Problem]:
    names = ("Norbel", "Quill", "Blue Lantern")
    return [
        problem("exact", "What is the access code of Norbel?", Exact(answers=("AX-4821",))),
        problem("cover", "Who was first, Norbel or Quill?", Cover(answers=("Norbel",), wrong=("Quill",))),
        problem("polar", "Was Norbel first?", Cover(answers=("yes",))),
        problem("choice", "Who? A) Norbel B) Quill C) Blue Lantern", Choice(letter="B", options=names)),
        problem("blood", "Which group?", Choice(letter="B", options=("B", "A", "0", "AB"))),
        problem("number", "How many of the 12 in 2019?", Number(value="7")),
        problem("share", "What share?", Number(value="12.5%", tolerance=0.001)),
        problem("items", "Which of Norbel, Quill and Dora came?", Items(items=names[:2])),
        problem("none", "Which came?", Items(items=())),
        problem("ratio", "Repeat the second poem, with x9 before it.", Ratio(text="A poem.\nTwo lines.", prefix="x9")),
    ]
