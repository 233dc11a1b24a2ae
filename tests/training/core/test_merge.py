"""SCE agrees with numbers worked out by hand, with its definition written out, and with mergekit where both are
defined; a merged folder is whole or is not there."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from longfold_training.core.merge import Masking, merge, sce
from longfold_training.errors import CheckpointError, DivergedError, StorageError

# Squared sizes 14 and 21: weights 0.4 and 0.6. Sums 4, 1, 0, -2. Variances 1, 2.25, 0, 9.
BASE = torch.zeros(2, 2)
FIRST = torch.tensor([[3.0, -1.0], [0.0, 2.0]])
SECOND = torch.tensor([[1.0, 2.0], [0.0, -4.0]])


@pytest.mark.parametrize("size", [1.0, 1e-5, 1e-12])
def test_by_hand_at_any_size(size: float) -> None:
    # 1e-5 is the size of what reinforcement learning changes; mergekit would take equal weights there.
    merged = sce(BASE, [FIRST * size, SECOND * size])
    expected = torch.tensor([[1.8, 2.0], [0.0, -4.0]])
    torch.testing.assert_close(merged / size, expected)


@pytest.mark.parametrize(
    ("masking", "expected"),
    [
        # int(0.5 x 3 non-zero variances) = 1 element: the last. Weights 4 / 20 and 16 / 20.
        ("deltas", [[0.0, 0.0], [0.0, -4.0]]),
        ("weights", [[1.4, 2.0], [0.0, -4.0]]),
    ],
)
def test_both_maskings_by_hand(masking: Masking, expected: list[list[float]]) -> None:
    torch.testing.assert_close(sce(BASE, [FIRST, SECOND], 0.5, masking), torch.tensor(expected))


def test_a_tie_of_signs_counts_as_plus() -> None:
    assert sce(torch.tensor([10.0]), [torch.tensor([12.0]), torch.tensor([8.0])]).tolist() == [12.0]


def test_what_all_sources_share_stays_but_for_a_selection_of_the_deltas() -> None:
    base, shared = torch.zeros(3), torch.tensor([5.0, 0.0, 0.0])
    sources = [shared + torch.tensor([0.0, 1.0, 0.0]), shared + torch.tensor([0.0, 0.0, 2.0])]
    assert sce(base, sources)[0] == sce(base, sources, 0.5, "weights")[0] == 5
    assert sce(base, sources, 0.5, "deltas")[0] == 0


def test_where_all_agree_the_variance_is_exactly_nothing() -> None:
    # Nine elements on which three sources agree and one on which they do not: half of one element is none.
    shared = torch.linspace(0.1, 0.9, 9)
    sources = [torch.cat([shared, torch.tensor([own])]) for own in (1.0, 2.0, 3.0)]
    assert sce(torch.zeros(10), sources, 0.5).tolist() == [0.0] * 10


def test_equal_sources_are_their_own_merge() -> None:
    assert torch.equal(sce(BASE, [FIRST, FIRST]), FIRST)
    assert torch.equal(sce(BASE, [FIRST, FIRST], 0.5, "weights"), FIRST)
    assert torch.equal(sce(FIRST, [FIRST, FIRST]), FIRST)


def test_the_result_is_rounded_once() -> None:
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(64, generator=generator).bfloat16()
    sources = [(base.float() + 0.01 * torch.randn(64, generator=generator)).bfloat16() for _ in range(2)]
    exact = sce(base.double(), [source.double() for source in sources])
    merged = sce(base, sources)
    assert merged.dtype == torch.bfloat16
    assert torch.equal(merged, exact.bfloat16())


def written_out(base: list[float], sources: Sequence[list[float]], topk: float, masking: Masking) -> list[float]:
    """SCE element by element in float64."""
    count = len(sources)
    deltas = [[value - origin for value, origin in zip(source, base, strict=True)] for source in sources]
    selected = set(range(len(base)))
    if topk < 1:
        columns = list(zip(*deltas, strict=True))
        variance = [sum((value - sum(column) / count) ** 2 for value in column) / count for column in columns]
        chosen = sorted(range(len(base)), key=lambda at: -variance[at])
        selected = set(chosen[: int(topk * sum(value > 0 for value in variance))])
    masked = [[value if at in selected else 0.0 for at, value in enumerate(delta)] for delta in deltas]
    sizes = [sum(value**2 for value in delta) for delta in masked]
    weights = [size / sum(sizes) if sum(sizes) else 1 / count for size in sizes]
    fused = masked if masking == "deltas" else deltas
    merged = []
    for at, origin in enumerate(base):
        column = [delta[at] for delta in fused]
        sign = 1 if sum(column) >= 0 else -1
        kept = [(weight, value) for weight, value in zip(weights, column, strict=True) if value * sign > 0]
        share = sum(weight for weight, _ in kept)
        merged.append(origin + (sum(weight * value for weight, value in kept) / share if share else 0.0))
    return merged


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(2, 4),
    st.sampled_from([0.1, 0.34, 0.8, 1.0]),
    st.sampled_from(["deltas", "weights"]),
    st.sampled_from([1.0, 1e-4]),
)
def test_against_the_definition(seed: int, count: int, topk: float, masking: Masking, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    sources = [base + size * (1 + at) * torch.randn(4, 6, generator=generator).double() for at in range(count)]
    merged = sce(base, sources, topk, masking)
    expected = written_out(base.flatten().tolist(), [source.flatten().tolist() for source in sources], topk, masking)
    torch.testing.assert_close(merged.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)
    # In another order of the sources it is the same, and no element leaves the range of base and sources.
    torch.testing.assert_close(sce(base, sources[::-1], topk, masking), merged, rtol=1e-9, atol=1e-12)
    every = torch.stack([base, *sources])
    assert bool((merged >= every.amin(0) - 1e-12).all() and (merged <= every.amax(0) + 1e-12).all())


def oracle() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((Path(__file__).parent / "mergekit_sce.json").read_text())
    return cases


@pytest.mark.parametrize("case", oracle(), ids=lambda case: f"{len(case['sources'])} sources, topk {case['topk']}")
def test_against_mergekit(case: dict[str, Any]) -> None:
    sources = [torch.tensor(source) for source in case["sources"]]
    torch.testing.assert_close(sce(torch.tensor(case["base"]), sources, case["topk"]), torch.tensor(case["merged"]))


@pytest.mark.parametrize(
    ("sources", "topk", "message"),
    [
        ([FIRST], 1.0, "at least two sources"),
        ([FIRST, SECOND], 0.0, "topk"),
        ([FIRST, SECOND], 1.5, "topk"),
        ([FIRST, SECOND[0]], 1.0, "another shape"),
    ],
)
def test_what_is_undefined_is_refused(sources: list[Tensor], topk: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sce(BASE, sources, topk)


# Folders


def tensors(seed: int, around: dict[str, Tensor] | None = None, size: float = 1e-3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embed": (20, 8), "layer.0": (8, 8), "layer.1": (8, 8), "norm": (8,)}
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if around is None:
        return drawn
    return {name: around[name] + size * drawn[name] for name in shapes}


def write(folder: Path, weights: dict[str, Tensor], shards: int = 1, vocabulary: Sequence[str] = ("a", "b")) -> Path:
    folder.mkdir()
    names = sorted(weights)
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
    else:
        files = {
            name: f"model-{1 + at * shards // len(names):05}-of-{shards:05}.safetensors"
            for at, name in enumerate(names)
        }
        for file in set(files.values()):
            save_file({name: weights[name] for name in names if files[name] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    tokenizer = {"model": {"vocab": {word: at for at, word in enumerate(vocabulary)}, "merges": []}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"of": folder.name}))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A base in two shards, and two sources in one file each."""
    base = tensors(0)
    return [
        write(tmp_path / "base", base, shards=2),
        write(tmp_path / "stage3", tensors(1, base)),
        write(tmp_path / "memory", tensors(2, base, 2e-3)),
    ]


