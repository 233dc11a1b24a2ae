"""SCE merge of policies with a common ancestor: select, calculate, erase; tensor by tensor over safetensors shards.
Knows no model.

The method is FuseChat's (arXiv 2408.07990); the arithmetic is in `sce`, the files are in `merge`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from longfold_training.errors import CheckpointError, DivergedError, StorageError
from longfold_training.folders import whole_folder
from longfold_training.policy_folder import name_type

Masking = Literal["deltas", "weights"]
"""What the selection of Select applies to. "deltas": elements outside it take the base's value (FuseChat's text,
mergekit). "weights": it decides the sources' weights only, and every element is fused (the authors' released code).
With topk = 1 both are the same."""

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""Types of weights that are not quantised."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a merge did.

    Attributes:
        folder: The merged policy.
        tensors: Tensors merged.
        parameters: Their elements.
        changed: Share of the elements that differ from the base.
        weights: Mean weight of each source over the changed tensors, each counting with its elements; sums to 1.
    """

    folder: Path
    tensors: int
    parameters: int
    changed: float
    weights: tuple[float, ...]


def sce(base: Tensor, sources: Sequence[Tensor], topk: float = 1.0, masking: Masking = "deltas") -> Tensor:
    """One tensor merged: phi + sum_j d_j e_j / sum_j e_j with deltas d_j = source_j - phi.

    Select: of the elements whose variance across the deltas is not 0, the int(topk x their number) with the largest
    variance; topk = 1 selects every element, also where the sources agree.
    Calculate: w_j = sum of d_j^2 over the selected elements, over the same for all sources. Exact at any size (mergekit
    falls back to equal weights when the deltas are as small as those of reinforcement learning); equal weights where
    no delta is selected.
    Erase: s = sign of sum_j d_j (plus for 0); e_j = w_j where d_j has the sign s, else 0. Where no source is left, the
    base stays.

    With masking "deltas" and topk < 1 an element on which all sources agree returns to the base, since its variance is
    0: with a distant ancestor as the base this undoes what the sources share. Hence topk = 1 by default (FuseO1's
    value; FuseChat's is 0.1; QwenLong-L1.5 states none).

    Args:
        base: The common ancestor, any shape.
        sources: At least two, in the base's shape.
        topk: Share selected, above 0, at most 1.
        masking: What the selection applies to.

    Returns:
        The base's shape and type; computed in float32 (float64 where the base is), cast once.

    Raises:
        ValueError: Fewer than two sources, another shape, or topk outside (0, 1].
    """
    return _sce(base, sources, topk, masking)[0].to(base.dtype)


def _sce(base: Tensor, sources: Sequence[Tensor], topk: float, masking: Masking) -> tuple[Tensor, list[float]]:
    if len(sources) < 2:
        raise ValueError("SCE needs at least two sources: with one the variance is 0 and nothing would be selected")
    if not 0 < topk <= 1:
        raise ValueError(f"topk is a share above 0 and at most 1, not {topk}")
    if any(source.shape != base.shape for source in sources):
        raise ValueError("a source has another shape than the base")
    exact = torch.float64 if base.dtype == torch.float64 else torch.float32
    origin = base.to(exact)
    deltas = torch.empty((len(sources), *base.shape), dtype=exact, device=base.device)
    for delta, source in zip(deltas, sources, strict=True):
        delta.copy_(source).sub_(origin)
    if topk == 1:
        sizes = [_size(delta) for delta in deltas]
    elif masking == "weights":
        chosen = _selection(deltas, topk)
        sizes = [_size(delta * chosen) for delta in deltas]
    else:
        deltas *= _selection(deltas, topk)
        sizes = [_size(delta) for delta in deltas]
    total = sum(sizes)
    weights = [size / total if total > 0 else 1 / len(sizes) for size in sizes]
    plus = deltas.sum(0) >= 0
    change, share = torch.zeros_like(origin), torch.zeros_like(origin)
    for delta, weight in zip(deltas, weights, strict=True):
        agrees = torch.where(plus, delta > 0, delta < 0)
        # A product, so that a NaN in a source reaches the result and is seen.
        change.add_(delta * agrees, alpha=weight)
        share.add_(agrees, alpha=weight)
    return change.div_(share.masked_fill_(share == 0, 1.0)).add_(origin), weights


