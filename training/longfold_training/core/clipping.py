"""Negative-gradient clipping by entropy, Eq. 8 to 10: which terms of the objective an indicator silences. Knows no
loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from longfold_training.core.entropy import trajectory_entropies


@dataclass(frozen=True, slots=True)
class Clipping:
    """Which negative gradients are dropped. The paper's ablation tries all four combinations; AEPO is what it trains
    with, so this is off in every shipped recipe.

    Attributes:
        level: "token" drops single tokens by their own entropy (Eq. 9); "sequence" drops whole trajectories by their
            mean token entropy (Eq. 10).
        side: "high" drops above the threshold, "low" below it.
        threshold: Nats, at the sampling temperature; what is equal to it is kept.
    """

    level: Literal["token", "sequence"]
    threshold: float
    side: Literal["high", "low"] = "high"


def indicator(clipping: Clipping, advantages: Tensor, entropies: Tensor, mask: Tensor, owners: Tensor) -> Tensor:
    """I(t, i) of Eq. 8 as a mask over rows: false where the advantage is negative and the entropy beyond the threshold.

    Args:
        clipping: The rule.
        advantages: (trajectories,).
        entropies: (rows, tokens), nats.
        mask: (rows, tokens), true at completion tokens.
        owners: (rows,) position of each row's trajectory.

    Returns:
        (rows, tokens) bool: the completion tokens whose term stays in the objective.

    Raises:
        DataError: At sequence level, a trajectory has no completion token in any row.
    """
    completion = mask.bool()
    if clipping.level == "token":
        measured = entropies
    else:
        means = trajectory_entropies(entropies, mask, owners, len(advantages))
        measured = means[owners].unsqueeze(-1)
    beyond = measured > clipping.threshold if clipping.side == "high" else measured < clipping.threshold
    negative = (advantages.to(owners.device)[owners] < 0).unsqueeze(-1)
    return completion & ~(negative & beyond)
