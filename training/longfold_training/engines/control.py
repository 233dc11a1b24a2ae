"""What a batch's update is to be: Eq. 3 or 7, the entropy controller, Eq. 8-11; the same decision in every engine.
Knows no model and no tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from longfold_training.core.advantages import Scale, advantages, flat_groups
from longfold_training.core.aepo import AEPO, Thresholds
from longfold_training.core.clipping import Clipping, indicator
from longfold_training.core.entropy import batch_entropy, trajectory_entropies
from longfold_training.core.trajectory import Graded, groups, tasks
from longfold_training.errors import DivergedError
from longfold_training.recipes import schema


class Keys(Protocol):
    """The keys of a recipe that decide."""

    @property
    def advantage(self) -> Scale: ...

    @property
    def aepo(self) -> schema.Aepo: ...

    @property
    def clipping(self) -> schema.Clipping: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """About one batch."""

    advantages: Tensor
    """(trajectories,) float64; 0 where the entropy controller silences one."""
    mask: Tensor
    """(rows, tokens) bool: completion tokens whose term stays in the objective (Eq. 8)."""
    figures: dict[str, float]
    """For a row of metrics; entropy in nats."""


class Controller:
    """Decides batch after batch; the entropy controller's state goes from one to the next, and into checkpoints."""

    def __init__(self, told: Keys) -> None:
        own, clipping = told.aepo, told.clipping
        self._scale = told.advantage
        self.aepo = AEPO(Thresholds(own.low, own.high, own.start_masked, own.rule, own.unit)) if own.enabled else None
        self._clipping = (
            None if clipping.level == "none" else Clipping(clipping.level, clipping.threshold, clipping.side)
        )

    def decide(self, trajectories: Sequence[Graded], entropies: Tensor, mask: Tensor, owners: Tensor) -> Decision:
        """What is to be done with a batch.

        Args:
            trajectories: The batch, whole groups.
            entropies: (rows, tokens) nats at the sampling temperature, before the update.
            mask: (rows, tokens) bool, true at completion tokens.
            owners: (rows,) position of each row's trajectory.

        Raises:
            DivergedError: The entropy is not a finite number.
            DataError: There is no trajectory, a group has two tasks, or a trajectory has no completion token.
        """
        found = advantages(trajectories, self._scale)
        entropy = batch_entropy(trajectory_entropies(entropies, mask, owners, len(trajectories)))
        if not math.isfinite(entropy):
            raise DivergedError(f"the policy's entropy is {entropy}")
        used, bounds = found, dict[str, float]()
        if self.aepo is not None:
            self.aepo.observe(entropy)
            low, high = self.aepo.bounds
            bounds = {"entropy_low": low, "entropy_high": high}
            rewards = torch.tensor([trajectory.reward for trajectory in trajectories], dtype=torch.float64)
            used = self.aepo.apply(found, rewards)
        if self._clipping is not None:
            mask = indicator(self._clipping, used, entropies, mask, owners)
        figures = {
            "entropy": entropy,
            **bounds,
            "masking": float(self.aepo is not None and self.aepo.masking),
            "groups": float(len(groups(trajectories))),
            "groups_without_gradient": float(len(flat_groups(trajectories))),
            "trajectories": float(len(trajectories)),
            "rows": float(len(owners)),
            "silenced": float(((found != 0) & (used == 0)).double().mean()),
        }
        for task, members in tasks(trajectories).items():
            figures[f"advantage/{task}"] = float(found[list(members)].abs().mean())
        return Decision(used, mask.bool(), figures)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values."""
        return {"aepo": None if self.aepo is None else self.aepo.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises `CheckpointError` for another controller's state."""
        if self.aepo is not None:
            self.aepo.load_state_dict(state.get("aepo") or {})
