"""Reinforcement learning of a policy, step by step, resumable to the step. Knows no formula: those are in `core`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from longfold_training.core.sampler import TaskBalanced
from longfold_training.engines.local.learn import Learner
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.episodes import rates
from longfold_training.problems import Problem
from longfold_training.recipes import Reinforce
from longfold_training.run_folder import RunFolder
from longfold_training.stages.reading import Material, collector, open_policy, prepare

if TYPE_CHECKING:
    from longfold_training.stages import Watch


def reinforce(recipe: Reinforce, out: Path, *, resume: bool, watch: Watch, stopped: Callable[[], bool]) -> Path | None:
    """Train; returns the policy's folder, `out`/policy, or None when it was stopped.

    A resumed run takes the steps that an unbroken one would have taken: every step's questions and samples follow from
    the seed and the step, and the checkpoint holds all that goes from one step to the next. `watch` is told at the end
    where no step changed the policy. Raises `TrainingError`; the last checkpoint then stays.
    """
    material = prepare(recipe)
    sampler = TaskBalanced([_label(recipe, problem) for problem in material.problems], recipe.questions, recipe.seed)
    folder = RunFolder(out, recipe, material.inputs, result="policy", resume=resume)
    if folder.finished:
        return out / "policy"
    policy = open_policy(recipe, recipe.lora, recipe.gradient_checkpointing)
    try:
        return asyncio.run(_train(recipe, material, sampler, folder, policy, watch, stopped))
    finally:
        folder.close()


async def _train(
    recipe: Reinforce,
    material: Material,
    sampler: TaskBalanced,
    folder: RunFolder,
    policy: LocalPolicy,
    watch: Watch,
    stopped: Callable[[], bool],
) -> Path | None:
    learner = Learner(policy, recipe)
    step = 0
    if folder.goes_on:
        state = folder.load()
        learner.load_state_dict(state["learner"])
        sampler.load_state_dict(state["sampler"])
        step = state["step"]
    folder.begin(step)
    how = recipe.rollouts
    async with collector(
        recipe,
        material,
        policy,
        folder.folder,
        group=how.group,
        temperature=how.temperature,
        top_p=how.top_p,
        dense=recipe.dense,
        tell=lambda note: watch(step, recipe.steps, note),
    ) as rollouts:
        while step < recipe.steps:
            began, worked = time.monotonic(), time.process_time()
            problems = [material.problems[place] for place in sampler.draw()]
            episodes = await rollouts.collect(problems, seed=f"{recipe.seed}/{step}")
            sampled = time.monotonic()
            figures = learner.learn([episode.trajectory for episode in episodes])
            step += 1
            spent = {
                "seconds": time.monotonic() - began,
                "seconds_sampling": sampled - began,
                # Of all threads: what two runs cost, whatever else the machine does.
                "seconds_processor": time.process_time() - worked,
            }
            row = {"step": step, **rates([episode.outcome for episode in episodes]), **figures, **spent}
            folder.record(row)
            ends = step < recipe.steps and stopped()
            if ends or step % recipe.checkpoint_every == 0 or step == recipe.steps:
                folder.save({"step": step, "learner": learner.state_dict(), "sampler": sampler.state_dict()})
            watch(step, recipe.steps, f"reward {row['reward']:.3f}  entropy {row['entropy']:.3f}")
            if ends:
                return None
    if not learner.updates:
        watch(step, recipe.steps, "the policy did not change: no step had a gradient (groups_without_gradient)")
    return policy.save(folder.folder / "policy")


def _label(recipe: Reinforce, problem: Problem) -> str:
    """What batches are balanced by: the task, or nothing."""
    return problem.task if recipe.balanced else "all"
