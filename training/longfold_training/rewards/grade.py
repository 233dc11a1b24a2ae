"""The score of an answer: the problem's rule, then, where the rule cannot tell, the judge. Knows no wording and no
model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from longfold_training.rewards.judge import Case, Judge
from longfold_training.rewards.words import spoken

if TYPE_CHECKING:
    from longfold_training.problems import Problem

_VERDICT = re.compile(r"\[\s*\[\s*(?:yes|no)\s*\]\s*\]", re.IGNORECASE)


class Grade(StrEnum):
    """Who gave a score."""

    RULE = "rule"
    JUDGE = "judge"
    NOBODY = "nobody"
    """The rule could not tell, and there was no judge to ask: 0.0."""


@dataclass(frozen=True, slots=True)
class Score:
    """What an answer is worth, from 0.0 to 1.0."""

    value: float
    by: Grade


def by_rule(problem: Problem, answer: str) -> float | None:
    """The rule's score, None where it cannot tell. An answer that holds a judge's verdict is wrong whatever else it
    says: it speaks to a judge, not to who asked."""
    if _VERDICT.search(unicodedata.normalize("NFKC", answer)):
        return 0.0
    return problem.gold.score(problem.question, answer)


class Grader:
    """Scores answers. Without a judge, what no rule can tell counts 0.0."""

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = judge

    async def scores(self, answers: Sequence[tuple[Problem, str]]) -> list[Score]:
        """Scores in the order of `answers`. Raises `JudgeError` when the judge is away: an outage is no reward."""
        ruled = [by_rule(problem, answer) for problem, answer in answers]
        open_ = [place for place, value in enumerate(ruled) if value is None]
        if self._judge is None or not open_:
            return [Score(0.0, Grade.NOBODY) if value is None else Score(value, Grade.RULE) for value in ruled]
        cases = [
            Case(problem.question, problem.gold.golds, spoken(answer))
            for problem, answer in (answers[place] for place in open_)
        ]
        verdicts = dict(zip(open_, await self._judge.decide(cases), strict=True))
        return [
            Score(float(verdicts[place]), Grade.JUDGE) if value is None else Score(value, Grade.RULE)
            for place, value in enumerate(ruled)
        ]
