"""Which problems a stage trains on: each is attempted some times, then drawn by how often it went well. Knows no
training."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from longfold_training.core.difficulty import Measured, balanced, retrospective
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.recipes import Select
from longfold_training.run_folder import RunFolder
from longfold_training.stages.reading import Material, collector, policy_of, prepare

if TYPE_CHECKING:
    from longfold_training.stages import Watch

AT_ONCE = 16
"""Problems attempted side by side, each `rollouts.group` times."""


def select(recipe: Select, out: Path, *, resume: bool, watch: Watch) -> Path:
    """Attempt all problems of the data; returns `out`/problems.jsonl with those selected, in their order.

    `out`/rewards.jsonl holds the rewards of every attempt. A resumed run attempts the problems that are left. Raises
    `TrainingError`, also when nothing stays.
    """
    material = prepare(recipe)
    folder = RunFolder(out, recipe, material.inputs, result="problems.jsonl", resume=resume)
    if folder.finished:
        return out / "problems.jsonl"
    measured = asyncio.run(_measure(recipe, material, policy_of(recipe), folder, watch))
    if recipe.rule == "balanced":
        drawn = balanced(
            measured, recipe.keep or len(measured), bins=recipe.bins, passes=recipe.passes, seed=recipe.seed
        )
    else:
        drawn = retrospective(measured, recipe.keep, seed=recipe.seed, least=recipe.least)
    kept = {question.question for question in drawn}
    told = (json.dumps({"id": one.question, "rewards": one.rewards}, ensure_ascii=False) + "\n" for one in measured)
    folder.write("rewards.jsonl", "".join(told))
    lines = (problem.model_dump_json() + "\n" for problem in material.problems if problem.id in kept)
    return folder.finish("problems.jsonl", "".join(lines))


async def _measure(
    recipe: Select, material: Material, policy: LocalPolicy | str, folder: RunFolder, watch: Watch
) -> list[Measured]:
    how = recipe.rollouts
    # What an attempt says follows from the seed and its problem, whichever others it is attempted with.
    rewards: list[tuple[float, ...]] = [tuple(one["rewards"]) for one in folder.measured()]
    async with collector(
        recipe,
        material,
        policy,
        folder.folder,
        group=how.group,
        temperature=how.temperature,
        top_p=how.top_p,
        tell=lambda note: watch(len(rewards), len(material.problems), note),
    ) as rollouts:
        for start in range(len(rewards), len(material.problems), AT_ONCE):
            problems = material.problems[start : start + AT_ONCE]
            episodes = await rollouts.collect(problems, seed=str(recipe.seed))
            values = [episode.score.value for episode in episodes]
            own = [tuple(values[place : place + how.group]) for place in range(0, len(values), how.group)]
            pairs = zip(problems, own, strict=True)
            folder.measure({"id": problem.id, "rewards": of_problem} for problem, of_problem in pairs)
            rewards += own
            right = fmean(value for of_problem in rewards for value in of_problem)
            watch(len(rewards), len(material.problems), f"right {right:.3f}")
    attempted = zip(material.problems, rewards, strict=True)
    return [Measured(problem.id, problem.task, of_problem) for problem, of_problem in attempted]
