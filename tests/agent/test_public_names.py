"""The package's public names exist, are sorted, and cost no heavy import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import longfold_agent


def test_every_public_name_exists() -> None:
    assert longfold_agent.__all__ == sorted(longfold_agent.__all__)
    for name in longfold_agent.__all__:
        assert getattr(longfold_agent, name).__name__ if name != "Reply" else longfold_agent.Reply


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = (
        "import sys, longfold_agent; print(sorted({'httpx', 'tiktoken', 'tokenizers', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.strip() == "[]"


def test_the_package_is_typed() -> None:
    assert (Path(longfold_agent.__file__).parent / "py.typed").exists()
