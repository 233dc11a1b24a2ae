"""Proof, before training, that the rules of a data set reward what they should. Knows no model and asks none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from longfold_training.errors import DataError
from longfold_training.rewards.adversarial import adversarial
from longfold_training.rewards.grade import by_rule

if TYPE_CHECKING:
    from longfold_training.problems import Problem

SHOWN = 5
"""Failures named in the error; the first few show the pattern."""


def validate(problems: Iterable[Problem]) -> int:
    """How many problems there are, when by its rule alone every gold answer of each scores 1.0 and every adversarial
    one 0.0.

    Raises `DataError` that names the first failures and counts all.
    """
    checked, failures = 0, list[str]()
    for problem in problems:
        checked += 1
        for gold in problem.gold.golds:
            if (score := by_rule(problem, gold)) != 1.0:
                failures.append(f"{problem.id}: the gold answer {gold!r} scores {0.0 if score is None else score}")
        for name, answer in adversarial(problem).items():
            if score := by_rule(problem, answer):
                failures.append(f"{problem.id}: the answer {name!r} scores {score}: {answer!r}")
    if failures:
        more = f" (and {len(failures) - SHOWN} more)" if len(failures) > SHOWN else ""
        raise DataError("the rules reward the wrong answers:\n  " + "\n  ".join(failures[:SHOWN]) + more)
    return checked
