"""Command line `longfold-train`: parses arguments and shows progress. Knows no training; heavy imports follow the
parsing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEFAULT_STEPS = 3000
"""The shipped policy's length."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="longfold-train", description="Train longfold policies.")
    commands = top.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train the demo policy from nothing on this machine's CPU")
    demo.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="run folder; the policy is written to DIR/policy"
    )
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="optimiser steps (default %(default)s)")
    demo.add_argument(
        "--minutes-plan",
        type=float,
        metavar="M",
        help="choose the steps to fill about M minutes, measured on this machine",
    )
    demo.add_argument("--threads", type=int, default=2, help="cores to use (default %(default)s)")
    demo.add_argument("--resume", action="store_true", help="go on from DIR/checkpoint.pt")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    from longfold_training.errors import TrainingError

    try:
        return _demo(given)
    except TrainingError as error:
        print(f"longfold-train: {error}", file=sys.stderr)
        return 1


def _demo(given: argparse.Namespace) -> int:
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from longfold_training.demo.export import export, model_card
    from longfold_training.demo.train import Config, Run, measured_steps

    console = Console(stderr=True)
    console.print("Preparing the text and the tokenizer (about half a minute).")
    config = Config(steps=given.steps, seed=given.seed, threads=given.threads)
    if given.minutes_plan is not None and not given.resume:
        config = replace(config, steps=measured_steps(given.out, config, given.minutes_plan))
    run = Run(given.out, config, resume=given.resume)
    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    last: dict[str, Any] = {}
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=config.steps, completed=run.step, note="")
        for row in run.train():
            last = row
            found = row.get("validation", {})
            note = f"loss {row['loss']:.3f}" + (f"  found {found['find']:.0%}" if "find" in found else "")
            progress.update(task, completed=row["step"], note=note)
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in last.get("validation", {}).items())
    figures = f"Single steps on fresh chunks of the training grammar, whole replies:\n\n| step | exact match |\n|---|---|\n{rows}"
    card = model_card(config.shape, config.steps, run.tokens, config.seed, figures)
    folder = export(run.policy, run.tokenizer, given.out / "policy", card)
    console.print(f"Policy written to {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
