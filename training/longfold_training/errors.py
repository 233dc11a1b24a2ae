"""Errors of the training package. Knows nothing of what raises them.

TrainingError
├── DataError        material that a generator, tokenizer or trainer needs is missing or unusable (also a ValueError)
├── CheckpointError  a checkpoint does not belong to this run or cannot be read (also a ValueError)
└── ExportError      a policy folder could not be written or does not agree with the trained model (also a RuntimeError)
"""

from __future__ import annotations


class TrainingError(Exception):
    """Root of everything longfold_training raises on purpose."""


class DataError(TrainingError, ValueError):
    """Training or evaluation material is missing or unusable."""


class CheckpointError(TrainingError, ValueError):
    """A checkpoint cannot be read or belongs to another configuration."""


class ExportError(TrainingError, RuntimeError):
    """An exported policy is incomplete or disagrees with the model it came from."""
