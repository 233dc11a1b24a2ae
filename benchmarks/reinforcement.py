"""What reinforcement learning is worth to the demo policy: memory RL beside as much imitation, and the paper's ablation
in miniature (GRPO, + task-balanced sampling, + task advantage, + AEPO), over some seeds.

    python benchmarks/reinforcement.py --warm server/longfold_server/policy --out runs/reinforcement

For every seed: documents to train on, of them what the warm start answers sometimes, the four variants from there under
one budget, and the warm start's own training for the processor time of selection and full recipe. All are measured on
the same documents of other names, values and sentences. Who is interrupted gives the same command again.
`--out`/report.html has the curves.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from report import Row, report

from longfold_training.demo.export import load_policy
from longfold_training.demo.tokenizer import load_tokenizer
from longfold_training.demo.train import Config, Run
from longfold_training.engines.local.policy import write_policy
from longfold_training.folders import whole_file
from longfold_training.recipes import load
from longfold_training.report import render
from longfold_training.stages import run

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "grpo": ("balanced=false", "advantage=group", "aepo.enabled=false"),
    "balanced": ("advantage=group", "aepo.enabled=false"),
    "task": ("aepo.enabled=false",),
    "aepo": (),
}
"""What of the full recipe each variant leaves out."""
FULL, CONTROL, START = "aepo", "imitation", "warm"
NAMES = {
    START: "warm start",
    CONTROL: "imitation for as long",
    "grpo": "GRPO",
    "balanced": "+ task-balanced sampling",
    "task": "+ task advantage (Eq. 7)",
    "aepo": "+ AEPO: memory RL",
}
TRIAL = 20
"""Steps of imitation from which its cost is estimated."""

Accuracy = Mapping[str, float]
"""Exact match by family."""


@dataclass(frozen=True)
class Sizes:
    """The budget."""

    documents: int = 80
    """With a question of each family; three times as many have one of "single" alone, so that tasks are uneven."""
    chunks: tuple[int, int] = (2, 6)
    test_documents: int = 100
    """With two questions of each family."""
    test_chunks: int = 8
    settings: tuple[str, ...] = ()
    """Of every variant, over the recipe demo/memory."""
    imitation_rate: float = 3e-4
    """Falls to zero over the run; a tenth of the warm start's own."""


def stage(recipe: str, out: Path, *settings: str) -> Path:
    """What a stage made, now or before."""
    started = time.monotonic()

    def watch(done: int, total: int, note: str) -> None:
        print(f"\r{out}: {done}/{total} {note}, {time.monotonic() - started:.0f} s ", end="", flush=True)

    made = run(load(recipe, settings), out, resume=True, watch=watch)
    assert made is not None
    print(f"\r{made}")
    return made


def problems(warm: Path, out: Path, seed: int, sizes: Sizes) -> Path:
    """Problems to train on, two thirds of them of one family."""
    chunks = f"chunks=[{sizes.chunks[0]}, {sizes.chunks[1]}]"
    parts = [
        stage("demo/problems", out / name, f"start={warm}", chunks, f"documents={documents}", f"seed={own}", *more)
        for name, documents, own, more in (
            ("all", sizes.documents, 2 * seed, ()),
            ("single", 3 * sizes.documents, 2 * seed + 1, ('families=["single"]',)),
        )
    ]
    with whole_file(out / "problems.jsonl") as part:
        part.write_text("".join(made.read_text(encoding="utf-8") for made in parts), encoding="utf-8")
    return out / "problems.jsonl"


def selection(warm: Path, out: Path, data: Path, seed: int, sizes: Sizes) -> tuple[Path, float]:
    """Of the problems those that the warm start answers sometimes: the others teach nothing. And the processor time."""
    own = [setting for setting in sizes.settings if setting.startswith("rollouts.")]
    began, cost = time.process_time(), out / "cost.json"
    made = stage(
        "demo/select", out, f"start={warm}", f"data={data}", f"seed={seed}", "limits.input_tokens=131_072", *own
    )
    if not cost.exists():
        _note(cost, {"spent": time.process_time() - began})
    return made, json.loads(cost.read_text(encoding="utf-8"))["spent"]


def accuracy(policy: Path, test: Path, out: Path, seed: int) -> Accuracy:
    results = stage("demo/evaluate", out, f"start={policy}", f"data={test}", f"seed={seed}")
    by_task = json.loads(results.read_text(encoding="utf-8"))["by_task"]
    return {family: found["reward"] for family, found in by_task.items()}


