"""Import time of the SDK and `longfold --help`, each in a fresh process. Knows nothing of the service."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import Row, report


def median_seconds(command: list[str], runs: int = 9) -> float:
    """Median wall time of a command, in seconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> int:
    bare = median_seconds([sys.executable, "-c", "pass"])
    sdk = median_seconds([sys.executable, "-c", "import longfold_client"])
    cli = median_seconds([str(Path(sys.executable).parent / "longfold"), "--help"])
    return report(
        "startup",
        [
            Row("import longfold_client", sdk, "s", "<= 0.4"),
            Row("longfold --help", cli, "s", "<= 0.4"),
            Row("python -c pass, for comparison", bare, "s"),
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())
