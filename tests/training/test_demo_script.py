"""The pipeline's script: every stage it asks for is a recipe that can be run, on what stages before it made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from longfold_training.core.sampler import TaskBalanced
from longfold_training.demo.documents import FAMILIES, SEVERAL
from longfold_training.recipes import Problems, Recipe, Reinforce, Select, load
from longfold_training.stages import run
from longfold_training.stages.reading import prepare

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "training" / "runs" / "demo.sh"
POLICY = ROOT / "server" / "longfold_server" / "policy"
STAND_IN = """#!/usr/bin/env bash
# Notes the command and leaves what its stage would leave.
for word in "$@"; do printf '%s\\t' "$word"; done >> "$NOTES"
echo >> "$NOTES"
out=
while [ $# -gt 0 ]; do [ "$1" = --out ] && out=$2; shift; done
case "$out" in
  *.html) : > "$out" ;;
  */problems* | */select*) mkdir -p "$out"; : > "$out/problems.jsonl" ;;
  */evaluate*) mkdir -p "$out"; : > "$out/results.json" ;;
  *) mkdir -p "$out/policy"; : > "$out/policy/config.json" ;;
esac
"""


def commands(tmp_path: Path, times: int, **settings: str) -> list[list[str]]:
    """The commands of the script, run `times` in the same folder."""
    stand_in, notes = tmp_path / "train", tmp_path / "notes"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    told = {"RUN": "out", "SEED": "3", "STEPS": "2", "TRAIN": str(stand_in), "NOTES": str(notes)}
    told |= settings
    for _ in range(times):
        subprocess.run([SCRIPT], cwd=tmp_path, env={**os.environ, **told}, check=True, capture_output=True)
    return [line.rstrip("\t").split("\t") for line in notes.read_text().splitlines()]


@pytest.fixture
def asked(tmp_path: Path) -> list[list[str]]:
    return commands(tmp_path, 1)


def recipe_of(command: list[str]) -> Recipe:
    settings = [command[place + 1] for place, word in enumerate(command) if word == "--set"]
    return load(command[1], settings)


def test_every_stage_can_be_run_on_what_was_made_before(asked: list[list[str]]) -> None:
    made: set[Path] = set()
    for command in asked[:-1]:
        out = Path(command[command.index("--out") + 1])
        if command[0] == "run":
            recipe = recipe_of(command)
            assert recipe.seed == 3
            for name in ("start", "data", "base"):
                assert getattr(recipe, name, None) is None or getattr(recipe, name) in made
            assert set(getattr(recipe, "sources", ())) <= made
            assert getattr(recipe, "steps", 2) == 2
        made |= {out / "policy", out / "problems.jsonl"}


def test_the_stages_are_the_papers(asked: list[list[str]]) -> None:
    names = [Path(command[command.index("--out") + 1]).name for command in asked if command[0] == "run"]
    order = ["full-context-1", "full-context-2", "full-context-3", "memory", "merge", "full-context-4", "export"]
    trained = [Path(command[command.index("--out") + 1]) for command in asked if command[0] != "report"]
    assert [path.name for path in trained if path.name in order and path.parent.name == "out"] == order
    assert trained[:2] == [Path("out/facts"), Path("out/warm")] and [command[0] for command in asked[:3]] == [
        "demo", "demo", "run"
    ]  # fmt: skip
    evaluated = [path.name for path in trained if path.parent.name == "evaluate"]
    assert evaluated == ["warm", *order]
    assert len(names) == len(set(trained)) - 2


@pytest.mark.parametrize(
    ("config", "reading", "lengths"),
    [
        ("{}", "fold", [128, 192, 256, 256]),
        ('{"longfold_direct_tokens": 0}', "fold", [128, 192, 256, 256]),
        ('{"longfold_direct_tokens": 512}', "direct", [128, 256, 512, 512]),
    ],
)
def test_full_context_is_a_single_pass_where_the_weights_know_it(
    config: str, reading: str, lengths: list[int], tmp_path: Path
) -> None:
    (tmp_path / "warm").mkdir()
    (tmp_path / "warm" / "config.json").write_text(config)
    asked = [command for command in commands(tmp_path, 1, WARM="warm") if command[0] == "run"]
    for part, count in (("full-context-", Reinforce), ("select-", Select)):
        found = []
        for command in asked:
            recipe = recipe_of(command)
            if isinstance(recipe, count) and "memory" not in command[command.index("--out") + 1]:
                assert part in command[command.index("--out") + 1]
                assert recipe.reading == reading
                assert recipe.limits.chunk_tokens == (None if reading == "direct" else recipe.limits.input_tokens)
                found.append(recipe.limits.input_tokens)
        assert found == lengths


def test_problems_ask_for_what_the_policy_was_taught(asked: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "few" / "warm").mkdir(parents=True)
    few = commands(tmp_path / "few", 1, WARM="warm", FAMILIES='["single"]')
    for made, wanted in ((asked, FAMILIES + SEVERAL), (few, ("single",))):
        recipes = [recipe_of(command) for command in made if command[0] == "run"]
        assert {recipe.families for recipe in recipes if isinstance(recipe, Problems)} == {wanted}


@pytest.mark.parametrize("direct", [0, 512])
def test_a_short_run_has_a_batch_of_all_families_at_every_length(direct: int, tmp_path: Path) -> None:
    """With the settings that the script's header names for it."""
    warm = tmp_path / "warm"
    warm.mkdir()
    shutil.copyfile(POLICY / "tokenizer.json", warm / "tokenizer.json")
    (warm / "config.json").write_text(json.dumps({"longfold_direct_tokens": direct}))
    [told] = re.findall(r"^#   (STEPS=\S+ .*) training/runs/demo.sh", SCRIPT.read_text(), re.MULTILINE)
    settings = dict(setting.split("=") for setting in told.split())
    made: dict[Path, Path] = {}
    batches = 0
    for command in commands(tmp_path, 1, WARM=str(warm), **settings):
        out = Path(command[command.index("--out") + 1])
        recipe = recipe_of(command) if command[0] == "run" else None
        if isinstance(recipe, Problems) and out.name != "problems-test":
            path = run(recipe, tmp_path / out)
            assert path is not None
            made[out / "problems.jsonl"] = path
        elif isinstance(recipe, Select):
            selected = prepare(recipe.model_copy(update={"start": warm, "data": made[recipe.data]})).problems
            made[out / "problems.jsonl"] = made[recipe.data]
        elif isinstance(recipe, Reinforce):
            tasks = [problem.task for problem in selected]
            assert set(tasks) == {*FAMILIES, *SEVERAL}
            assert len(TaskBalanced(tasks, recipe.questions).draw()) == recipe.questions
            batches += 1
    assert batches == 5


def test_given_again_every_stage_decides_for_itself_whether_it_is_finished(tmp_path: Path) -> None:
    asked = commands(tmp_path, 2)
    # All but the warm start, whose policy is there; a stage compares what it was begun with.
    once = len(asked) // 2 + 1
    assert asked[once:] == asked[2:once]
    assert all("--resume" in command for command in asked if command[0] == "run")