def figures(folder: Path, key: str) -> list[float]:
    """A figure of every step of a training."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[key] for line in lines]


def imitation(warm: Path, out: Path, seed: int, seconds: float, rate: float) -> Path:
    """The warm start's own training, from its weights, for about `seconds` of processor time; the policy's folder, in
    float32. `out`/cost.json tells how many steps that was, and what they cost."""
    policy, cost = out / "policy", out / "cost.json"
    if policy.exists():
        return policy
    if not cost.exists():
        trial = _imitation(warm, out / "trial", seed, TRIAL, rate, resume=False)
        began = time.process_time()
        for _ in range(TRIAL):
            trial.train_step()
        each = (time.process_time() - began) / TRIAL
        _note(cost, {"wanted": seconds, "steps": max(1, round(seconds / each)), "spent": 0.0})
    told = json.loads(cost.read_text(encoding="utf-8"))
    training = _imitation(warm, out / "run", seed, told["steps"], rate, resume=True)
    while training.step < told["steps"]:
        began = time.process_time()
        loss = training.train_step()
        told["spent"] += time.process_time() - began
        if training.step % 25 == 0 or training.step == told["steps"]:
            training.save()
            _note(cost, told)
        print(f"\r{out}: {training.step}/{told['steps']} loss {loss:.3f} ", end="", flush=True)
    weights = {f"model.{name}": weight for name, weight in training.policy.state_dict().items()}
    return write_policy(policy, weights, like=warm, dtype=torch.float32)


def _imitation(warm: Path, out: Path, seed: int, steps: int, rate: float, *, resume: bool) -> Run:
    """The warm start's training, begun anew from its weights or resumed."""
    start = load_policy(warm)
    # Without the labels: a probe that knows nothing yet would pull at weights that know much.
    config = Config(steps, seed, start.shape, peak=rate, decay=1.0, stages=((256, 0.0),), labels=0.0, threads=1)
    training = Run(out, config, resume=resume, tokenizer=load_tokenizer(warm / "tokenizer.json"))
    if training.step == 0:
        training.policy.load_state_dict(start.state_dict())
    return training


def _note(path: Path, values: Mapping[str, float]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(values) + "\n", encoding="utf-8")


def open_families(start: Accuracy) -> list[str]:
    """Families that can show a difference: neither hopeless nor nearly always right at the start."""
    return [family for family, right in start.items() if 0.2 <= right <= 0.8]


def mean(found: Accuracy, families: Sequence[str]) -> float:
    return fmean(found[family] for family in families)


def table(found: Mapping[str, Sequence[Accuracy]], families: Sequence[str]) -> str:
    """Percent by policy and family, and of the open families' mean over the seeds its spread, in Markdown."""
    every = list(found[START][0])
    lines = [["percent right", *every, f"mean of {', '.join(families)}"], ["---", *["---:"] * (len(every) + 1)]]
    for name, told in NAMES.items():
        over = [mean(one, families) for one in found[name]]
        spread = f" ± {100 * stdev(over):.1f}" if len(over) > 1 else ""
        own = [f"{100 * fmean(one[family] for one in found[name]):.1f}" for family in every]
        lines.append([told, *own, f"{100 * fmean(over):.1f}{spread}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure(warm: Path, out: Path, seeds: Sequence[int], sizes: Sizes) -> int:
    # One core each, so that processor time is work and not waiting; denormals as the warm start's training has them.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    test = stage(
        "demo/problems-test",
        out / "problems-test",
        f"start={warm}",
        f"documents={sizes.test_documents}",
        f"chunks=[{sizes.test_chunks}, {sizes.test_chunks}]",
    )
    start = accuracy(warm, test, out / "evaluate" / START, 0)
    families = open_families(start)
    if not families:
        print(f"no family starts between 20 % and 80 %: {start}")
        return 1
    found: dict[str, list[Accuracy]] = {name: [] for name in NAMES} | {START: [start]}
    entropies: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
    costs = []
    for seed in seeds:
        here = out / f"seed-{seed}"
        data, spent = selection(warm, here / "select", problems(warm, here / "problems", seed, sizes), seed, sizes)
        made = {}
        for name, settings in VARIANTS.items():
            own = (f"start={warm}", f"data={data}", f"seed={seed}", *sizes.settings, *settings)
            made[name] = stage("demo/memory", here / name, *own)
            entropies[name].append(figures(here / name, "entropy"))
        spent += sum(figures(here / FULL, "seconds_processor"))
        made[CONTROL] = imitation(warm, here / CONTROL, seed, spent, sizes.imitation_rate)
        costs.append(json.loads((here / CONTROL / "cost.json").read_text(encoding="utf-8")))
        for name, policy in made.items():
            found[name].append(accuracy(policy, test, here / "evaluate" / name, seed))
    with whole_file(out / "report.html") as part:
        part.write_text(render([out]), encoding="utf-8")
    print(f"\n{table(found, families)}")
    gains = [
        100 * (mean(ours, families) - mean(theirs, families))
        for ours, theirs in zip(found[FULL], found[CONTROL], strict=True)
    ]
    rows = [
        Row(f"{NAMES[name]}, mean of the open families", 100 * fmean(mean(one, families) for one in found[name]), "%")
        for name in NAMES
    ]
    rows.append(Row(f"memory RL above imitation for as long, {len(seeds)} seeds", fmean(gains), "points", ">= 5"))
    return report(
        "reinforcement",
        rows,
        seeds=list(seeds),
        sizes=asdict(sizes),
        open_families=families,
        accuracy=found,
        gains=gains,
        imitation=costs,
        entropy=entropies,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=Path, required=True, help="the demo policy that all begin with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--documents", type=int, default=Sizes.documents)
    parser.add_argument("--chunks", type=int, nargs=2, default=Sizes.chunks, metavar=("FEWEST", "MOST"))
    parser.add_argument("--test-documents", type=int, default=Sizes.test_documents)
    parser.add_argument("--test-chunks", type=int, default=Sizes.test_chunks)
    parser.add_argument("--imitation-rate", type=float, default=Sizes.imitation_rate)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every variant's recipe")
    told = parser.parse_args(arguments)
    sizes = Sizes(
        told.documents, tuple(told.chunks), told.test_documents, told.test_chunks, tuple(told.set), told.imitation_rate
    )
    return measure(told.warm, told.out, told.seeds, sizes)


if __name__ == "__main__":
    raise SystemExit(main())
