"""AEPO, the entropy controller of Eq. 11: when negative gradients are left out, and which trajectories that silences.
Knows no tokens.

Negative gradients raise a policy's entropy; without them it learns from its successes only and its entropy falls. The
controller drives in the loop, so its state belongs into every checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from torch import Tensor

from longfold_training.errors import CheckpointError, DivergedError

FIRST = 5
"""Batches whose median entropy is the unit "first": one outlier among them, or two, do not move it far, and over so few
updates the policy does not either."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The controller's setting.

    Attributes:
        low: In `unit`; below it negative gradients come back. Not published. In Figure 11 the entropy swings between
            about 0.10 and 0.30 nats over 200 steps, so these ends are the default; they hold for the paper's model at
            temperature 0.7, and every other policy needs its own.
        high: In `unit`; above it trajectories with a negative advantage are masked.
        start_masked: The state before the first crossing. False, not published: until the entropy has proven too high,
            the objective is plain GRPO.
        rule: "paper" is Section 4.4 with hysteresis: between the thresholds the state holds. "snippet" is the rule of
            the published code: while low < entropy < high, keep only positive advantages with a positive reward; else
            keep all. It has no memory and lets negative gradients act above `high`, where they raise the entropy
            further; it is here to be compared with. (That code also averages the entropy over tokens; here both rules
            see Eq. 11's mean over responses.)
        unit: "nats", or "first": times the median entropy of the first `FIRST` batches, before that of those seen so
            far; for a policy whose entropy nobody has measured. Not the paper's: 0.5 and 1.5 are Figure 11's ends
            around their middle.

    Raises:
        ValueError: Not 0 <= low < high, or a threshold is not finite.
    """

    low: float = 0.10
    high: float = 0.30
    start_masked: bool = False
    rule: Literal["paper", "snippet"] = "paper"
    unit: Literal["nats", "first"] = "nats"

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high < math.inf):
            raise ValueError(f"AEPO needs 0 <= low < high, not {self.low} and {self.high}")


class AEPO:
    """Observes each batch's entropy, then says what the batch's advantages become."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self.masking = self.thresholds.start_masked and self.thresholds.rule == "paper"
        """Whether negative advantages are masked at present."""
        self.switches = 0
        """How often `masking` has changed."""
        self.first: list[float] = []
        """Entropies of the first batches, nats, at most `FIRST`."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high, nats. With the unit "first" they move until `FIRST` batches were observed; (0, 0) before the
        first."""
        told = self.thresholds
        unit = 1.0 if told.unit == "nats" else median(self.first) if self.first else 0.0
        return told.low * unit, told.high * unit

    def observe(self, entropy: float) -> bool:
        """Take the entropy H(pi, B) of the present batch (nats, `batch_entropy`); returns the new `masking`.

        Raises:
            DivergedError: The entropy is not a finite number.
        """
        if not math.isfinite(entropy):
            raise DivergedError(f"the policy's entropy is {entropy}")
        if len(self.first) < FIRST:
            self.first.append(entropy)
        low, high = self.bounds
        before = self.masking
        if self.thresholds.rule == "snippet":
            self.masking = low < entropy < high
        elif entropy > high:
            self.masking = True
        elif entropy < low:
            self.masking = False
        self.switches += self.masking != before
        return self.masking

    def apply(self, advantages: Tensor, rewards: Tensor) -> Tensor:
        """The advantages with the masked trajectories' set to 0; the token weights of Eq. 4 stay as they are.

        (The published snippet removes the masked rows from the batch instead, so that its token-mean divides by fewer
        tokens: its step grows by that factor, which an optimiser such as Adam hardly notices.)

        Args:
            advantages: (trajectories,).
            rewards: (trajectories,); only the rule "snippet" looks at them.

        Returns:
            (trajectories,), a new tensor.
        """
        if not self.masking:
            return advantages.clone()
        kept = advantages >= 0
        if self.thresholds.rule == "snippet":
            kept = (advantages > 0) & (rewards > 0)
        return advantages.masked_fill(~kept, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values."""
        return {"masking": self.masking, "switches": self.switches, "first": list(self.first)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            CheckpointError: The state is not one of this controller's.
        """
        masking, switches, first = state.get("masking"), state.get("switches"), state.get("first")
        if (
            not isinstance(masking, bool)
            or not isinstance(switches, int)
            or not isinstance(first, list)
            or not all(isinstance(entropy, float) for entropy in first)
        ):
            raise CheckpointError("the checkpoint holds no state of the entropy controller")
        self.masking, self.switches, self.first = masking, switches, list(first)
