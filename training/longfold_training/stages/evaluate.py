"""How often a policy is right, by task. Knows no training."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.episodes import Outcome, rates
from longfold_training.recipes import Evaluate
from longfold_training.run_folder import RunFolder
from longfold_training.stages.reading import Material, collector, policy_of, prepare

if TYPE_CHECKING:
    from longfold_training.stages import Watch

AT_ONCE = 32
"""Problems attempted side by side."""


def evaluate(recipe: Evaluate, out: Path, *, resume: bool, watch: Watch) -> Path:
    """Answer every problem once; returns `out`/results.json. `out`/answers.jsonl holds each answer and its score.

    A problem without an answer counts as wrong. A resumed run answers the problems that are left. Raises
    `TrainingError`.
    """
    material = prepare(recipe)
    folder = RunFolder(out, recipe, material.inputs, result="results.json", resume=resume)
    if folder.finished:
        return out / "results.json"
    outcomes = asyncio.run(_attempt(recipe, material, policy_of(recipe), folder, watch))
    told = ("id", "task", "answer", "score", "by", "failure", "memory")
    answers = ({name: getattr(outcome, name) for name in told} for outcome in outcomes)
    folder.write("answers.jsonl", "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers))
    found = {
        "reward": fmean(outcome.score for outcome in outcomes),
        "questions": len(outcomes),
        "left_out": material.left_out,
        "by_task": by_task(outcomes),
        "rates": rates(outcomes),
    }
    return folder.finish("results.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def by_task(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Mean score and number of questions of each task."""
    tasks: dict[str, list[float]] = {}
    for outcome in outcomes:
        tasks.setdefault(outcome.task, []).append(outcome.score)
    return {task: {"reward": fmean(scores), "questions": len(scores)} for task, scores in sorted(tasks.items())}


async def _attempt(
    recipe: Evaluate, material: Material, policy: LocalPolicy | str, folder: RunFolder, watch: Watch
) -> list[Outcome]:
    # What an attempt says follows from the seed and its problem, whichever others it is attempted with.
    found = [Outcome(**kept) for kept in folder.measured()]
    async with collector(
        recipe,
        material,
        policy,
        folder.folder,
        group=1,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        tell=lambda note: watch(len(found), len(material.problems), note),
    ) as rollouts:
        for start in range(len(found), len(material.problems), AT_ONCE):
            episodes = await rollouts.collect(material.problems[start : start + AT_ONCE], seed=str(recipe.seed))
            outcomes = [episode.outcome for episode in episodes]
            folder.measure(map(asdict, outcomes))
            found += outcomes
            right = fmean(outcome.score for outcome in found)
            watch(len(found), len(material.problems), f"right {right:.3f}")
    return found
