"""One table on the terminal, one JSON file under results/: how every benchmark here reports.

Knows nothing of what was measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    what: str
    value: float
    unit: str
    bar: str = ""
    """The number it is held to, as in "<= 1.02"; "" where none is set."""

    @property
    def met(self) -> bool | None:
        if not self.bar:
            return None
        sign, bound = self.bar.split()
        return self.value <= float(bound) if sign == "<=" else self.value >= float(bound)


def machine() -> dict[str, object]:
    """Processor, cores, memory, kernel and Python of this machine."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "python": platform.python_version()}


def commit() -> str:
    """The checkout's commit, with "+" when it has changes."""
    run = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def report(name: str, rows: Sequence[Row], **details: object) -> int:
    """Print the rows, write `results/NAME.json`, and give the exit status: 1 when a bar is missed."""
    width = max(len(row.what) for row in rows)
    print(f"\n{name}")
    for row in rows:
        verdict = {None: "", True: "ok", False: "MISSED"}[row.met]
        print(f"  {row.what:<{width}}  {row.value:>12,.4g} {row.unit:<12} {row.bar:<10} {verdict}")
    RESULTS.mkdir(exist_ok=True)
    record = {
        "name": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": " ".join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "machine": machine(),
        "rows": [asdict(row) | {"met": row.met} for row in rows],
        "details": details,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    return int(any(row.met is False for row in rows))
