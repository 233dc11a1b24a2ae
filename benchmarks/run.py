"""Runs every benchmark, one process each, quick ones first. Exit status 1 when one of them missed its number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ORDER = (
    "startup",
    "chunker",
    "first_chunk",
    "takeover",
    "streams",
    "concurrent_folds",
    "million_tokens",
    "fold_overhead",
)


def main() -> int:
    here = Path(__file__).parent
    return max(subprocess.run([sys.executable, str(here / f"{name}.py")], check=False).returncode for name in ORDER)


if __name__ == "__main__":
    raise SystemExit(main())
