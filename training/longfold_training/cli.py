"""Command line `longfold-train`: parses arguments and shows progress. Knows no training; heavy imports follow the
parsing."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="longfold-train", description="Train longfold policies.")
    commands = top.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="train the demo policy from nothing on this machine's CPU",
        description="Train the demo policy from nothing on this machine's CPU. Ctrl-C stops after the present step and "
        "leaves a checkpoint from which --resume goes on.",
    )
    demo.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="run folder; the policy is written to DIR/policy"
    )
    demo.add_argument("--seed", type=int, default=0, help="everything random follows from it (default %(default)s)")
    demo.add_argument("--threads", type=_positive, default=2, help="cores to use (default %(default)s)")
    demo.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoints in DIR; --seed and --threads must be as the run began with",
    )
    return top


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    from longfold_training.errors import TrainingError

    try:
        return _demo(given)
    except TrainingError as error:
        sys.stderr.write(f"longfold-train: {error}\n")
        return 1
    except ModuleNotFoundError as error:
        if error.name not in ("numpy", "safetensors", "torch"):
            raise
        sys.stderr.write(f"longfold-train: {error.name} is missing; install longfold-training[torch]\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("longfold-train: interrupted\n")
        return INTERRUPTED


@contextmanager
def _interrupts() -> Iterator[Event]:
    """An event that Ctrl-C or a termination request sets; a second Ctrl-C interrupts at once."""
    asked = Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _demo(given: argparse.Namespace) -> int:
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
    from longfold_training.demo.train import Config, Run, validate

    console = Console(stderr=True)
    console.print("Preparing the text and the tokenizer (about half a minute).")
    run = Run(given.out, Config(seed=given.seed, threads=given.threads), resume=given.resume)
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    config = run.config
    with _interrupts() as asked, Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=config.steps, completed=run.step, note="")
        for row in run.train(stopped=asked.is_set):
            found = row.get("validation", {})
            note = f"loss {row['loss']:.3f}" + (f"  found {found['find']:.0%}" if "find" in found else "")
            progress.update(task, completed=row["step"], note=note)
    if run.step < config.steps:
        console.print(f"Stopped after step {run.step}; go on with --resume.")
        return INTERRUPTED
    figures = validate(run.policy, run.tokenizer, config.stages[-1][0], "train", 6, config.ordinary)
    card = model_card(config.shape, run.step, run.tokens, config.seed, figures)
    folder = export(run.policy, run.tokenizer, given.out / "policy", card)
    console.print(f"Policy written to {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
