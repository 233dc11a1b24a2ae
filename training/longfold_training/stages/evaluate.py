"""How often a policy is right, by task. Knows no training."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.episodes import Episode, rates
from longfold_training.recipes import Evaluate
from longfold_training.run_folder import RunFolder
from longfold_training.stages.reading import Material, collector, policy_of, prepare

if TYPE_CHECKING:
    from longfold_training.stages import Watch

AT_ONCE = 32
"""Problems attempted side by side."""


def evaluate(recipe: Evaluate, out: Path, *, resume: bool, watch: Watch) -> Path:
    """Answer every problem once; returns `out`/results.json. `out`/answers.jsonl holds each answer and its score.

    A problem without an answer counts as wrong. Raises `TrainingError`.
    """
    material = prepare(recipe)
    folder = RunFolder(out, recipe, material.inputs, result="results.json", resume=resume)
    if folder.finished:
        return out / "results.json"
    policy = policy_of(recipe)
    episodes = asyncio.run(_attempt(recipe, material, policy, out, watch))
    answers = (
        {
            "id": episode.problem.id,
            "task": episode.problem.task,
            "answer": episode.answer,
            "score": episode.score.value,
            "by": episode.score.by,
            "failure": episode.failure,
            "memory": episode.memory,
        }
        for episode in episodes
    )
    folder.write("answers.jsonl", "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers))
    found = {
        "reward": fmean(episode.score.value for episode in episodes),
        "questions": len(episodes),
        "left_out": material.left_out,
        "by_task": by_task(episodes),
        "rates": rates(episodes),
    }
    return folder.write("results.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def by_task(episodes: Sequence[Episode]) -> dict[str, dict[str, float]]:
    """Mean score and number of questions of each task."""
    tasks: dict[str, list[float]] = {}
    for episode in episodes:
        tasks.setdefault(episode.problem.task, []).append(episode.score.value)
    return {task: {"reward": fmean(scores), "questions": len(scores)} for task, scores in sorted(tasks.items())}


async def _attempt(
    recipe: Evaluate, material: Material, policy: LocalPolicy | str, out: Path, watch: Watch
) -> list[Episode]:
    found: list[Episode] = []
    async with collector(
        recipe,
        material,
        policy,
        out,
        group=1,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        tell=lambda note: watch(0, len(material.problems), note),
    ) as rollouts:
        for start in range(0, len(material.problems), AT_ONCE):
            found += await rollouts.collect(material.problems[start : start + AT_ONCE], seed=str(recipe.seed))
            right = fmean(episode.score.value for episode in found)
            watch(len(found), len(material.problems), f"right {right:.3f}")
    return found
