"""`benchmarks/merge.py`: its bars are met by the pattern and by nothing else, and it reads what a run has left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import merge
import pytest
import report

POLICY = Path(__file__).parents[2] / "server" / "longfold_server" / "policy"


def accuracies(merged: tuple[float, float]) -> merge.Found:
    """Memory RL loses six points of full-context reading and wins ten of memory."""
    of = {"warm": (0.7, 0.5), "full-context-3": (0.8, 0.6), "memory": (0.74, 0.7), "full-context-4": (0.82, 0.7)}
    return {
        name: dict(zip((merge.FULL, merge.MEMORY), shares, strict=True))
        for name, shares in (of | {"merge": merged}).items()
    }


@pytest.mark.parametrize(
    ("merged", "met"), [((0.795, 0.695), [True, True]), ((0.78, 0.7), [False, True]), ((0.81, 0.68), [True, False])]
)
def test_what_was_lost_must_come_back_and_what_was_won_stay(merged: tuple[float, float], met: list[bool]) -> None:
    lost, won, *bars = merge.pattern(accuracies(merged))
    assert (lost.value, won.value) == (pytest.approx(-6), pytest.approx(10))
    assert [row.met for row in bars if row.bar] == met


def test_the_table_has_a_line_for_each_policy_of_the_run() -> None:
    lines = merge.table(accuracies((0.8, 0.7))).splitlines()
    assert lines[0] == "| percent right | full context | memory | mean |"
    assert lines[2] == "| warm start | 70.0 | 50.0 | 60.0 |"
    assert lines[5] == "| SCE merge of both | 80.0 | 70.0 | 75.0 |"
    assert len(lines) == 7


@pytest.mark.slow
def test_a_run_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    for name in merge.POLICIES:
        shutil.copytree(POLICY, tmp_path / "run" / name / "policy")
    words = f"--run {tmp_path / 'run'} --documents 1 --chunks 2 --families single update"
    # Five times the same policy: nothing is lost and nothing won.
    assert merge.main(words.split()) == 0
    told = json.loads((tmp_path / "results" / "merge.json").read_text())
    assert [row["value"] for row in told["rows"]] == [0] * 6
    found = told["details"]["accuracy"]
    assert list(found) == list(merge.POLICIES) and found["warm"][merge.FULL].keys() == {"single", "update"}
    texts = [
        len(
            json.loads((tmp_path / "run" / "pattern" / size / "problems.jsonl").read_text().split("\n")[0])[
                "documents"
            ][0]["text"]
        )
        for size in ("short", "long")
    ]
    assert texts[0] < texts[1]
