"""One HTML page about runs: what each stage did, its curves, the accuracy stage by stage. Knows files, not training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from longfold_training.charts import Points, chart
from longfold_training.errors import DataError

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #8884; --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #181818 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper) }
table { border-collapse: collapse } th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1rem }
svg { width: 100% } svg text { fill: var(--ink); font-size: 11px } svg .title { font-size: 13px; font-weight: 600 }
svg .end { text-anchor: end } svg .mid { text-anchor: middle } svg polyline { fill: none; stroke-width: 1.6 }
svg .grid { stroke: var(--faint) }
svg .span { fill: #e69f0033 }
.legend span { margin-right: 1rem; font-size: 12px } .legend i { display: inline-block; width: 10px; height: 10px;
  margin-right: 4px }
"""


def render(folders: Sequence[Path]) -> str:
    """The page about all runs in `folders` or below them, in the order in which they were begun, those of one folder
    together.

    Raises `DataError` where there is no run, or a run's files cannot be read.
    """
    runs = [run for folder in folders for run in _runs(folder)]
    if not runs:
        raise DataError(f"no run in {', '.join(map(str, folders))}: a run's folder holds a config.json")
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>longfold training</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>Training report</h1>",
        _overview(runs),
        _accuracy(runs),
        *(_stage(run) for run in runs if run.rows),
        "</html>\n",
    ]
    return "\n".join(part for part in parts if part)


class _Run:
    """What a run's folder holds."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        try:
            self.config: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self.rows: list[Mapping[str, Any]] = _lines(folder / "metrics.jsonl")
            results = folder / "results.json"
            self.results: Mapping[str, Any] = json.loads(results.read_text("utf-8")) if results.exists() else {}
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the run {folder}: {error}") from error
        self.recipe: Mapping[str, Any] = self.config.get("recipe", {})

    def line(self, key: str) -> Points:
        return [(row["step"], row[key]) for row in self.rows if row.get(key) is not None]

    def lines(self, start: str) -> dict[str, Points]:
        """The figures named `start`NAME, by NAME."""
        names = sorted({key for row in self.rows for key in row if key.startswith(start)})
        return {name.removeprefix(start): self.line(name) for name in names}


def _runs(folder: Path) -> list[_Run]:
    """The runs of a folder; the config.json of a policy has no recipe."""
    found = []
    for path in sorted(folder.rglob("config.json")):
        home = path.parent
        run = _Run(home, str(home.relative_to(folder)) if home != folder else folder.name)
        found += [run] if run.recipe else []
    return sorted(found, key=lambda run: str(run.config.get("begun", "")))


def _lines(path: Path) -> list[Mapping[str, Any]]:
    if not path.exists():
        return []
    # Labels of the data may hold other line ends of Unicode.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _overview(runs: Sequence[_Run]) -> str:
    rows = []
    for run in runs:
        last: Mapping[str, Any] = run.rows[-1] if run.rows else {}
        first: Mapping[str, Any] = run.rows[0] if run.rows else {}
        spent = sum(row.get("seconds", 0.0) for row in run.rows)
        reward = f"{first['reward']:.3f} to {last['reward']:.3f}" if "reward" in last else ""
        cells = (
            run.name,
            run.recipe.get("kind", ""),
            run.recipe.get("reading", ""),
            f"{last['step']}" if last else "",
            f"{spent / 60:.1f}" if spent else "",
            reward,
            str(run.config.get("commit", ""))[:12],
        )
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("run", "kind", "reading", "steps", "minutes", "reward", "commit"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _accuracy(runs: Sequence[_Run]) -> str:
    """Mean reward by run and task."""
    measured = [run for run in runs if "reward" in run.results]
    if not measured:
        return ""
    tasks = sorted({task for run in measured for task in run.results["by_task"]})
    head = "".join(f"<th>{escape(task)}</th>" for task in ("run", *tasks, "all", "questions"))
    rows = []
    for place, run in enumerate(measured, 1):
        own = run.results["by_task"]
        cells = [f"{own[task]['reward']:.3f}" if task in own else "" for task in tasks]
        cells += [f"{run.results['reward']:.3f}", str(run.results["questions"])]
        rows.append(
            f"<tr><td>{place} {escape(run.name)}</td>"
            + "".join(f"<td class=number>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    lines: dict[str, Points] = {
        task: [
            (place, run.results["by_task"][task]["reward"])
            for place, run in enumerate(measured, 1)
            if task in run.results["by_task"]
        ]
        for task in tasks
    }
    drawn = chart("accuracy by evaluation, as numbered", lines)
    return f"<h2>Accuracy</h2><table><tr>{head}</tr>{''.join(rows)}</table><div class=charts><div>{drawn}</div></div>"


def _stage(run: _Run) -> str:
    drawn = [
        chart("score, and reward where it is another", {"reward": run.line("reward")} | run.lines("score/")),
        chart(
            "entropy, nats (shaded: negative advantages masked)",
            {"entropy": run.line("entropy"), "low": run.line("entropy_low"), "high": run.line("entropy_high")},
            spans=_masked(run.line("masking")),
        ),
        chart("mean size of the advantage, by task", run.lines("advantage/")),
        chart("share of replies to chunks", {kind: run.line(kind) for kind in ("keep", "rewrite", "invalid")}),
        chart("completion tokens of an attempt", {"tokens": run.line("tokens")}),
        chart("groups without gradient", {"groups": run.line("groups_without_gradient")}),
        chart("norm of the gradient", {"norm": run.line("gradient_norm")}),
        chart("log-probability gap to the sampler, nats", {"gap": run.line("logprob_gap")}),
    ]
    cells = "".join(f"<div>{one}</div>" for one in drawn if one)
    return f"<h2>{escape(run.name)}</h2><div class=charts>{cells}</div>"


def _masked(line: Points) -> list[tuple[float, float]]:
    """Stretches of steps whose negative advantages were masked."""
    spans: list[tuple[float, float]] = []
    for step, on in line:
        if on and spans and spans[-1][1] == step - 1:
            spans[-1] = (spans[-1][0], step)
        elif on:
            spans.append((step, step))
    return spans