def rewrite(folder: Path, change: dict[str, Tensor], drop: str = "") -> None:
    weights = {**load_file(folder / "model.safetensors"), **change}
    weights.pop(drop, None)
    save_file(weights, folder / "model.safetensors")


def test_a_merged_folder_holds_every_tensor_in_the_base_s_layout(folders: list[Path], tmp_path: Path) -> None:
    base, *sources = folders
    seen: list[tuple[int, int]] = []
    report = merge(base, sources, tmp_path / "out", progress=lambda done, there: seen.append((done, there)))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(file.name for file in base.iterdir())
    loaded = [
        {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
        for folder in (base, *sources, tmp_path / "out")
    ]
    for name, merged in loaded[3].items():
        assert torch.equal(merged, sce(loaded[0][name], [loaded[1][name], loaded[2][name]]))
    assert set(loaded[3]) == set(loaded[0])
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"of": "base"}
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (report.tensors, report.parameters) == (4, 20 * 8 + 2 * 64 + 8)
    assert report.changed > 0.99
    # The second source is twice as far from the base: about 1/5 and 4/5.
    assert sum(report.weights) == pytest.approx(1)
    assert 0.15 < report.weights[0] < 0.25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "memory", "out", "stage3"]


def test_a_small_selection_changes_few_elements_or_all(folders: list[Path], tmp_path: Path) -> None:
    base, *sources = folders
    assert 0.08 < merge(base, sources, tmp_path / "few", topk=0.1).changed <= 0.1
    assert merge(base, sources, tmp_path / "all", topk=0.1, masking="weights").changed > 0.99


