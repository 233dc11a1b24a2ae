"""Advantages of trajectories: Eq. 3, Eq. 7 and the ablation between them. Knows no tokens.

The baseline is always the mean of the group; the variants differ in whose rewards give the spread that divides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from longfold_training.core.trajectory import Graded, groups, tasks
from longfold_training.errors import DataError

Scale = Literal["none", "group", "batch", "task"]
"""Whose rewards give the standard deviation: nobody's (divide by 1), the group's (Eq. 3), all of the batch's (the
paper's "batch std" ablation), or those of the trajectory's task in the batch (Eq. 7)."""

EPSILON = 1e-6
"""Added to the standard deviation, as in the paper's published snippet; large against rounding, small against the
spread of rewards between 0 and 1."""


def advantages(trajectories: Sequence[Graded], scale: Scale = "task") -> Tensor:
    """One advantage per trajectory: A_i = (r_i - mean of its group) / (std + 1e-6).

    The std is the sample's (divided by n - 1), as in the published snippet; that of one value counts as 0. A group
    whose rewards are all equal, and so also a group of one, gets exactly 0. (The published snippet takes 0 for the mean
    of a group of one, which turns its reward into an advantage without a baseline: not followed.)

    Args:
        trajectories: The batch, whole groups, in any order.
        scale: Which spread divides; the default is Eq. 7.

    Returns:
        (trajectories,) float64 on the CPU, in the units of one standard deviation (for "none": of the reward).

    Raises:
        DataError: There is no trajectory, or a group has two tasks.
    """
    if not trajectories:
        raise DataError("an empty batch has no advantages")
    by_group = groups(trajectories)
    rewards = torch.tensor([trajectory.reward for trajectory in trajectories], dtype=torch.float64)
    centred = torch.zeros_like(rewards)
    for members in by_group.values():
        own = rewards[list(members)]
        if own.min() < own.max():
            centred[list(members)] = own - own.mean()
    for sharing in _sharing(trajectories, scale):
        centred[list(sharing)] /= _spread(rewards[list(sharing)]) + EPSILON
    return centred


def flat_groups(trajectories: Sequence[Graded]) -> tuple[str, ...]:
    """Groups whose rewards are all equal: they give no gradient, whatever the scale. To be counted, and skipped."""
    return tuple(
        group
        for group, members in groups(trajectories).items()
        if len({trajectories[member].reward for member in members}) == 1
    )


def _sharing(trajectories: Sequence[Graded], scale: Scale) -> Iterable[Sequence[int]]:
    match scale:
        case "none":
            return ()
        case "group":
            return groups(trajectories).values()
        case "batch":
            return (range(len(trajectories)),)
        case "task":
            return tasks(trajectories).values()


def _spread(rewards: Tensor) -> Tensor:
    return rewards.std() if len(rewards) > 1 else rewards.new_zeros(())