def _size(delta: Tensor) -> float:
    # In float64: the squares of small float32 deltas would vanish.
    return float(torch.linalg.vector_norm(delta, dtype=torch.float64)) ** 2


def _selection(deltas: Tensor, topk: float) -> Tensor:
    # Written out: `Tensor.var` across a few sources is ten times slower. The divisor does not change the order, and a
    # mean that starts at the first source is that very value where all agree, so that the variance is exactly 0.
    mean = (deltas[1:] - deltas[0]).sum(0).div_(len(deltas)).add_(deltas[0])
    variance = torch.zeros_like(mean)
    for delta in deltas:
        variance += (delta - mean).square_()
    variance = variance.flatten()
    count = int(topk * int(variance.count_nonzero()))
    chosen = torch.zeros_like(variance, dtype=torch.bool)
    chosen[variance.topk(count, sorted=False).indices] = True
    return chosen.view(deltas.shape[1:])


def merge(
    base: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    topk: float = 1.0,
    masking: Masking = "deltas",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Merge policy folders (safetensors, one file or shards with an index) into a new folder.

    Tensors are read one by one; a finished shard is written before the next begins, in the base's layout, each tensor
    in the widest of the types that it has in base and sources: an update of reinforcement learning is mostly smaller
    than the steps of bfloat16, and would be lost in a bfloat16 base. Memory: the largest shard, plus about eleven
    float32 copies of the largest tensor with two sources. Everything
    beside the weights (config, tokenizer, templates) is the base's. `out` appears when it is whole, and not before.

    Args:
        base: The sources' common ancestor; in the paper's recipe the model before all stages.
        sources: At least two different folders; there, full-context stage 3 and the memory expert.
        out: A folder that does not exist yet.
        topk: As in `sce`.
        masking: As in `sce`.
        progress: Called after each tensor with the tensors done and those there are.

    Raises:
        CheckpointError: A folder has no readable weights, other tensors, shapes or another tokenizer than the base; or
            holds quantised weights; or fewer than two different sources are given; or `out` exists; or topk is wrong.
        DivergedError: A source or the base holds a value that is not finite.
        StorageError: `out` cannot be written; nothing of it is left.
    """
    folders = [path.resolve() for path in sources]
    if len(set(folders)) < 2 or len(set(folders)) != len(folders):
        raise CheckpointError("SCE merges at least two different sources; with one the variance is 0 everywhere")
    if not 0 < topk <= 1:
        raise CheckpointError(f"topk is a share above 0 and at most 1, not {topk}")
    if out.exists():
        raise CheckpointError(f"{out} exists already")
    for folder in folders:
        _same_tokenizer(base, folder)
    with ExitStack() as opened:
        ancestor = StoredWeights(base, opened)
        experts = [StoredWeights(folder, opened) for folder in folders]
        for expert in experts:
            ancestor.agree(expert)
        with whole_folder(out) as part:
            tally = _Tally(len(ancestor.files), len(experts))
            for file, names in ancestor.shards().items():
                merged = {}
                for name in names:
                    merged[name] = tally.add(name, ancestor[name], [expert[name] for expert in experts], topk, masking)
                    if progress is not None:
                        progress(tally.done, tally.tensors)
                save_shard(merged, part / file)
            copy_rest(base, part, tally.widest)
    return tally.report(out)


class StoredWeights:
    """The tensors of a policy folder, read when asked for."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder = folder
        self.files = _files(folder)
        try:
            self._open: dict[str, Any] = {
                file: opened.enter_context(safe_open(folder / file, framework="pt"))
                for file in set(self.files.values())
            }
            stored = {name for reader in self._open.values() for name in reader.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{folder} has weights that cannot be read: {error}") from error
        if stored != set(self.files):
            raise CheckpointError(f"{folder} holds other tensors than its index names")

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._open[self.files[name]].get_tensor(name)
        return tensor

    def shards(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, file in sorted(self.files.items()):
            found.setdefault(file, []).append(name)
        return found

    def agree(self, other: StoredWeights) -> None:
        differing = sorted(set(self.files) ^ set(other.files))
        if differing:
            raise CheckpointError(
                f"{other.folder} and {self.folder} do not hold the same tensors; "
                f"{len(differing)} differ, first {differing[0]}"
            )
        for name in self.files:
            own, its = self._shape(name), other._shape(name)
            if own != its:
                raise CheckpointError(f"{name} has the shape {its} in {other.folder} but {own} in {self.folder}")

    def _shape(self, name: str) -> list[int]:
        shape: list[int] = self._open[self.files[name]].get_slice(name).get_shape()
        return shape


class _Tally:
    """Merges tensors and adds up what came of them."""

    def __init__(self, tensors: int, sources: int) -> None:
        self.tensors, self.done = tensors, 0
        self.widest: torch.dtype | None = None
        """Of the merged tensors; None where there is none."""
        self._parameters = self._weighed = self._changed = 0
        self._weights = [0.0] * sources

    def add(self, name: str, base: Tensor, sources: Sequence[Tensor], topk: float, masking: Masking) -> Tensor:
        self.done += 1
        if base.dtype not in PLAIN or any(source.dtype not in PLAIN for source in sources):
            if any(source.dtype != base.dtype or not torch.equal(source, base) for source in sources):
                raise CheckpointError(f"{name} is of type {base.dtype} and differs; merge before quantising")
            return base
        exact, weights = _sce(base, sources, topk, masking)
        if not bool(exact.isfinite().all()):
            raise DivergedError(f"{name} is not finite in the base or in a source")
        dtype = reduce(torch.promote_types, (source.dtype for source in sources), base.dtype)
        self.widest = dtype if self.widest is None else torch.promote_types(self.widest, dtype)
        merged = exact.to(dtype)
        changed = int((merged != base).sum())
        self._parameters += base.numel()
        self._changed += changed
        if changed:
            self._weighed += base.numel()
            self._weights = [
                total + weight * base.numel() for total, weight in zip(self._weights, weights, strict=True)
            ]
        return merged

    def report(self, folder: Path) -> Report:
        return Report(
            folder,
            self.tensors,
            self._parameters,
            self._changed / max(self._parameters, 1),
            tuple(weight / max(self._weighed, 1) for weight in self._weights),
        )


def _files(folder: Path) -> Mapping[str, str]:
    """Which file of the folder holds each tensor."""
    try:
        if (folder / _INDEX).is_file():
            files = {str(name): str(file) for name, file in _loaded(folder / _INDEX)["weight_map"].items()}
        else:
            with safe_open(folder / _SINGLE, framework="pt") as reader:
                files = dict.fromkeys(reader.keys(), _SINGLE)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder} is no policy folder with safetensors weights: {error}") from error
    if any(Path(file).name != file for file in files.values()):
        raise CheckpointError(f"{folder / _INDEX} names a file outside its folder")
    return files


def _loaded(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _same_tokenizer(base: Path, source: Path) -> None:
    own, its = (_vocabulary(folder / "tokenizer.json") for folder in (base, source))
    if own is not None and its is not None and own != its:
        raise CheckpointError(f"{source} has another tokenizer than {base}")


def _vocabulary(file: Path) -> Any:
    """What makes two tokenizer files the same: vocabulary, merges and added tokens, not the file's formatting."""
    if not file.is_file():
        return None
    try:
        loaded = _loaded(file)
        model = loaded["model"]
        # Newer files write a merge as a pair, older ones as one string.
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges", [])]
        added = {token["content"]: token["id"] for token in loaded.get("added_tokens", [])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} is no tokenizer: {error!r}") from error
    return model.get("vocab"), merges, added


def save_shard(tensors: dict[str, Tensor], file: Path) -> None:
    """Write one file of a policy's weights. Raises `StorageError`."""
    try:
        save_file(tensors, file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise StorageError(f"cannot write {file}: {error}") from error


def copy_rest(base: Path, part: Path, dtype: torch.dtype | None) -> None:
    """Copy everything beside the weights, and name their type in config.json."""
    for file in sorted(base.iterdir()):
        if file.is_file() and file.suffix not in _WEIGHTS and not file.name.endswith(".bin.index.json"):
            shutil.copyfile(file, part / file.name)
    if dtype is not None and (part / "config.json").is_file():
        name_type(part, str(dtype).removeprefix("torch."))
