"""The shipped policy's recipe: two runs, one after the other. Knows no folder and no terminal."""

from __future__ import annotations

from longfold_training.demo.train import Config


def recipe(seed: int = 0, threads: int = 2) -> tuple[Config, Config]:
    """Every way of stating a fact first; then mostly ordinary statements in full chunks, the rate falling to 0."""
    widely = Config(steps=2600, ends=1900, seed=seed, threads=threads)
    ordinarily = Config(
        steps=1000,
        seed=seed,
        threads=threads,
        peak=2e-3,
        decay=1.0,
        stages=((128, 0.0), (256, 0.15)),
        ordinary_floor=0.6,
    )
    return widely, ordinarily
