"""What reinforcement learning is worth to the demo policy: memory RL beside as much imitation, and the paper's ablation
in miniature (GRPO, + task-balanced sampling, + task advantage, + AEPO), over some seeds.

    python benchmarks/reinforcement.py --warm server/longfold_server/policy --out runs/reinforcement

For every seed: documents to train on, of them what the warm start answers sometimes, the full recipe from there, and
the warm start's own training for the processor time of selection and full recipe; then, unless `--without-ablation`,
the three lesser variants under the same budget. All are measured on the same documents of other names, values and
sentences. Who is interrupted gives the same command again. Once one process has measured the warm start (`--seeds`
without a seed), seeds can go to several processes with the same `--out`; the command with all seeds then finds all made
and prints the tables. `--out`/report.html has the curves.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import get_args

import torch
from report import Row, report

from longfold_training.demo.documents import FAMILIES, SEVERAL
from longfold_training.demo.export import load_policy
from longfold_training.demo.material import Templates
from longfold_training.demo.train import Config, Run
from longfold_training.engines.local.policy import write_policy
from longfold_training.folders import whole_file
from longfold_training.policy_folder import weights_hash
from longfold_training.problems import load as read_problems
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

    families: tuple[str, ...] = SEVERAL + FAMILIES
    """Those that the warm start was trained on."""
    documents: int = 48
    """With a question of each family; as many again have one of the first family alone, so that tasks are uneven."""
    chunks: tuple[int, int] = (2, 4)
    templates: str = "grammar"
    """Sentences of the documents that are trained on. Imitation has the grammar's: with others, RL is given texts that
    no teacher can read."""
    test_documents: int = 50
    """With two questions of each family."""
    test_chunks: int = 4
    test_templates: str = "everyday"
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


def asked(*families: str) -> str:
    return f"families={json.dumps(families)}"


def problems(warm: Path, out: Path, seed: int, sizes: Sizes) -> Path:
    """Problems of all families to train on, of one more than of the others."""
    own = (
        f"start={warm}",
        f"documents={sizes.documents}",
        f"chunks=[{sizes.chunks[0]}, {sizes.chunks[1]}]",
        f"templates={sizes.templates}",
    )
    parts = [
        stage("demo/problems", out / "all", *own, asked(*sizes.families), f"seed={2 * seed}"),
        stage("demo/problems", out / "more", *own, asked(sizes.families[0]), f"seed={2 * seed + 1}"),
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


def accuracy(policy: Path, test: Path, out: Path, seed: int, *settings: str) -> Accuracy:
    results = stage("demo/evaluate", out, f"start={policy}", f"data={test}", f"seed={seed}", *settings)
    by_task = json.loads(results.read_text(encoding="utf-8"))["by_task"]
    return {family: found["reward"] for family, found in by_task.items()}


def figures(folder: Path, key: str) -> list[float]:
    """A figure of every step of a training."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[key] for line in lines]


def imitation(warm: Path, out: Path, seed: int, seconds: float, rate: float, several: float) -> Path:
    """The warm start's own training, from its weights, for about `seconds` of processor time; the policy's folder, in
    float32. `out`/cost.json tells how many steps that was, and what they cost. several: the share of chunks with
    questions over several facts."""
    policy, cost = out / "policy", out / "cost.json"
    if policy.exists():
        return policy
    if not cost.exists():
        trial = _imitation(warm, out / "trial", seed, TRIAL, rate, several, resume=False)
        began = time.process_time()
        for _ in range(TRIAL):
            trial.train_step()
        each = (time.process_time() - began) / TRIAL
        _note(cost, {"wanted": seconds, "steps": max(1, round(seconds / each)), "spent": 0.0})
    told = json.loads(cost.read_text(encoding="utf-8"))
    training = _imitation(warm, out / "run", seed, told["steps"], rate, several, resume=True)
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


