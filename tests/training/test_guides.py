"""The guides say what there is: recipes that load with the settings shown, stages, options, files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from longfold_training.cli import parser
from longfold_training.engines.verl import __main__ as launcher
from longfold_training.recipes import load

ROOT = Path(__file__).parents[2]
GUIDES = ("docs/training.md", "docs/training-verl.md", "training/README.md")


def commands(guide: str, program: str) -> list[list[str]]:
    """The words behind `program` wherever a guide shows it, in a block or between backticks, comments left out."""
    text = (ROOT / guide).read_text().replace("\\\n", " ")
    shown = re.findall(rf"{re.escape(program)} ([^`\n]+)", text)
    words = [shlex.split(re.sub(r"\s(#|&&|&$).*", "", line), comments=True) for line in shown]
    return [line[: line.index("&")] if "&" in line else line for line in words]


def test_every_command_of_the_stages_parses() -> None:
    given = [words for guide in GUIDES for words in commands(guide, "longfold-train run")]
    assert {"demo/memory", "4b/select", "4b/merge", "4b/evaluate", "qwenlong/merge"} <= {words[0] for words in given}
    for words in given:
        told = parser().parse_args(["run", *words])
        load(told.recipe, told.settings)


@pytest.mark.parametrize("program", ["training/runs/verl-node.sh", "python -m longfold_training.engines.verl"])
def test_every_stage_on_a_cluster_is_one(program: str) -> None:
    given = [words[0] for guide in GUIDES for words in commands(guide, program) if words[0] != "STAGE"]
    assert set(given) <= set(launcher.stages())
    assert given or "python" in program


def test_every_file_exists() -> None:
    for guide in GUIDES:
        text = (ROOT / guide).read_text()
        named = set(re.findall(r"\b(?:training|benchmarks|deploy|tests|docs|server)/[\w./-]*\w", text))
        named |= {str(Path(guide).parent / link) for link in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text)}
        missing = [name for name in named if not (ROOT / name).exists()]
        assert not missing, (guide, missing)


def test_every_anchor_is_a_heading() -> None:
    for guide in GUIDES:
        for link, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", (ROOT / guide).read_text()):
            target = (ROOT / guide).parent / link if link else ROOT / guide
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
