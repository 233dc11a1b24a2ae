"""Questions to train on: documents, task label, and the rule that knows the right answer. One JSON object a line. Knows
no rewards' logic and no engine.

{"id": "q1", "task": "numerical calculation", "question": "What was the total?", "documents": [{"text": "..."}],
 "gold": {"rule": "number", "value": "12.5%"}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longfold_training.errors import DataError
from longfold_training.rewards.rules import AnyRule


class Text(BaseModel):
    """One document of a problem."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(min_length=1)
    title: str = ""


class Problem(BaseModel):
    """A question with its documents and what is right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    """Unique in the data; the group of its attempts."""
    task: str = Field(min_length=1)
    """The task type of balanced sampling and of Eq. 7."""
    question: str = Field(min_length=1)
    """q_core of Eq. 5; a profile with a rule may still take its options and wishes about the form apart."""
    instructions: str = ""
    """q_inst of Eq. 6; reaches the answer's call only."""
    documents: tuple[Text, ...] = Field(min_length=1)
    gold: AnyRule
    evidence: tuple[str, ...] = ()
    """Words of the documents, verbatim, on which the answer rests; for the dense rewards."""


def load(path: Path) -> Iterator[Problem]:
    """The problems of a JSON Lines file, read as they are taken; blank lines are skipped.

    Raises `DataError` with file, line and field: a file that cannot be read, a line that is no problem (no task label,
    an unknown key, an empty question), an id that was there before.
    """
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                problem = parse(line, f"{path}:{number}")
                if problem.id in seen:
                    raise DataError(f"{path}:{number}: id {problem.id!r} was used in line {seen[problem.id]}")
                seen[problem.id] = number
                yield problem
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def parse(line: str | bytes, where: str) -> Problem:
    """The problem of a line. Raises `DataError` with `where` (file and line) and the first field that does not fit."""
    try:
        return Problem.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "line"
        raise DataError(f"{where}: {field}: {first['msg']}") from None
