"""Trajectories as training rows: one per step, each with its trajectory's advantage. Knows no padding and no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from longfold_training.core.trajectory import Step, Trajectory


@dataclass(frozen=True, slots=True)
class Row:
    """One step as a sequence to train on."""

    owner: int
    """Position of its trajectory in the batch."""
    step: Step
    advantage: float
    """Its trajectory's advantage (Eq. 3 or 7), the same for every step: the reward belongs to the whole."""
    weight: float
    """Eq. 4 weight of each of its completion tokens."""

    @property
    def live(self) -> bool:
        """Whether it can change the policy; a row that cannot need not be computed."""
        return self.advantage != 0


def expand(trajectories: Sequence[Trajectory], advantages: Tensor, weights: Tensor) -> list[Row]:
    """All steps of all trajectories as rows, in their order.

    Args:
        trajectories: The batch.
        advantages: (trajectories,), from `advantages`, silenced by the entropy controller where it applies.
        weights: (trajectories,), from `token_weights`.

    Returns:
        One row per step; rows that are not `live` are included, since their tokens count for the entropy.
    """
    shares = zip(trajectories, advantages.tolist(), weights.tolist(), strict=True)
    return [
        Row(owner, step, advantage, weight)
        for owner, (trajectory, advantage, weight) in enumerate(shares)
        for step in trajectory.steps
    ]
