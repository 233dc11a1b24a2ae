"""`benchmarks/reinforcement.py` at its smallest: every run is made, compared and found again; the table is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import reinforcement
import report

from longfold_training.recipes import Reinforce, load
from longfold_training.stages import run

RECIPES = ("problems-test", "seed-3/problems/all")
POLICY = Path(__file__).parents[2] / "server" / "longfold_server" / "policy"


def test_the_table_is_of_the_families_that_can_show_a_difference() -> None:
    found: dict[str, list[reinforcement.Accuracy]] = {
        name: [{"single": 0.5, "update": 0.9, "choice": 0.3}] * 2 for name in reinforcement.NAMES
    }
    found["aepo"] = [{"single": 0.6, "update": 0.9, "choice": 0.4}, {"single": 0.8, "update": 0.8, "choice": 0.4}]
    families = reinforcement.open_families(found["warm"][0])
    assert families == ["single", "choice"]
    head, _, start, *_, last = reinforcement.table(found, families).splitlines()
    assert head == "| percent right | single | update | choice | mean of single, choice |"
    assert start == "| warm start | 50.0 | 90.0 | 30.0 | 40.0 ± 0.0 |"
    # Over the seeds: 50 and 60, whose deviation is 10 / sqrt(2).
    assert last == "| + AEPO: memory RL | 70.0 | 85.0 | 40.0 | 55.0 ± 7.1 |"
    # Without the ablation its lines are not there.
    less = {name: found[name] for name in (reinforcement.START, reinforcement.FULL, reinforcement.CONTROL)}
    assert len(reinforcement.table(less, families).splitlines()) == 5


def test_each_variant_adds_one_thing_to_the_one_before() -> None:
    recipes = [load("demo/memory", settings) for settings in reinforcement.VARIANTS.values()]
    told = [(r.balanced, r.advantage, r.aepo.enabled) for r in recipes if isinstance(r, Reinforce)]
    assert told == [(False, "group", False), (True, "group", False), (True, "task", False), (True, "task", True)]


@pytest.mark.slow
def test_all_runs_are_made_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    # So few questions may all be answered at the start.
    monkeypatch.setattr(reinforcement, "open_families", list)
    monkeypatch.setattr(reinforcement, "TRIAL", 1)
    out = tmp_path / "out"
    words = f"--warm {POLICY} --out {out} --documents 4 --chunks 2 2 --test-documents 1 --test-chunks 4"
    words += " --set steps=1 --set questions=6 --set rollouts.group=2 --templates everyday --test-templates heldout"

    def found(*more: str) -> tuple[int, Any]:
        status = reinforcement.main([*words.split(), *more])
        return status, json.loads((tmp_path / "results" / "reinforcement.json").read_text())["details"]

    # What processes share is made first; then the claim, then the ablation.
    assert reinforcement.main([*words.split(), "--seeds"]) == 0
    assert [path.name for path in out.iterdir() if path.name.startswith("seed")] == []
    status, told = found("--seeds", "3", "--without-ablation")
    assert set(told["accuracy"]) == {"warm", "aepo", "imitation"} and set(told["entropy"]) == {"aepo"}
    policies = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(policies) == 2
    status, told = found("--seeds", "3")
    assert status == int(told["gains"][0] < 5)
    families = {"single", "update", "choice", "list", "count", "hops"}
    assert all(set(one) == families for found in told["accuracy"].values() for one in found)
    # Selection leaves what a batch takes of each, whatever the policy knows of it.
    assert told["problems"][0].keys() == families and min(told["problems"][0].values()) >= 1
    assert {name: len(found) for name, found in told["accuracy"].items()} == dict.fromkeys(reinforcement.NAMES, 1)
    assert {name: len(lines[0]) for name, lines in told["entropy"].items()} == dict.fromkeys(reinforcement.VARIANTS, 1)
    [warm, trained] = [json.loads((out / at / "config.json").read_text())["recipe"] for at in RECIPES]
    assert (warm["templates"], trained["templates"]) == ("heldout", "everyday")
    assert warm["families"] == trained["families"] == told["sizes"]["families"]
    # As many of its chunks ask for several things as of the families do.
    assert json.loads((out / "seed-3" / "imitation" / "run" / "config.json").read_text())["families"] == 0.5
    [cost] = told["imitation"]
    assert cost["steps"] >= 1 and cost["spent"] > 0
    assert "<svg" in (out / "report.html").read_text()
    # Imitation moved the weights, in float32, and did not forget the model's shape.
    recipe = load("demo/export", [f"start={out / 'seed-3' / 'imitation' / 'policy'}", "dtype=bfloat16"])
    assert run(recipe, tmp_path / "export") is not None
    every = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(every) == 5 and policies.items() <= every.items()
    assert found("--seeds", "3")[0] == status
    assert {path: path.stat().st_mtime_ns for path in every} == every
