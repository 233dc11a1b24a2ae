"""A run's folder: it goes on only where it was begun, and never from half a file."""

from __future__ import annotations

import json
import resource
import struct
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from longfold_training.errors import CheckpointError, StorageError
from longfold_training.recipes import Recipe, load
from longfold_training.report import render
from longfold_training.run_folder import RunFolder


@pytest.fixture
def recipe() -> Recipe:
    return load("demo/memory")


def open_run(folder: Path, recipe: Recipe, data: str, *, resume: bool = False) -> RunFolder:
    return RunFolder(folder, recipe, {"data": data}, result="policy", resume=resume)


def begun(folder: Path, recipe: Recipe) -> RunFolder:
    run = open_run(folder, recipe, "one")
    run.begin(0)
    for step in (1, 2, 3):
        run.record({"step": step, "reward": step / 10})
    run.save({"step": 2})
    run.close()
    return run


def test_it_says_what_was_run(tmp_path: Path, recipe: Recipe) -> None:
    begun(tmp_path, recipe)
    told = json.loads((tmp_path / "config.json").read_text())
    assert told["recipe"] == recipe.model_dump(mode="json")
    assert told["inputs"] == {"data": "one"}
    assert told["versions"]["torch"] == torch.__version__
    assert len(told["commit"]) >= 40
    open_run(tmp_path, recipe, "one", resume=True)
    assert json.loads((tmp_path / "config.json").read_text())["begun"] == told["begun"]


def test_a_resumed_run_takes_the_later_steps_again(tmp_path: Path, recipe: Recipe) -> None:
    begun(tmp_path, recipe)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "rew')
    again = open_run(tmp_path, recipe, "one", resume=True)
    assert again.goes_on and again.load() == {"step": 2}
    again.begin(2)
    again.record({"step": 3, "reward": 1.0})
    again.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 1, "reward": 0.1}, {"step": 2, "reward": 0.2}, {"step": 3, "reward": 1.0}]


def test_a_label_with_other_line_ends_is_one_row(tmp_path: Path, recipe: Recipe) -> None:
    row = {"step": 1, "score/one\u2028two\u0085three": 0.5}
    run = open_run(tmp_path, recipe, "one")
    run.begin(0)
    run.record(row)
    run.save({"step": 1})
    run.close()
    again = open_run(tmp_path, recipe, "one", resume=True)
    again.begin(1)
    again.close()
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().split("\n")[:-1]] == [row]
    assert "one\u2028two\u0085three" in render([tmp_path])


@pytest.mark.parametrize("damage", ['{"step": 2, "rew', '{"reward": 1}', "3", "\x00\x00"])
def test_a_damaged_row_is_told_with_its_place(tmp_path: Path, recipe: Recipe, damage: str) -> None:
    begun(tmp_path, recipe)
    first, _, third, _ = (tmp_path / "metrics.jsonl").read_text().split("\n")
    (tmp_path / "metrics.jsonl").write_text("\n".join([first, damage, third, ""]))
    again = open_run(tmp_path, recipe, "one", resume=True)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2: cannot read the line"):
        again.begin(2)
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": "\xff"}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:1: "):
        again.begin(2)


def test_it_is_not_overwritten_by_accident(tmp_path: Path, recipe: Recipe) -> None:
    begun(tmp_path, recipe)
    with pytest.raises(CheckpointError, match="go on with --resume, or choose another folder"):
        open_run(tmp_path, recipe, "one")


def test_other_settings_or_inputs_do_not_go_on(tmp_path: Path, recipe: Recipe) -> None:
    begun(tmp_path, recipe)
    other = load("demo/memory", ["aepo.low=0.001", "seed=3"])
    with pytest.raises(CheckpointError, match=r"other settings \(recipe.aepo.low, recipe.seed\)"):
        open_run(tmp_path, other, "one", resume=True)
    with pytest.raises(CheckpointError, match=r"begun with other contents of its inputs \(data\); give"):
        open_run(tmp_path, recipe, "two", resume=True)


