"""Files and folders appear whole or not at all, whatever goes wrong while they are written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from longfold_training.errors import StorageError
from longfold_training.folders import whole_file, whole_folder


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole_file(tmp_path / "deep" / "a.txt") as part:
            part.write_text(text)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with whole_folder(tmp_path / "a") as part:
            (part / name).write_text(name)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]


def test_what_broke_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a") as part:
        part.write_text("half")
        1 / 0  # noqa: B018
    (tmp_path / "b").mkdir()
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "b") as part:
        (part / "half").write_text("half")
        1 / 0  # noqa: B018
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "old" and not list((tmp_path / "b").iterdir())


def test_a_full_disk_is_told_and_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    # Whatever is written to this device meets a full disk.
    (tmp_path / "a.part").symlink_to("/dev/full")
    with (
        pytest.raises(StorageError, match=r"cannot write .*a: No space left on device"),
        whole_file(tmp_path / "a") as part,
    ):
        part.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StorageError, match="cannot write"), whole_file(tmp_path / "x" / "a") as part:
        part.write_text("new")
    with pytest.raises(StorageError, match="cannot write"), whole_folder(tmp_path / "x" / "b") as part:
        (part / "c").write_text("")


KILLED = """
import os, signal, sys
from pathlib import Path
from longfold_training.folders import whole_file, whole_folder

with whole_folder(Path(sys.argv[1]) / "a") as part, whole_file(Path(sys.argv[1]) / "b") as file:
    for path in (part / "weights", file):
        path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_is_killed_in_the_middle_leaves_the_old_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "a" / "weights", tmp_path / "b"):
        path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.part" / "weights").read_text() == (tmp_path / "b.part").read_text() == "half"
    assert (tmp_path / "a" / "weights").read_text() == (tmp_path / "b").read_text() == "old"
    # The rest does not hinder who writes again.
    with whole_folder(tmp_path / "a"), whole_file(tmp_path / "b") as file:
        file.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"] and not list((tmp_path / "a").iterdir())
