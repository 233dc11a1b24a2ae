"""A policy's folder but for its weights: whether it is one, which tokenizer it has, which type. Knows no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longfold_training.errors import CheckpointError


def check_folder(folder: Path) -> Mapping[str, Any]:
    """config.json of a policy folder. Raises `CheckpointError` where the folder is none."""
    if not folder.is_dir():
        raise CheckpointError(f"the policy {folder} does not exist")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is no policy folder: it has no {name}")
    try:
        config: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON: {error}") from error
    return config


def tokenizer_hash(folder: Path) -> str:
    """Identity of a policy's tokenizer, as `longfold_agent.tokens` names it. Raises `CheckpointError` without one."""
    check_folder(folder)
    return "sha256:" + hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()


def name_type(folder: Path, dtype: str) -> None:
    """Name the type of a policy's weights ("float32", "bfloat16") in its config.json, where that names one."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {key: dtype for key in ("dtype", "torch_dtype") if key in config}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
