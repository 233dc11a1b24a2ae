"""Runs one stage: `python -m longfold_training.engines.verl STAGE [KEY=VALUE ...]`, the keys being verl's and ours.

Becomes verl's own command with our configuration folder; on a cluster it runs where Ray's job runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path(__file__).parent / "config"
COMMON = "longfold"


def stages() -> tuple[str, ...]:
    """The stages that have a file."""
    return tuple(sorted(path.stem for path in CONFIG.glob("*.yaml") if path.stem != COMMON))


def command(stage: str, settings: Sequence[str]) -> list[str]:
    """The arguments of the interpreter."""
    return ["-m", "verl.trainer.main_ppo", "--config-dir", str(CONFIG), "--config-name", stage, *settings]


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in stages():
        sys.stderr.write(
            f"usage: python -m longfold_training.engines.verl STAGE [KEY=VALUE ...]\nstages: {', '.join(stages())}\n"
        )
        return 2
    stage, *settings = arguments
    os.execv(sys.executable, [sys.executable, *command(stage, settings)])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
