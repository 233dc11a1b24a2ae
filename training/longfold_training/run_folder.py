"""A stage's folder: what was run, its figures step by step, the checkpoint it goes on from. Knows no stage.

config.json      the resolved recipe and what else decides the result: hashes of the inputs, versions, commit; its begin
metrics.jsonl    one row a step
tensorboard/     the same, where tensorboardX is installed
checkpoint.pt    the state after some step; a run that dies while writing leaves the one before
measured.jsonl   what a stage that changes no weights has so far; it goes when the result is there
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from longfold_training.checkpoints import read_checkpoint, write_checkpoint
from longfold_training.errors import CheckpointError, StorageError
from longfold_training.folders import whole_file
from longfold_training.recipes import Recipe

_FREE = frozenset(
    f"recipe.{key}"
    for key in (
        "tokens_at_once", "gradient_checkpointing", "device", "checkpoint_every", "url", "judge.url",
        "judge.api_key_variable",
    )
)  # fmt: skip
"""Settings that decide no result: where and how fast it is made, and how often it is kept."""
_PACKAGES = ("longfold-training", "torch", "transformers", "peft")


class RunFolder:
    """The folder of one run of one recipe.

    inputs: identities of what the recipe only names (hashes of data, tokenizer and weights, the profile's version). A
    run goes on only with the same inputs and the same recipe, but for the settings that decide no result.
    result: what is there when the run has ended, within the folder. A file that is there is removed when the run begins
    anew, so that nobody takes it for this run's; a policy is not.

    Raises `CheckpointError` when there is a checkpoint or a policy and `resume` is false, or `resume` is true and the
    recipe or the inputs differ from those that the checkpoint, the measurements or the result come from; `StorageError`
    when the folder cannot be written.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, inputs: Mapping[str, str], *, result: str, resume: bool = False
    ) -> None:
        self.folder = folder
        made = folder / result
        self.finished = resume and made.exists()
        """Whether there is nothing left to do."""
        self._tensorboard: _Events | None = None
        settings = {"recipe": recipe.model_dump(mode="json"), "inputs": dict(inputs)}
        if not resume and self._measured.exists():
            self._measured.unlink()
        self.goes_on = self._checkpoint.exists() or self._measured.exists()
        if self._checkpoint.exists() and not resume:
            raise CheckpointError(f"{folder} holds a run that was begun; go on with --resume, or choose another folder")
        if made.is_dir() and not resume:
            raise CheckpointError(f"{made} exists already; choose another folder")
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        if self.goes_on or self.finished:
            begun = self._same(settings).get("begun", begun)
            if self.finished:
                return
        elif made.is_file():
            made.unlink()
        versions = {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}
        told = settings | {"begun": begun, "versions": versions, "commit": _commit()}
        self.write("config.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def _measured(self) -> Path:
        return self.folder / "measured.jsonl"

    def write(self, name: str, text: str) -> Path:
        """Write a text file of the folder, whole or not at all. Raises `StorageError`."""
        with whole_file(self.folder / name) as part:
            part.write_text(text, encoding="utf-8")
        return self.folder / name

    def begin(self, step: int) -> None:
        """Open the metrics for the steps after `step`; rows of later steps, which will be taken again, are dropped.

        Raises `CheckpointError` for a row that cannot be read, `StorageError`.
        """
        kept = [row for row in _rows(self.folder / "metrics.jsonl", "step") if row["step"] <= step]
        self.write("metrics.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        try:
            self._tensorboard = _tensorboard(self.folder / "tensorboard", step + 1)
        except OSError as error:
            raise StorageError(f"cannot write the figures of {self.folder}: {error.strerror}") from error

    def record(self, row: Mapping[str, float]) -> None:
        """Append one step's figures; `row["step"]` numbers it. Raises `StorageError`."""
        try:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if self._tensorboard is not None:
                self._tensorboard.add(row)
        except OSError as error:
            raise StorageError(f"cannot write the figures of {self.folder}: {error.strerror}") from error

    def measured(self) -> list[dict[str, Any]]:
        """What `measure` has kept, in its order; a line that was not finished is dropped. Raises `CheckpointError` for
        a line that cannot be read, `StorageError`."""
        if not self._measured.exists():
            return []
        rows = _rows(self._measured, "id")
        self.write(self._measured.name, "".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def measure(self, values: Iterable[Mapping[str, Any]]) -> None:
        """Keep what took long to find, each with its "id", so that a run that is killed does not find it again. Raises
        `StorageError`."""
        try:
            with self._measured.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(value) + "\n" for value in values)
        except OSError as error:
            raise StorageError(f"cannot write {self._measured}: {error.strerror}") from error

    def finish(self, name: str, text: str) -> Path:
        """`write` the result, and forget what it was made from. Raises `StorageError`."""
        made = self.write(name, text)
        self._measured.unlink(missing_ok=True)
        return made

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint, whole or not at all. Raises `StorageError`; the one before is then still there."""
        write_checkpoint(self._checkpoint, state)

    def load(self) -> dict[str, Any]:
        """The checkpoint's state. Raises `CheckpointError` when it cannot be read."""
        return read_checkpoint(self._checkpoint)

    def close(self) -> None:
        if self._tensorboard is not None:
            # What could not be written was told when it was recorded.
            with suppress(OSError):
                self._tensorboard.close()

    def _same(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The config.json the run was begun with."""
        try:
            before: Mapping[str, Any] = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read {self.folder / 'config.json'}, so the run cannot go on") from error
        differing = sorted(set(_differences(before, settings)) - _FREE)
        inputs = [name.removeprefix("inputs.") for name in differing if name.startswith("inputs.")]
        own = [name for name in differing if not name.startswith("inputs.")]
        told = [f"other settings ({', '.join(own)})"] if own else []
        told += [f"other contents of its inputs ({', '.join(inputs)})"] if inputs else []
        if told:
            raise CheckpointError(
                f"{self.folder} was begun with {' and '.join(told)}; give the same ones, or choose another folder"
            )
        return before


def _rows(path: Path, key: str) -> list[dict[str, Any]]:
    """A file's lines, each an object with `key`; none where there is no file. A last one that was not finished is
    dropped. Split as bytes: labels of the data may hold other line ends of Unicode."""
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row[key]
        except (ValueError, LookupError, TypeError) as error:
            raise CheckpointError(f"{path}:{number}: cannot read the line, so the run cannot go on") from error
        rows.append(row)
    return rows


class _Events:
    """An event file of TensorBoard from step `first` on; what files before it hold of these steps is hidden.

    Written at once: tensorboardX's SummaryWriter leaves that to a thread, which a full disk ends, and then waits for
    it. Every method raises `OSError`.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self._protocol = import_module("tensorboardX.proto.event_pb2")
        self._scalar = import_module("tensorboardX.summary").scalar
        resumed = folder.exists()
        folder.mkdir(exist_ok=True)
        name = folder / f"events.out.tfevents.{int(time.time())}.{platform.node()}"
        self._file = import_module("tensorboardX.record_writer").RecordWriter(str(name))
        self._write(file_version="brain.Event:2")
        if resumed:
            began = self._protocol.SessionLog(status=self._protocol.SessionLog.START)
            self._write(step=first, session_log=began)

    def add(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            self._write(step=int(row["step"]), summary=self._scalar(name, value))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, **event: Any) -> None:
        self._file.write(self._protocol.Event(wall_time=time.time(), **event).SerializeToString())


def _tensorboard(folder: Path, first: int) -> _Events | None:
    """None where the optional tensorboardX is missing."""
    try:
        import_module("tensorboardX")
    except ModuleNotFoundError:
        return None
    return _Events(folder, first)


def _differences(before: Any, now: Mapping[str, Any], place: str = "") -> list[str]:
    """Dotted keys of `now` whose value in `before` is another."""
    found: list[str] = []
    for key, value in now.items():
        name = f"{place}.{key}" if place else key
        old = before.get(key) if isinstance(before, dict) else None
        if isinstance(value, Mapping):
            found += _differences(old, value, name)
        elif old != value:
            found.append(name)
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit of the checkout this package runs from; "" for an installed one."""
    here = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(here, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
