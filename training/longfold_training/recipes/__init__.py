"""Recipes: what a training stage does, as sparse TOML over vetted defaults. Knows no torch and runs nothing."""

from longfold_training.recipes.load import load, shipped
from longfold_training.recipes.schema import (
    Aepo,
    Clipping,
    Dense,
    Evaluate,
    Export,
    Judge,
    Limits,
    Lora,
    Merge,
    Optimiser,
    Problems,
    Recipe,
    Reinforce,
    Rollouts,
    Select,
)

__all__ = [
    "Aepo", "Clipping", "Dense", "Evaluate", "Export", "Judge", "Limits", "Lora", "Merge", "Optimiser", "Problems",
    "Recipe", "Reinforce", "Rollouts", "Select", "load", "shipped",
]  # fmt: skip
