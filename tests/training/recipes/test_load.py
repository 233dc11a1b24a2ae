"""Recipes: what wins over what, and what a person reads who has made a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from longfold_training.errors import RecipeError
from longfold_training.recipes import Evaluate, Merge, Reinforce, load, shipped

MEMORY = 'kind = "reinforce"\nstart = "a"\ndata = "b"\nprofile = "demo"\nreading = "fold"\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MEMORY + "questions = 16\n[aepo]\nlow = 0.2\n[rollouts]\ngroup = 4\n")
    return path


def test_settings_win_over_the_file_and_the_file_over_the_defaults(recipe: Path) -> None:
    told = load(str(recipe), ["aepo.low=0.25", "lora.rank = 8", "start=runs/x y/policy", 'aepo.rule="snippet"'])
    assert isinstance(told, Reinforce)
    assert (told.aepo.low, told.aepo.high, told.aepo.rule) == (0.25, 0.3, "snippet")
    assert (told.questions, told.rollouts.group, told.rollouts.temperature) == (16, 4, 0.7)
    assert (told.lora.rank, told.start) == (8, Path("runs/x y/policy"))


def test_the_defaults_are_the_papers() -> None:
    told = load("qwenlong/full-context-3")
    assert isinstance(told, Reinforce)
    assert (told.questions, told.rollouts.group, told.optimiser.learning_rate) == (128, 8, 2e-6)
    assert (told.rollouts.temperature, told.rollouts.top_p) == (0.7, 0.95)
    assert (told.advantage, told.balanced, told.aepo.enabled, told.lora.rank) == ("task", True, True, 0)
    memory = load("qwenlong/memory")
    assert isinstance(memory, Reinforce)
    assert (memory.reading, memory.limits.chunk_tokens, memory.limits.memory_tokens) == ("fold", 32_768, 15_000)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_one(name: str) -> None:
    assert load(name).seed >= 0


def test_all_stages_of_the_paper_are_there() -> None:
    stages = {f"full-context-{number}" for number in (1, 2, 3, 4)} | {"memory", "merge"}
    assert {f"qwenlong/{stage}" for stage in stages} <= set(shipped())
    merge = load("qwenlong/merge")
    assert isinstance(merge, Merge)
    assert [path.parts[-2] for path in merge.sources] == ["full-context-3", "memory"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("aepo.hig=3", "aepo.hig: unknown key; did you mean high?"),
        ("optimizer.rate=1", "optimizer: unknown key; did you mean optimiser?"),
        ("zzzz=1", "zzzz: unknown key"),
        ("steps=0", "steps: Input should be greater than or equal to 1"),
        ("steps=many", "steps: "),
        ("rollouts.group=1", "rollouts.group: "),
        ("aepo.low=0.4", "aepo: Value error, low must be less than high"),
        ("dense={held = 0.6, valid = 0.4}", "dense: Value error, the weights must add up to less than 1"),
        ("optimiser.learning_rate=nan", "optimiser.learning_rate: "),
        ("optimiser.learning_rate=2", "optimiser.learning_rate: Input should be less than or equal to 1"),
        ("limits.output_tokens=9", "limits.output_tokens belongs to"),
        ("profile=gpt", "profile: "),
        ("judge.url=judge:8000", "judge.url: Value error, a base URL is http://host:port or https://host, not"),
        ("judge.url=http://judge:80a", "judge.url: Value error, Port could not be cast"),
        ("kind=train", "kind: must be one of reinforce, evaluate, select, merge, problems, export, not 'train'"),
        ("aepo", "'aepo' is no setting: write KEY=VALUE"),
        ("a..b=1", "'a..b=1' is no setting"),
        ("questions.per=1", "questions is a value, not a table"),
    ],
)
def test_a_mistake_is_told_with_its_place(recipe: Path, setting: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        load(str(recipe), [setting])
    assert told in str(error.value)


@pytest.mark.parametrize("url", ["gpu:8000", "http://", "//gpu:8000", "http://gpu:99999"])
def test_a_policy_is_served_at_a_url(url: str) -> None:
    assert isinstance(load("4b/evaluate", ["url=https://gpu/v1"]), Evaluate)
    with pytest.raises(RecipeError, match="url: Value error, "):
        load("4b/evaluate", [f"url={url}"])


def test_a_single_pass_has_no_memory_to_reward(recipe: Path) -> None:
    told = load(str(recipe), ["dense.held=0.2"])
    assert isinstance(told, Reinforce)
    assert (told.dense.held, told.dense.valid) == (0.2, 0.0)
    with pytest.raises(RecipeError, match="a single pass has no memory"):
        load(str(recipe), ["dense.held=0.2", "reading=direct"])
    with pytest.raises(RecipeError, match="attempt_tokens belong to"):
        load(str(recipe), ["limits.attempt_tokens=9", "reading=direct"])


def test_all_mistakes_are_told_at_once(recipe: Path) -> None:
    with pytest.raises(RecipeError) as error:
        load(str(recipe), ["steps=0", "questions=-1", "nothing=1"])
    assert [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]] == [
        "steps",
        "questions",
        "nothing",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('kind = "reinforce"', "start: missing"),
        ("", "kind: must be one of"),
        ("kind = ", "is not TOML"),
        ('kind = "merge"\nbase = "a"\nsources = ["b"]', "sources: "),
        (
            'kind = "select"\nstart = "a"\ndata = "b"\nprofile = "demo"\nreading = "fold"\nrule = "balanced"',
            "needs keep",
        ),
        ('kind = "problems"\nstart = "a"\nchunks = [4, 2]', "the fewest, then the most"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=told):
        load(str(path))


def test_a_missing_recipe_is_told_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="did you mean demo/memory"):
        load("demo/memry")


def test_checking_a_recipe_needs_no_torch() -> None:
    code = (
        "import sys\nfrom longfold_training.cli import main\n"
        "assert main(['run', 'qwenlong/memory', '--dry-run', '--set', 'steps=7']) == 0\n"
        "assert main(['recipes']) == 0\n"
        "heavy = {'torch', 'rich', 'tokenizers', 'numpy', 'transformers'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"steps": 7' in done.stdout and "demo/memory\n" in done.stdout
    assert "not there yet: start: runs/qwenlong/full-context-3/policy" in done.stderr
