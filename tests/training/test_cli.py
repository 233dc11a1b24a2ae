"""The command line: quick help, a stopped run goes on, the end is a folder that can be served."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from longfold_training.cli import INTERRUPTED, main, parser
from longfold_training.demo import train
from longfold_training.demo.export import load_policy
from longfold_training.demo.filler import prose
from longfold_training.demo.schedule import LOADS, Load


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rows and little text for the tokenizer; everything else is as shipped."""

    def corpus(seed: int) -> Iterator[str]:
        for paragraph in prose("train")[:200]:
            yield " ".join(paragraph)

    monkeypatch.setattr(train, "corpus", corpus)
    for length in (64, 128, 256):
        monkeypatch.setitem(LOADS, length, Load(32, 8, 160, 4))


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom longfold_training.cli import main\n"
        f"try:\n    main({arguments!r})\nfinally:\n"
        "    heavy = {'torch', 'rich', 'tokenizers', 'numpy'} & set(sys.modules)\n    assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
    assert ("--resume" in done.stdout) == (arguments[0] == "demo")


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--threads", "-1"], ["--threads", "many"], ["--steps", "0"]]
)
def test_numbers_below_one_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(["demo", "--out", "x", *arguments])
    assert end.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_ends_in_a_policy_folder(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", "--out", str(tmp_path / "run"), "--steps", "2"]
    real = train.Run.train_step

    def interrupted(run: train.Run) -> float:
        signal.raise_signal(number)
        return real(run)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(train.Run, "train_step", interrupted)
        assert main(arguments) == INTERRUPTED
    assert signal.getsignal(number) is handler
    assert "Stopped after step 1" in capsys.readouterr().err
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 1

    assert main([*arguments, "--seed", "1", "--resume"]) == 1
    assert "other settings" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    policy = tmp_path / "run" / "policy"
    assert {file.name for file in policy.iterdir()} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert load_policy(policy).shape == train.Config().shape
    card = (policy / "README.md").read_text()
    assert "longfold-train demo --seed 0" in card
    assert all(family in card for family in ("single", "update", "choice", "false_write"))
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2

    before = (policy / "model.safetensors").read_bytes()
    (policy / "README.md").unlink()
    assert main([*arguments, "--resume"]) == 0
    assert (policy / "model.safetensors").read_bytes() == before
    assert (policy / "README.md").read_text() == card


def test_a_stage_tells_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo/memory"]) == 2
    assert "--out is needed" in capsys.readouterr().err
    assert main(["run", "demo/memory", "--out", str(tmp_path / "run"), "--set", "start=nowhere"]) == 1
    assert capsys.readouterr().err.endswith("longfold-train: the policy nowhere does not exist\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "setting", "told"),
    [
        ("nowhere.toml", "seed=0", "cannot read the recipe nowhere.toml: No such file or directory"),
        ("demo/memory", "aepo.hig=3", "aepo.hig: unknown key; did you mean high?"),
        ("demo/memory", "rollouts.group=0", "rollouts.group: "),
        ("demo/memory", "data=nowhere.jsonl", "cannot read nowhere.jsonl"),
        ("demo/memory", "device=cuda", 'device = "cuda", but torch finds no GPU'),
        ("demo/merge", "base=nowhere", "the policy nowhere does not exist"),
        ("demo/export", "start=nowhere", "the policy nowhere does not exist"),
        ("demo/problems", "start=nowhere", "the policy nowhere does not exist"),
    ],
)
def test_a_stage_that_cannot_be_run_is_told_in_a_line(
    bigram: Callable[..., Path],
    letters: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    setting: str,
    told: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    given = [f"start={bigram({})}", f"data={letters()}", "questions=4"] if recipe == "demo/memory" else []
    words = [word for one in (*given, setting) for word in ("--set", one)]
    assert main(["run", recipe, "--out", str(tmp_path / "run"), *words]) == 1
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said
    assert not list(tmp_path.rglob("policy")) and not list(tmp_path.rglob("*.part"))


def test_a_stage_that_changed_nothing_says_so(
    bigram: Callable[..., Path], letters: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"start={bigram({'<ans>': {'B': 12.0}})}", f"data={letters()}", "limits.chunk_tokens=64", "steps=1"]
    given += ["questions=2", "rollouts.group=2", "rollouts.temperature=0.7", "rollouts.top_p=0.95"]
    words = [word for one in given for word in ("--set", one)]
    assert main(["run", "demo/memory", "--out", str(tmp_path / "run"), *words]) == 0
    assert "the policy did not change: no step had a gradient" in " ".join(capsys.readouterr().err.split())


def test_the_report_is_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"recipe": {"kind": "merge"}}')
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    assert "<td>run</td><td>merge</td>" in (tmp_path / "page.html").read_text()
    assert main(["report", str(tmp_path / "nowhere"), "--out", str(tmp_path / "page.html")]) == 1
    assert "no run in" in capsys.readouterr().err
