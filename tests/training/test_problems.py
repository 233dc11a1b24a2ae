"""Problems from JSON Lines: what is read, and what is refused with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from longfold_training.errors import DataError
from longfold_training.problems import Problem, load
from longfold_training.rewards import Choice, Cover, Exact, Items, Number, Ratio, validate

README = Path(__file__).parents[2] / "training" / "README.md"

LINE: dict[str, Any] = {
    "id": "q1", "task": "count", "question": "How many?", "documents": [{"text": "Seven."}],
    "gold": {"rule": "number", "value": "7"},
}  # fmt: skip


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_every_rule_survives_the_file(tmp_path: Path) -> None:
    golds = [
        Exact(answers=("a",)), Cover(answers=("x",), wrong=("y",)), Choice(letter="A", options=("x", "y")),
        Number(value="7", tolerance=0.1), Items(items=("x", "y"), ordered=True), Ratio(text="t", prefix="p"),
    ]  # fmt: skip
    made = [
        Problem.model_validate(LINE | {"id": f"q{number}", "gold": gold.model_dump(), "evidence": ["Seven"]})
        for number, gold in enumerate(golds)
    ]
    assert [problem.gold for problem in made] == golds
    path = write(tmp_path / "data.jsonl", *(problem.model_dump_json() for problem in made), "")
    assert list(load(path)) == made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task": ""}, "task: String should have at least 1"),
        ({"documents": []}, "documents: Tuple should have at least 1"),
        ({"documents": [{"text": ""}]}, r"documents\.0\.text: String should have"),
        ({"answer": "7"}, "answer: Extra inputs"),
        ({"gold": {"rule": "guess"}}, "gold: Input tag 'guess'"),
        ({"gold": {"rule": "number", "value": "many"}}, r"gold\.number\.value: .*'many' is not one number"),
        ({"gold": {"rule": "number", "value": "7", "tolerence": 1}}, "tolerence: Extra inputs"),
        ({"id": "q1"}, "id 'q1' was used in line 1"),
    ],
)
def test_a_line_that_is_no_problem_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = write(tmp_path / "data.jsonl", LINE, "", LINE | {"id": "q2"} | change)
    with pytest.raises(DataError, match=rf"data\.jsonl:3: .*{told}"):
        list(load(path))


def test_a_label_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", {name: value for name, value in LINE.items() if name != "task"})
    with pytest.raises(DataError, match=r"data\.jsonl:1: task: Field required"):
        list(load(path))


def test_the_problem_of_the_readme_is_one(tmp_path: Path) -> None:
    [shown] = re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
    [problem] = load(write(tmp_path / "data.jsonl", " ".join(shown.split())))
    assert problem.gold == Number(value="12.5%", tolerance=0.001)
    assert validate([problem]) == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent"):
        list(load(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"torn:1: line: Invalid JSON"):
        list(load(write(tmp_path / "torn", '{"id": "q1", ')))
    (tmp_path / "latin").write_bytes(b'{"id": "\xe9"}')
    with pytest.raises(DataError, match=r"cannot read .*latin"):
        list(load(tmp_path / "latin"))
