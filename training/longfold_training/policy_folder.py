"""A policy's folder without its tensors: whether it is one, the identities of its tokenizer and weights, their type.
Knows no torch."""

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
        config: object = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read the policy {folder}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / 'config.json'} is no configuration of a model: it holds no JSON object")
    return config


def tokenizer_hash(folder: Path) -> str:
    """Identity of a policy's tokenizer, as `longfold_agent.tokens` names it. Raises `CheckpointError` without one."""
    check_folder(folder)
    return "sha256:" + hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()


def weights_hash(folder: Path) -> str:
    """Identity of a policy's network: config.json and the weights' files, byte by byte, read as a stream.

    Raises `CheckpointError` where the folder is none or cannot be read.
    """
    check_folder(folder)
    found = hashlib.sha256()
    try:
        for path in sorted(folder.iterdir()):
            if path.name == "config.json" or path.suffix in (".safetensors", ".bin"):
                with path.open("rb") as file:
                    found.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    except OSError as error:
        raise CheckpointError(f"cannot read the policy {folder}: {error.strerror}") from error
    return "sha256:" + found.hexdigest()


def name_type(folder: Path, dtype: str) -> None:
    """Name the type of a policy's weights ("float32", "bfloat16") in its config.json, where that names one."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {key: dtype for key in ("dtype", "torch_dtype") if key in config}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