def _imitation(warm: Path, out: Path, seed: int, steps: int, rate: float, several: float, *, resume: bool) -> Run:
    """The warm start's training, begun anew from its weights or resumed."""
    # Without the labels: a probe that knows nothing yet would pull at weights that know much.
    config = Config(
        steps,
        seed,
        load_policy(warm).shape,
        start=weights_hash(warm),
        peak=rate,
        decay=1.0,
        stages=((256, 0.0),),
        families=several,
        labels=0.0,
        threads=1,
    )
    return Run(out, config, resume=resume, start=warm)


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
        if name not in found:
            continue
        over = [mean(one, families) for one in found[name]]
        spread = f" ± {100 * stdev(over):.1f}" if len(over) > 1 else ""
        own = [f"{100 * fmean(one[family] for one in found[name]):.1f}" for family in every]
        lines.append([told, *own, f"{100 * fmean(over):.1f}{spread}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def trained(warm: Path, here: Path, name: str, seed: int, sizes: Sizes) -> Path:
    """The policy of a variant, or of the control, whose budget is what the full recipe spent; that must be there."""
    data, spent = selection(warm, here / "select", problems(warm, here / "problems", seed, sizes), seed, sizes)
    if name == CONTROL:
        spent += sum(figures(here / FULL, "seconds_processor"))
        several = sum(family in SEVERAL for family in sizes.families) / len(sizes.families)
        return imitation(warm, here / CONTROL, seed, spent, sizes.imitation_rate, several)
    own = (f"start={warm}", f"data={data}", f"seed={seed}", *sizes.settings, *VARIANTS[name])
    return stage("demo/memory", here / name, *own)


def measure(warm: Path, out: Path, seeds: Sequence[int], sizes: Sizes, *, ablation: bool) -> int:
    # One core each, so that processor time is work and not waiting; denormals as the warm start's training has them.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    test = stage(
        "demo/problems-test",
        out / "problems-test",
        f"start={warm}",
        f"documents={sizes.test_documents}",
        f"chunks=[{sizes.test_chunks}, {sizes.test_chunks}]",
        f"templates={sizes.test_templates}",
        asked(*sizes.families),
    )
    start = accuracy(warm, test, out / "evaluate" / START, 0)
    families = open_families(start)
    print(f"warm start: {start}")
    if not families:
        print("no family starts between 20 % and 80 %")
        return 1
    if not seeds:
        return 0
    found: dict[str, list[Accuracy]] = {START: [start]}
    # What the claim rests on first, for every seed.
    for name in (FULL, CONTROL, *(VARIANTS if ablation else ())):
        if name not in found:
            found[name] = [
                accuracy(
                    trained(warm, out / f"seed-{seed}", name, seed, sizes),
                    test,
                    out / f"seed-{seed}" / "evaluate" / name,
                    seed,
                )
                for seed in seeds
            ]
    return conclude(out, seeds, sizes, families, found)


def conclude(
    out: Path, seeds: Sequence[int], sizes: Sizes, families: Sequence[str], found: Mapping[str, Sequence[Accuracy]]
) -> int:
    """Print and keep what was found; 1 where memory RL is not 5 points above the control."""
    with whole_file(out / "report.html") as part:
        part.write_text(render([out]), encoding="utf-8")
    print(f"\n{table(found, families)}")
    gains = [
        100 * (mean(ours, families) - mean(theirs, families))
        for ours, theirs in zip(found[FULL], found[CONTROL], strict=True)
    ]
    rows = [
        Row(f"{told}, mean of the open families", 100 * fmean(mean(one, families) for one in found[name]), "%")
        for name, told in NAMES.items()
        if name in found
    ]
    rows.append(Row(f"memory RL above imitation for as long, {len(seeds)} seeds", fmean(gains), "points", ">= 5"))
    folders = [out / f"seed-{seed}" for seed in seeds]
    return report(
        "reinforcement",
        rows,
        seeds=list(seeds),
        sizes=asdict(sizes),
        open_families=list(families),
        accuracy=found,
        gains=gains,
        problems=[
            Counter(problem.task for problem in read_problems(folder / "select" / "problems.jsonl"))
            for folder in folders
        ],
        imitation=[json.loads((folder / CONTROL / "cost.json").read_text(encoding="utf-8")) for folder in folders],
        entropy={name: [figures(folder / name, "entropy") for folder in folders] for name in VARIANTS if name in found},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=Path, required=True, help="the demo policy that all begin with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--without-ablation", action="store_true", help="memory RL and the control alone")
    parser.add_argument("--families", nargs="+", choices=FAMILIES + SEVERAL, default=Sizes.families)
    parser.add_argument("--documents", type=int, default=Sizes.documents)
    parser.add_argument("--chunks", type=int, nargs=2, default=Sizes.chunks, metavar=("FEWEST", "MOST"))
    parser.add_argument("--templates", choices=get_args(Templates), default=Sizes.templates)
    parser.add_argument("--test-documents", type=int, default=Sizes.test_documents)
    parser.add_argument("--test-chunks", type=int, default=Sizes.test_chunks)
    parser.add_argument("--test-templates", choices=get_args(Templates), default=Sizes.test_templates)
    parser.add_argument("--imitation-rate", type=float, default=Sizes.imitation_rate)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every variant's recipe")
    told = parser.parse_args(arguments)
    sizes = Sizes(
        tuple(told.families),
        told.documents,
        tuple(told.chunks),
        told.templates,
        told.test_documents,
        told.test_chunks,
        told.test_templates,
        tuple(told.set),
        told.imitation_rate,
    )
    return measure(told.warm, told.out, told.seeds, sizes, ablation=not told.without_ablation)


if __name__ == "__main__":
    raise SystemExit(main())
