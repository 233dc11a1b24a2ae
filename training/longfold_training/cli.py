"""Command line `longfold-train`: parses arguments and shows progress. Knows no training; heavy imports follow the
parsing."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

CARD_BATCHES = 60
"""Batches of fresh rows behind the shares that a model card tells; about a thousand rows of two dozen kinds."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it."""
_EXTRAS = dict.fromkeys(("numpy", "safetensors", "torch", "transformers"), "torch") | {"peft": "lora"}
"""Which extra brings an optional package."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="longfold-train", description="Train longfold policies.")
    commands = top.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="train the demo policy on this machine's CPU",
        description="Train the demo policy on this machine's CPU, from nothing or with --start. Ctrl-C stops after the "
        "present step and leaves a checkpoint from which --resume goes on.",
    )
    demo.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="run folder; the policy is written to DIR/policy"
    )
    demo.add_argument(
        "--start",
        type=Path,
        metavar="POLICY",
        help="go on from this policy: teach it lists, counts, two hops and the single pass as well",
    )
    demo.add_argument("--seed", type=int, default=0, help="everything random follows from it (default %(default)s)")
    demo.add_argument(
        "--steps",
        type=_positive,
        metavar="N",
        help="length of the run, by which its schedule is stretched (default 3800; with --start 3000)",
    )
    demo.add_argument("--threads", type=_positive, default=2, help="cores to use (default %(default)s)")
    demo.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoints in DIR; all other options must be as the run began with",
    )
    _stage_commands(commands)
    return top


def _stage_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    stage = commands.add_parser(
        "run",
        help="run one stage by its recipe",
        description="Run one stage by its recipe. Values set here win over the recipe's, and those over the defaults. "
        "Ctrl-C stops training after the present step and leaves a checkpoint from which --resume goes on.",
    )
    stage.add_argument("recipe", help="a TOML file, or the name of a shipped recipe, such as demo/memory")
    stage.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="a value of the recipe, such as optimiser.learning_rate=1e-4; may be given several times",
    )
    stage.add_argument("--out", type=Path, metavar="DIR", help="run folder (needed unless --dry-run)")
    stage.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in DIR, where there is one; what is finished stays",
    )
    stage.add_argument("--threads", type=_positive, default=None, help="cores to use (default: torch's choice)")
    stage.add_argument(
        "--dry-run", action="store_true", help="check the recipe, print it with all its defaults, run nothing"
    )
    commands.add_parser("recipes", help="list the shipped recipes")
    report = commands.add_parser("report", help="write one HTML page about runs: rewards, entropy, accuracy by stage")
    report.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="run folders, or folders that hold some")
    report.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    from longfold_agent.errors import AgentError
    from longfold_training.errors import TrainingError

    try:
        return {"demo": _demo, "run": _run, "recipes": _recipes, "report": _report}[given.command](given)
    except (TrainingError, AgentError) as error:
        sys.stderr.write(f"longfold-train: {error}\n")
        return 1
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        sys.stderr.write(f"longfold-train: {error.name} is missing; install longfold-training[{extra}]\n")
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


def _progress(console: Console) -> Progress:
    """A bar with elapsed and estimated time and a note."""
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=console,
        # A step may take minutes, so the estimate looks far back.
        speed_estimate_period=3600,
    )


def _demo(given: argparse.Namespace) -> int:
    from rich.console import Console

    from longfold_training.demo.export import export, model_card
    from longfold_training.demo.train import Config, Run, validate

    console = Console(stderr=True)
    console.print("Preparing the text and the tokenizer (about half a minute).")
    make = Config if given.start is None else partial(Config.further, given.start)
    length = {} if given.steps is None else {"steps": given.steps}
    config = make(seed=given.seed, threads=given.threads, **length)
    run = Run(given.out, config, resume=given.resume, start=given.start)
    with _interrupts() as asked, _progress(console) as progress:
        task = progress.add_task("training", total=config.steps, completed=run.step, note="")
        for row in run.train(stopped=asked.is_set):
            found = row.get("validation", {})
            note = f"loss {row['loss']:.3f}" + (f"  found {found['find']:.0%}" if "find" in found else "")
            progress.update(task, completed=row["step"], note=note)
    if run.step < config.steps:
        console.print(f"Stopped after step {run.step}; go on with --resume.")
        return INTERRUPTED
    mix = (config.ordinary, config.families, config.direct)
    figures = validate(run.policy, run.tokenizer, config.stages[-1][0], "train", CARD_BATCHES, *mix)
    card = model_card(config.shape, run.step, run.tokens, config.seed, figures, further=bool(config.start))
    folder = export(run.policy, run.tokenizer, given.out / "policy", card, direct=config.direct_tokens)
    console.print(f"Policy written to {folder}")
    return 0


def _run(given: argparse.Namespace) -> int:
    from longfold_training.recipes import load
    from longfold_training.stages import missing

    recipe = load(given.recipe, given.settings)
    if given.dry_run:
        sys.stdout.write(recipe.model_dump_json(indent=2) + "\n")
        for path in missing(recipe):
            sys.stderr.write(f"longfold-train: not there yet: {path}\n")
        return 0
    if given.out is None:
        sys.stderr.write("longfold-train: --out is needed to run a stage\n")
        return 2
    from rich.console import Console

    from longfold_training.stages import run

    if given.threads is not None:
        import torch

        torch.set_num_threads(given.threads)
    console = Console(stderr=True)
    # Only training has a checkpoint to stop at; the other kinds are interrupted at once.
    interrupts = _interrupts() if recipe.kind == "reinforce" else nullcontext(Event())
    last = ""

    def watch(done: int, total: int, note: str) -> None:
        nonlocal last
        last = note
        progress.update(task, completed=done, total=total, note=note)

    with interrupts as asked, _progress(console) as progress:
        task = progress.add_task(recipe.kind, total=None, note="")
        made = run(
            recipe,
            given.out,
            resume=given.resume,
            watch=watch,
            stopped=asked.is_set,
        )
    if made is None:
        console.print("Stopped; go on with --resume.")
        return INTERRUPTED
    # In the bar a narrow terminal cuts the note.
    console.print(f"Written: {made}" + (f" ({last})" if last else ""))
    return 0


def _recipes(given: argparse.Namespace) -> int:
    from longfold_training.recipes import shipped

    sys.stdout.write("".join(f"{name}\n" for name in shipped()))
    return 0


def _report(given: argparse.Namespace) -> int:
    from longfold_training.folders import whole_file
    from longfold_training.report import render

    page = render(given.folders)
    with whole_file(given.out) as part:
        part.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
