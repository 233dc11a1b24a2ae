"""What each training step uses: chunk length and learning rate, functions of the step alone. Knows no model and no
clock."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Load:
    """The rows of one step."""

    chunk: int
    """Tokens of a chunk."""
    rows: int
    length: int
    """Tokens of the longest row; longer ones are left out."""
    each: int
    """Rows on one chunk."""


LOADS = {
    64: Load(64, 54, 208, 5),
    128: Load(128, 34, 304, 6),
    256: Load(256, 19, 480, 6),
}
"""Rows of each stage, each about 4,000 tokens a step."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Curriculum and learning rate over `steps`; short chunks first, since a policy that starts on long ones does not
    leave the ground."""

    steps: int
    peak: float = 3e-3
    warmup: int = 30
    decay: float = 0.6
    """Share of the steps over which the learning rate falls to zero: accuracy arrives in the decay."""
    stages: tuple[tuple[int, float], ...] = ((64, 0.0), (128, 0.12), (256, 0.4))
    """Chunk length and the share of the steps after which it begins."""
    review: float = 0.4
    """Share of steps that repeat a shorter length once a longer one has begun."""

    ordinary_until: float = 0.1
    """Share of the steps until which the share of ordinary statements falls from one to `ordinary_floor`."""
    ordinary_floor: float = 0.75

    def ordinary(self, step: int) -> float:
        """Share of ordinary statements at a step: binding a value to its key comes before all ways of saying it."""
        return max(self.ordinary_floor, 1.0 - step / (self.ordinary_until * self.steps))

    def rate(self, step: int) -> float:
        left = 1.0 - step / self.steps
        return self.peak * min(1.0, (step + 1) / self.warmup) * min(1.0, max(0.0, left) / self.decay)

    def load(self, step: int, rng: Random) -> Load:
        begun = [chunk for chunk, share in self.stages if share <= step / self.steps]
        chunk = begun[-1]
        if len(begun) > 1 and rng.random() < self.review:
            chunk = begun[-2] if rng.random() < 0.7 else rng.choice(begun)
        return LOADS[chunk]
