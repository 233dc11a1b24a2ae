"""`benchmarks/reinforcement.py` at its smallest: every run is made, compared and found again; the table is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import reinforcement
import report

from longfold_training.recipes import Reinforce, load
from longfold_training.stages import run

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
    words = f"--warm {POLICY} --out {tmp_path / 'out'} --seeds 3 --documents 2 --chunks 1 1 --test-documents 1"
    words += " --test-chunks 1 --set steps=1 --set questions=3 --set rollouts.group=2"
    status = reinforcement.main(words.split())
    told = json.loads((tmp_path / "results" / "reinforcement.json").read_text())
    assert status == int(told["details"]["gains"][0] < 5)
    assert {name: len(found) for name, found in told["details"]["accuracy"].items()} == dict.fromkeys(
        reinforcement.NAMES, 1
    )
    assert {name: len(lines[0]) for name, lines in told["details"]["entropy"].items()} == dict.fromkeys(
        reinforcement.VARIANTS, 1
    )
    [cost] = told["details"]["imitation"]
    assert cost["steps"] >= 1 and cost["spent"] > 0
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
    # Imitation moved the weights, in float32, and did not forget the model's shape.
    recipe = load("demo/export", [f"start={tmp_path / 'out' / 'seed-3' / 'imitation' / 'policy'}", "dtype=bfloat16"])
    assert run(recipe, tmp_path / "export") is not None
    policies = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
    assert len(policies) == 5
    assert reinforcement.main(words.split()) == status
    assert {path: path.stat().st_mtime_ns for path in policies} == policies
