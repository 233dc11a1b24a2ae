"""Errors of the training package. Knows nothing of what raises them.

TrainingError
├── RecipeError      a recipe cannot be read, or holds an unknown key or a value that does not fit (also a ValueError)
├── DataError        material that a generator, tokenizer or trainer needs is missing or unusable (also a ValueError)
├── JudgeError       the LLM judge gave no verdict; never a reward of 0 (also a ConnectionError)
├── RolloutError     the policy's engine is away, or its replies cannot be trained on (also a RuntimeError)
├── CheckpointError  a checkpoint does not belong to this run or cannot be read (also a ValueError)
├── MemoryExhausted  a model, its activations or its cache do not fit the device (also a MemoryError)
├── DivergedError    a loss or gradient is not a number; the last checkpoint stays (also an ArithmeticError)
├── StorageError     a run folder cannot be written, most often because the disk is full (also an OSError)
└── ExportError      a policy folder could not be written or does not agree with the trained model (also a RuntimeError)
"""

from __future__ import annotations


class TrainingError(Exception):
    """Root of everything longfold_training raises on purpose."""


class RecipeError(TrainingError, ValueError):
    """A recipe cannot be run as it is written."""


class DataError(TrainingError, ValueError):
    """Training or evaluation material is missing or unusable."""


class JudgeError(TrainingError, ConnectionError):
    """The LLM judge is away, or its verdicts cannot be read or kept."""


class RolloutError(TrainingError, RuntimeError):
    """The engine of the policy gives no replies, or none with what training needs."""


class CheckpointError(TrainingError, ValueError):
    """A checkpoint cannot be read or belongs to another configuration."""


class MemoryExhausted(TrainingError, MemoryError):
    """The device has too little memory for what was asked; the message says what to lower."""


class DivergedError(TrainingError, ArithmeticError):
    """Training has left the numbers; nothing of the step that did was kept."""


class StorageError(TrainingError, OSError):
    """A run folder cannot be written."""


class ExportError(TrainingError, RuntimeError):
    """An exported policy is incomplete or disagrees with the model it came from."""
