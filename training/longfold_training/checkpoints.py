"""Checkpoints: tensors and plain values in one file that appears whole or not at all. Knows no training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from longfold_training.errors import CheckpointError, StorageError
from longfold_training.folders import whole_file


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Raises `StorageError`; what was at `path` is then still there."""
    import torch

    with whole_file(path) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:
            # torch reports a failed write, such as on a full disk, as a RuntimeError of its own.
            raise StorageError(f"cannot write {path}: {error}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises `CheckpointError` when it cannot be read."""
    import torch

    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return state
