"""Stages: one recipe in, one folder out. Each kind has its module; this one only tells them apart.

Importing it is quick; a stage imports torch when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from longfold_training.recipes import Evaluate, Export, Merge, Problems, Recipe, Reinforce, Select


class Watch(Protocol):
    """Told how far a stage is."""

    def __call__(self, done: int, total: int, note: str) -> None: ...


def run(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    watch: Watch = lambda done, total, note: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Run a stage into the folder `out`; returns what the next stage starts from, or None when it was stopped.

    resume: go on from the folder's checkpoint where it has one (training), or with the problems that are left (select,
    evaluate), and leave what is finished as it is; all only with the same recipe and the same contents of all that it
    names. A stage of another kind that is not finished begins anew. stopped: asked after every step of training; when
    it says yes, a checkpoint is written and the stage ends early.

    reinforce, merge, export give `out`/policy; select, problems give `out`/problems.jsonl; evaluate `out`/results.json.
    Raises `TrainingError`, and `AgentError` of the agent.
    """
    match recipe:
        case Reinforce():
            from longfold_training.stages.reinforce import reinforce

            return reinforce(recipe, out, resume=resume, watch=watch, stopped=stopped)
        case Evaluate():
            from longfold_training.stages.evaluate import evaluate

            return evaluate(recipe, out, resume=resume, watch=watch)
        case Select():
            from longfold_training.stages.select import select

            return select(recipe, out, resume=resume, watch=watch)
        case Problems():
            from longfold_training.stages.problems import problems

            return problems(recipe, out, resume=resume, watch=watch)
        case Merge():
            from longfold_training.stages.weights import merged

            return merged(recipe, out, resume=resume, watch=watch)
        case Export():
            from longfold_training.stages.weights import exported

            return exported(recipe, out, resume=resume)


def missing(recipe: Recipe) -> list[str]:
    """Paths that a recipe names and that do not exist, as "key: path"."""
    paths: list[tuple[str, Path]] = []
    for key, value in recipe:
        if isinstance(value, Path):
            paths.append((key, value))
        elif key == "sources" and isinstance(value, tuple):
            paths += [(key, path) for path in value]
    return [f"{key}: {path}" for key, path in paths if not path.exists()]
