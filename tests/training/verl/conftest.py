"""verl in a virtual environment of its own: it cannot live beside the engine that the other tests use."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "training" / "requirements-verl.txt"


@pytest.fixture(scope="session")
def verl_python() -> Path:
    """The interpreter of an environment with verl: that of LONGFOLD_VERL_VENV, else .venv-verl, made when it is not
    there (about 2 GB). Skips where its packages cannot be had."""
    named = os.environ.get("LONGFOLD_VERL_VENV")
    folder = Path(named) if named else ROOT / ".venv-verl"
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if named or (stamp.is_file() and stamp.read_text() == wanted):
        return python
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        pytest.skip("the environment of verl is made with uv, which is not on PATH")
    found = os.environ.get("PIP_FIND_LINKS")
    links = ["--find-links", found] if found else []
    install = [uv, "pip", "install", "--quiet", "--python", str(python), *links]
    torch = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("torch=="))
    steps = (
        [[uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]],
        # The CPU build: from the indexes set up here, else from PyTorch's own, which uv knows by name.
        [[*install, f"{torch}+cpu"], [*install, "--torch-backend", "cpu", torch]],
        [[*install, "-r", str(REQUIREMENTS)]],
    )
    for ways in steps:
        done = [subprocess.run(way, capture_output=True, text=True) for way in ways[:1]]
        done += [subprocess.run(way, capture_output=True, text=True) for way in ways[1:] if done[0].returncode]
        if done[-1].returncode:
            last = done[-1].stderr.strip().splitlines()[-1:]
            pytest.skip(f"the packages of training/requirements-verl.txt cannot be had here: {' '.join(last)}")
    stamp.write_text(wanted)
    return python
