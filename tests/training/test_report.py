"""Charts and the page: what is drawn is what was measured."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from longfold_training.charts import chart
from longfold_training.errors import DataError
from longfold_training.report import render


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'points="([^"]*)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in lines]  # type: ignore[misc]


def test_a_line_goes_through_its_points() -> None:
    ((first, second, third),) = points(chart("x", {"a": [(0, 0.0), (1, 10.0), (2, 5.0)]}))
    assert first[0] < second[0] < third[0] and second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.2)
    # Up is down in SVG: the largest value is at the top, the middle one half way.
    assert second[1] < third[1] < first[1]
    assert third[1] == pytest.approx((first[1] + second[1]) / 2, abs=0.1)


def test_what_is_no_number_leaves_a_gap() -> None:
    drawn = points(chart("x", {"a": [(0, 1.0), (1, 2.0), (2, math.nan), (3, 1.0), (4, 2.0)]}))
    assert [len(line) for line in drawn] == [2, 2]
    assert chart("x", {"a": [(0, math.nan)]}) == "" == chart("x", {})


def test_names_are_text() -> None:
    drawn = chart("<b>", {"<i>": [(0, 1.0)], "<u>": [(0, 2.0)]})
    assert not re.search("<[bu]>|<i>", drawn) and "&lt;u&gt;" in drawn


def test_a_line_without_points_is_not_drawn() -> None:
    drawn = chart("x", {"a": [(0, 1.0), (1, 2.0)], "b": [], "c": [(0, math.nan)]})
    assert drawn.count("<circle") == 1 and "legend" not in drawn


def test_a_constant_line_is_drawn() -> None:
    ((left, right),) = points(chart("x", {"a": [(3, 0.5), (4, 0.5)]}))
    assert left[1] == right[1]


def test_there_are_whole_steps_only() -> None:
    drawn = chart("x", {"a": [(1, 0.0), (2, 1.0)]})
    assert re.findall(r'class="tick mid"[^>]*>([^<]*)<', drawn) == ["1", "2"]


def write(folder: Path, recipe: dict[str, object], rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"recipe": recipe, "commit": "0123456789abcdef"}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_page_shows_each_stage(tmp_path: Path) -> None:
    aepo = {"enabled": True, "low": 0.1, "high": 0.3}
    rows: list[dict[str, object]] = [
        {
            "step": step, "reward": step / 10, "score/single": step / 8, "entropy": 0.2, "entropy_low": 0.1,
            "entropy_high": 0.3, "masking": masking, "seconds": 60,
        }
        for step, masking in enumerate((0, 1, 1, 0, 1), 1)
    ]  # fmt: skip
    write(tmp_path / "memory", {"kind": "reinforce", "reading": "fold", "aepo": aepo}, rows)
    write(tmp_path / "test", {"kind": "evaluate"}, [])
    by_task = {"single": {"reward": 0.75, "questions": 4}}
    (tmp_path / "test" / "results.json").write_text(json.dumps({"reward": 0.75, "questions": 4, "by_task": by_task}))
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text('{"model_type": "qwen3"}')
    page = render([tmp_path])
    assert "<td>memory</td><td>reinforce</td><td>fold</td><td>5</td><td>5.0</td><td>0.100 to 0.500</td>" in page
    assert "<td class=number>0.750</td>" in page and "qwen3" not in page
    # Two stretches were masked: steps 2 to 3, and 5.
    assert page.count('class="span"') == 2
    assert "</i>low</span>" in page and "</i>high</span>" in page
    assert "src=" not in page and "<script" not in page


def test_stages_stand_in_the_order_in_which_they_were_begun(tmp_path: Path) -> None:
    for number, name in enumerate(("warm", "memory", "export")):
        write(tmp_path / name, {"kind": "evaluate"}, [])
        config = tmp_path / name / "config.json"
        config.write_text(
            json.dumps(json.loads(config.read_text()) | {"begun": f"2026-01-0{number + 1}T00:00:00+00:00"})
        )
        result = {"reward": number / 4, "questions": 4, "by_task": {"single": {"reward": number / 4, "questions": 4}}}
        (tmp_path / name / "results.json").write_text(json.dumps(result))
    page = render([tmp_path])
    assert re.findall(r"<td>(\d \w+)</td>", page) == ["1 warm", "2 memory", "3 export"]
    ((first, second, third),) = points(page)
    assert first[1] > second[1] > third[1]


def test_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in"):
        render([tmp_path])
    write(tmp_path / "a", {"kind": "reinforce"}, [])
    (tmp_path / "a" / "metrics.jsonl").write_text("{")
    with pytest.raises(DataError, match="cannot read the run"):
        render([tmp_path])
