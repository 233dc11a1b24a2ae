"""Token weights of the objective: Eq. 4 divides by the tokens of each group, engines divide by other things. Knows no
advantages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from longfold_training.core.trajectory import Graded, groups
from longfold_training.errors import DataError


def token_weights(trajectories: Sequence[Graded]) -> Tensor:
    """Weight of each completion token of a trajectory: 1 / (number of groups x completion tokens of its group).

    Eq. 4 averages over questions, and within a question over all tokens of its G trajectories. Over the whole batch the
    weights of all tokens sum to 1. Tokens that a mask silences keep their place in the divisor: Eq. 8 zeroes a token's
    term, not its share of the length.

    Returns:
        (trajectories,) float64 on the CPU, per token.

    Raises:
        DataError: There is no trajectory, or a group has two tasks.
    """
    if not trajectories:
        raise DataError("an empty batch has no token weights")
    by_group = groups(trajectories)
    weights = torch.empty(len(trajectories), dtype=torch.float64)
    for members in by_group.values():
        tokens = sum(trajectories[member].tokens for member in members)
        weights[list(members)] = 1 / (len(by_group) * tokens)
    return weights


def token_mean_factors(trajectories: Sequence[Graded]) -> Tensor:
    """What each advantage is multiplied by where an engine divides the loss by all tokens of the batch ("token-mean").

    The engine's 1 / N_total times this factor is `token_weights`: N_total / (number of groups x N_group).

    Returns:
        (trajectories,) float64 on the CPU; all 1 when every group has the same number of tokens.

    Raises:
        DataError: There is no trajectory, or a group has two tasks.
    """
    return token_weights(trajectories) * sum(trajectory.tokens for trajectory in trajectories)
