"""The pattern of the paper's Table 10 on a run of training/runs/demo.sh: what memory RL takes from full-context
reading, and what the merge and the last full-context stage give back.

    python benchmarks/merge.py --run runs/demo
    python benchmarks/merge.py --run runs/demo --warm server/longfold_server/policy   # as WARM was for the run

Five policies of the run read the same two sets of documents of other names, values and sentences: short ones as a
whole, and long ones chunk by chunk. Who is interrupted gives the same command again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from reinforcement import accuracy, asked, stage
from report import Row, report

from longfold_agent.profiles.demo import direct_tokens
from longfold_training.demo.documents import FAMILIES, SEVERAL

POLICIES = {
    "warm": "warm start",
    "full-context-3": "full-context RL 1 to 3",
    "memory": "+ memory RL: the expert",
    "merge": "SCE merge of both",
    "full-context-4": "+ full-context RL 4",
}
"""Stages of the run, in its order."""
FULL, MEMORY = "full context", "memory"

Found = Mapping[str, Mapping[str, float]]
"""Exact match, mean of the families, by stage and by reading."""


def sets(
    run: Path, warm: Path, documents: int, chunks: int, families: Sequence[str]
) -> dict[str, tuple[Path, list[str]]]:
    """By reading: the problems, and how the evaluation reads them."""
    longest = direct_tokens(warm)
    own = (f"start={warm}", f"documents={documents}", asked(*families))
    room = 16  # a service cuts by rules of its own
    short = stage(
        "demo/problems-test",
        run / "pattern" / "short",
        *own,
        "chunks=[1, 1]",
        f"chunk_tokens={(longest or 256) - room}",
        "families_at_once=1",  # so short a text has no room for all
    )
    long = stage("demo/problems-test", run / "pattern" / "long", *own, f"chunks=[{chunks}, {chunks}]")
    # Weights that know no single pass take the whole text as one chunk.
    whole = [f"limits.input_tokens={longest or 256}", *(["reading=direct"] if longest else [])]
    return {FULL: (short, whole), MEMORY: (long, [])}


def table(found: Found) -> str:
    """Percent right by policy and reading, in Markdown."""
    lines = [["percent right", FULL, MEMORY, "mean"], ["---", "---:", "---:", "---:"]]
    for name, told in POLICIES.items():
        own = [100 * found[name][reading] for reading in (FULL, MEMORY)]
        lines.append([told, *(f"{share:.1f}" for share in (*own, fmean(own)))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pattern(found: Found) -> list[Row]:
    """What was lost, and what the merge has of it."""

    def points(name: str, other: str, reading: str) -> float:
        return 100 * (found[name][reading] - found[other][reading])

    return [
        Row("full context, memory RL above what it began with", points("memory", "full-context-3", FULL), "points"),
        Row("memory, memory RL above what it began with", points("memory", "full-context-3", MEMORY), "points"),
        Row("full context, merge above full-context RL", points("merge", "full-context-3", FULL), "points", ">= -1"),
        Row("memory, merge above the expert", points("merge", "memory", MEMORY), "points", ">= -1"),
        Row("full context, last stage above the merge", points("full-context-4", "merge", FULL), "points"),
        Row("memory, last stage above the merge", points("full-context-4", "merge", MEMORY), "points"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="what RUN was for demo.sh")
    parser.add_argument("--warm", type=Path, help="default: RUN/warm/policy")
    parser.add_argument("--families", nargs="+", choices=FAMILIES + SEVERAL, default=FAMILIES)
    parser.add_argument("--documents", type=int, default=100, help="of the long set, and of the short one a family")
    parser.add_argument("--chunks", type=int, default=8, help="of a long document")
    told = parser.parse_args(arguments)
    folders = {name: told.run / name / "policy" for name in POLICIES}
    if told.warm is not None:
        folders["warm"] = told.warm
    of = sets(told.run, folders["warm"], told.documents, told.chunks, told.families)
    by_family = {
        name: {
            reading: accuracy(folder, problems, told.run / "pattern" / reading.replace(" ", "-") / name, 0, *how)
            for reading, (problems, how) in of.items()
        }
        for name, folder in folders.items()
    }
    found = {
        name: {reading: fmean(own.values()) for reading, own in readings.items()}
        for name, readings in by_family.items()
    }
    print(f"\n{table(found)}")
    return report("merge", pattern(found), documents=told.documents, chunks=told.chunks, accuracy=by_family)


if __name__ == "__main__":
    raise SystemExit(main())