def test_the_type_is_the_widest_so_that_small_updates_stay(folders: list[Path], tmp_path: Path) -> None:
    base = {name: tensor.bfloat16() for name, tensor in tensors(0).items()}
    halves = write(tmp_path / "halves", base)
    (halves / "config.json").write_text('{"dtype": "bfloat16", "vocab_size": 2}')
    exact = {name: tensor.float() for name, tensor in base.items()}
    # A ten-thousandth of a weight is a fraction of a step of bfloat16, which has eight bits.
    sources = [write(tmp_path / f"exact{seed}", tensors(seed, exact, 1e-4)) for seed in (7, 8)]
    report = merge(halves, sources, tmp_path / "out")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}
    assert report.changed > 0.99
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"dtype": "float32", "vocab_size": 2}

    for source in sources:
        rewrite(source, {name: tensor.bfloat16() for name, tensor in load_file(source / "model.safetensors").items()})
    merge(halves, sources, tmp_path / "low")
    assert {tensor.dtype for tensor in load_file(tmp_path / "low" / "model.safetensors").values()} == {torch.bfloat16}


def test_whole_numbers_are_taken_over_where_all_agree(folders: list[Path], tmp_path: Path) -> None:
    base = write(tmp_path / "counted", {**tensors(0), "ids": torch.arange(4)})
    for source in folders[1:]:
        rewrite(source, {"ids": torch.arange(4)})
    merge(base, folders[1:], tmp_path / "out")
    assert load_file(tmp_path / "out" / "model.safetensors")["ids"].tolist() == [0, 1, 2, 3]
    rewrite(folders[1], {"ids": torch.arange(1, 5)})
    with pytest.raises(CheckpointError, match=r"ids is of type torch\.int64 and differs"):
        merge(base, folders[1:], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_tokenizer_file_written_anew_is_the_same_tokenizer(folders: list[Path], tmp_path: Path) -> None:
    for folder, merges in zip(folders[:2], (["a b"], [["a", "b"]]), strict=True):
        loaded = json.loads((folder / "tokenizer.json").read_text())
        loaded["model"]["merges"] = merges
        (folder / "tokenizer.json").write_text(json.dumps(loaded, indent=2))
    (folders[2] / "tokenizer.json").unlink()
    merge(folders[0], folders[1:], tmp_path / "out")


def test_a_single_source_is_refused(folders: list[Path], tmp_path: Path) -> None:
    base, source, _ = folders
    for sources in ([], [source], [source, source], [source, source.parent / "." / source.name]):
        with pytest.raises(CheckpointError, match="at least two different sources"):
            merge(base, sources, tmp_path / "out")


def test_what_does_not_belong_together_is_refused(folders: list[Path], tmp_path: Path) -> None:
    base, first, second = folders
    out = tmp_path / "out"

    def refused(message: str, *sources: Path) -> None:
        with pytest.raises(CheckpointError, match=message):
            merge(base, sources, out)
        assert not out.exists()

    foreign = write(tmp_path / "foreign", tensors(3), vocabulary=("a", "c"))
    refused("foreign has another tokenizer", first, foreign)
    less = write(tmp_path / "less", tensors(3))
    rewrite(less, {}, drop="norm")
    refused("1 differ, first norm", first, less)
    wide = write(tmp_path / "wide", {**tensors(3), "norm": torch.ones(9)})
    refused(r"norm has the shape \[9\]", first, wide)
    refused("no policy folder", first, tmp_path / "nowhere")
    cut = write(tmp_path / "cut", tensors(3))
    (cut / "model.safetensors").write_bytes((first / "model.safetensors").read_bytes()[:200])
    refused("cut is no policy folder", first, cut)
    index = json.loads((base / "model.safetensors.index.json").read_text())
    astray = write(tmp_path / "astray", tensors(3))
    index["weight_map"]["norm"] = "../stage3/model.safetensors"
    (astray / "model.safetensors.index.json").write_text(json.dumps(index))
    refused("outside its folder", first, astray)
    index["weight_map"] = {"norm": "model.safetensors"}
    (astray / "model.safetensors.index.json").write_text(json.dumps(index))
    refused("other tensors than its index", first, astray)
    (astray / "model.safetensors.index.json").write_text("[]")
    refused("no policy folder", first, astray)
    (second / "tokenizer.json").write_text("{}")
    refused("is no tokenizer", first, second)
    with pytest.raises(CheckpointError, match="exists already"):
        merge(base, (first, second), first)
    with pytest.raises(CheckpointError, match="topk"):
        merge(base, (first, second), out, topk=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("topk", [0.2, 1.0])
def test_a_value_that_is_not_finite_is_refused(folders: list[Path], tmp_path: Path, value: float, topk: float) -> None:
    rewrite(folders[1], {"norm": torch.full((8,), value)})
    with pytest.raises(DivergedError, match="norm is not finite"):
        merge(folders[0], folders[1:], tmp_path / "out", topk=topk)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "memory", "stage3"]


def test_an_interrupted_merge_leaves_nothing(folders: list[Path], tmp_path: Path) -> None:
    def interrupt(done: int, there: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(folders[0], folders[1:], tmp_path / "out", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "memory", "stage3"]


def test_a_disk_that_takes_no_more_leaves_nothing(folders: list[Path], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            merge(folders[0], folders[1:], tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "memory", "stage3"]
