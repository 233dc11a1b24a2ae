"""Stages that only change weights: the SCE merge and the export. Knows no data."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longfold_training.core.merge import PLAIN, StoredWeights, copy_rest, merge, save_shard
from longfold_training.errors import CheckpointError
from longfold_training.folders import whole_folder
from longfold_training.policy_folder import tokenizer_hash, weights_hash
from longfold_training.recipes import Export, Merge
from longfold_training.run_folder import RunFolder

if TYPE_CHECKING:
    from longfold_training.stages import Watch


def merged(recipe: Merge, out: Path, *, resume: bool, watch: Watch) -> Path:
    """Merge the sources; returns `out`/policy. `out`/merge.json tells what changed. Raises `TrainingError`."""
    inputs = {"base": weights_hash(recipe.base)} | {
        f"sources.{number}": weights_hash(source) for number, source in enumerate(recipe.sources)
    }
    inputs["tokenizer"] = tokenizer_hash(recipe.base)
    folder, policy = RunFolder(out, recipe, inputs, result="policy", resume=resume), out / "policy"
    if folder.finished:
        return policy
    report = merge(
        recipe.base,
        recipe.sources,
        policy,
        topk=recipe.topk,
        masking=recipe.masking,
        progress=lambda done, total: watch(done, total, "tensors"),
    )
    folder.write("merge.json", json.dumps(asdict(report) | {"folder": str(report.folder)}, indent=2) + "\n")
    return policy


def exported(recipe: Export, out: Path, *, resume: bool) -> Path:
    """Write the policy with the type of weights that is asked for, in its own files and under their names; returns
    `out`/policy. Memory: the largest file. Raises `TrainingError`."""
    inputs = {"start": weights_hash(recipe.start), "tokenizer": tokenizer_hash(recipe.start)}
    folder, policy = RunFolder(out, recipe, inputs, result="policy", resume=resume), out / "policy"
    if folder.finished:
        return policy
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    with ExitStack() as opened:
        stored = StoredWeights(recipe.start, opened)
        with whole_folder(policy) as part:
            for file, names in stored.shards().items():
                save_shard({name: _cast(name, stored[name], dtype) for name in names}, part / file)
            copy_rest(recipe.start, part, dtype)
    return policy


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.is_floating_point() and tensor.dtype not in PLAIN:
        raise CheckpointError(f"{name} is of type {tensor.dtype}; export before quantising")
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