def test_settings_that_decide_no_result_may_be_others(tmp_path: Path) -> None:
    judge = ["judge.url=http://one/v1", "judge.model=wise"]
    begun(tmp_path, load("demo/memory", judge))
    free = ["tokens_at_once=8192", "gradient_checkpointing=true", "device=cpu", "checkpoint_every=1"]
    free += ["judge.url=http://two/v1", "judge.api_key_variable=KEY"]
    other = load("demo/memory", [*judge, *free])
    assert open_run(tmp_path, other, "one", resume=True).goes_on
    assert json.loads((tmp_path / "config.json").read_text())["recipe"] == other.model_dump(mode="json")
    with pytest.raises(CheckpointError, match=r"other settings \(recipe.judge.model\)"):
        open_run(tmp_path, load("demo/memory", ["judge.url=http://one/v1", "judge.model=wiser"]), "one", resume=True)
    with pytest.raises(CheckpointError, match=r"other settings \(recipe.judge\)"):
        open_run(tmp_path, load("demo/memory"), "one", resume=True)


def test_what_is_finished_stays_for_the_same_inputs_only(tmp_path: Path, recipe: Recipe) -> None:
    assert not open_run(tmp_path, recipe, "one", resume=True).finished
    (tmp_path / "policy").mkdir()
    assert open_run(tmp_path, recipe, "one", resume=True).finished
    with pytest.raises(CheckpointError, match=r"\(recipe.seed\) and other contents of its inputs \(data\)"):
        open_run(tmp_path, load("demo/memory", ["seed=3"]), "two", resume=True)
    with pytest.raises(CheckpointError, match="policy exists already; choose another folder"):
        open_run(tmp_path, recipe, "two")


def test_a_run_begun_anew_is_not_finished_by_what_the_one_before_left(tmp_path: Path, recipe: Recipe) -> None:
    result = tmp_path / "results.json"
    result.write_text("{}")
    assert not RunFolder(tmp_path, recipe, {"data": "two"}, result=result.name).finished
    # Killed now and given again, it has to measure.
    assert not RunFolder(tmp_path, recipe, {"data": "two"}, result=result.name, resume=True).finished


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, recipe: Recipe) -> None:
    run = begun(tmp_path, recipe)
    (tmp_path / "checkpoint.pt.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"cannot write .*checkpoint.pt"):
        run.save({"step": 3, "weights": torch.zeros(100_000)})
    assert run.load() == {"step": 2}
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        run.record({"step": 4})


def test_a_checkpoint_that_is_none(tmp_path: Path, recipe: Recipe) -> None:
    begun(tmp_path, recipe)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot read"):
        open_run(tmp_path, recipe, "one", resume=True).load()


def test_tensorboard_holds_the_same_figures(tmp_path: Path, recipe: Recipe) -> None:
    pytest.importorskip("tensorboardX")
    begun(tmp_path, recipe)
    (file,) = (tmp_path / "tensorboard").iterdir()
    first, *told = events(file)
    assert first.file_version == "brain.Event:2"
    found = [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in told]
    assert found[1::2] == [(step, "reward", pytest.approx(step / 10)) for step in (1, 2, 3)]

    # Of a resumed run it shows the steps that were taken again, and not those before.
    file.rename(tmp_path / "tensorboard" / "events.out.tfevents.0")
    again = open_run(tmp_path, recipe, "one", resume=True)
    again.begin(2)
    again.close()
    (file,) = set((tmp_path / "tensorboard").iterdir()) - {tmp_path / "tensorboard" / "events.out.tfevents.0"}
    _, began = events(file)
    assert (began.step, began.session_log.status) == (3, began.session_log.START)


def events(file: Path) -> list[Any]:
    """Of a TensorBoard file: records of a length, its checksum, the event and its checksum."""
    parse = import_module("tensorboardX.proto.event_pb2").Event.FromString
    data, found = file.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        found.append(parse(data[12 : 12 + size]))
        data = data[16 + size :]
    return found


def test_a_disk_that_fills_under_tensorboard_is_told(tmp_path: Path, recipe: Recipe) -> None:
    pytest.importorskip("tensorboardX")
    run = open_run(tmp_path, recipe, "one")
    run.begin(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The event file is longer than the rows, so it meets the limit first.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write the figures"):
            for step in range(1, 100):
                run.record({"step": step} | {f"figure/{number}": 0.5 for number in range(20)})
        run.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "metrics.jsonl").stat().st_size < 4_000
    again = open_run(tmp_path, recipe, "one")
    again.begin(0)
    again.record({"step": 1})
    again.close()
