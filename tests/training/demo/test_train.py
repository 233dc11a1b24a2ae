"""Training: a few steps lower the loss, and a resumed run gives what an unbroken one gives."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from tokenizers import Tokenizer

from longfold_agent.profiles.demo import KEEP
from longfold_training.demo.export import export, load_policy
from longfold_training.demo.model import Shape
from longfold_training.demo.muon import Muon, orthogonalise
from longfold_training.demo.rows import Row, make_rows
from longfold_training.demo.schedule import LOADS, Schedule
from longfold_training.demo.train import Config, Run, make_load, validate
from longfold_training.errors import CheckpointError, DivergedError, StorageError


@pytest.fixture
def config(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> Config:
    from longfold_training.demo import schedule

    monkeypatch.setitem(schedule.LOADS, 32, schedule.Load(32, 12, 160, 4))
    return Config(
        steps=24,
        shape=shape,
        stages=((32, 0.0),),
        report_every=4,
        validate_every=10**6,
        checkpoint_every=8,
    )


def test_a_few_steps_lower_the_loss_and_resuming_changes_nothing(
    config: Config, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    whole = Run(tmp_path / "whole", config, tokenizer=tokenizer)
    rows = list(whole.train())
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    broken = Run(tmp_path / "broken", config, tokenizer=tokenizer)
    first = list(broken.train(until=16))
    second = Run(tmp_path / "broken", config, resume=True)
    assert second.step == 16
    losses = [second.train_step() for _ in range(8)]
    assert [row["loss"] for row in first] == [row["loss"] for row in rows[:4]]
    assert len(losses) == 8
    for name, weight in whole.policy.state_dict().items():
        torch.testing.assert_close(second.policy.state_dict()[name], weight, atol=0, rtol=0)


@pytest.mark.parametrize("chunk", [64, 128])
def test_without_further_families_the_rows_are_those_of_single_facts(chunk: int, tokenizer: Tokenizer) -> None:
    """Rows and random numbers: what a run without them gave, it gives again."""
    rng, plain = Random(7), Random(7)
    load = LOADS[chunk]
    none = Config(families=0.0)
    rows = make_load(
        rng, tokenizer, load, "train", vary=False, ordinary=0.75, families=none.families, direct=none.direct
    )
    expected: list[Row] = []
    while len(expected) < load.rows:
        made = make_rows(plain, tokenizer, chunk, load.each, "train", 0.75)
        expected += [row for row in made if len(row.prompt) + len(row.target) <= load.length]
    assert rows == expected[: load.rows]
    assert rng.getstate() == plain.getstate()


def test_a_share_of_the_chunks_is_asked_about_further_families(tokenizer: Tokenizer) -> None:
    for share, several in ((0.0, False), (1.0, True)):
        rows = make_load(Random(7), tokenizer, LOADS[64], "train", ordinary=0.75, families=share)
        assert any(row.tag.startswith(("list", "count", "hops")) for row in rows) is several
        assert any(row.tag in ("find", "update", "answer") for row in rows) is not several
        assert all(len(row.labels) == len(row.prompt) for row in rows if row.reads)


def test_a_share_of_the_steps_is_the_single_pass(tokenizer: Tokenizer) -> None:
    for share in (0.0, 1.0):
        rows = make_load(Random(7), tokenizer, LOADS[64], "train", ordinary=0.75, families=0.25, direct=share)
        assert {row.tag.startswith("direct_") for row in rows} == {share == 1.0}
    assert Config().direct_tokens == 0
    assert Config(direct=0.1).direct_tokens == 512


def test_the_single_pass_is_no_step_that_missed_a_fact(
    config: Config, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not decide whether to write, whatever is said."""
    run = Run(tmp_path / "run", replace(config, direct=1.0), tokenizer=tokenizer)
    assert run.train_step() > 0
    keep = torch.eye(config.shape.vocabulary)[KEEP]
    monkeypatch.setattr(run.policy, "logits", lambda states: keep.expand(*states.shape[:-1], -1))
    found = validate(run.policy, tokenizer, 32, "train", 2, 0.75, 0.25, 1.0)
    assert {"direct_single", "direct_choice", "direct_absent"} <= found.keys()
    assert (found["false_write"], found["missed"]) == (0, 0)
    assert validate(run.policy, tokenizer, 32, "train", 1, 0.75)["missed"] == 1


def test_a_checkpoint_without_a_setting_had_its_default(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    list(Run(tmp_path / "run", config, tokenizer=tokenizer).train(until=8))
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    settings = json.loads(state["config"])
    del settings["families"], settings["direct"]
    torch.save(state | {"config": json.dumps(settings)}, path)
    assert Run(tmp_path / "run", config, resume=True).step == 8
    with pytest.raises(CheckpointError, match="other settings"):
        Run(tmp_path / "run", replace(config, families=0.2), resume=True)


def test_a_run_with_further_families_takes_a_step(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with_them, without = (
        Run(tmp_path / str(share), replace(config, families=share), tokenizer=tokenizer).train_step()
        for share in (1.0, 0.0)
    )
    assert with_them > 0 and with_them != without


def test_a_stopped_run_leaves_a_checkpoint_between_two_regular_ones(
    config: Config, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", config, tokenizer=tokenizer)
    rows = list(run.train(stopped=lambda: run.step == 5))
    assert [row["step"] for row in rows] == [4]
    again = Run(tmp_path / "run", config, resume=True)
    assert again.step == 5
    assert [row["step"] for row in again.train(until=8)] == [8]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8]


def test_a_run_begun_anew_keeps_nothing_of_the_one_before(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    list(Run(tmp_path / "run", config, tokenizer=tokenizer).train(until=8))
    anew = Run(tmp_path / "run", config, tokenizer=tokenizer)
    assert anew.step == 0
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == ""


def test_a_damaged_checkpoint_is_named(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    Run(tmp_path / "run", config, tokenizer=tokenizer)
    for damage in (b"", b"nonsense"):
        (tmp_path / "run" / "checkpoint.pt").write_bytes(damage)
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
            Run(tmp_path / "run", config, resume=True)


def test_a_loss_that_is_no_number_leaves_weights_and_checkpoint(
    config: Config, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    run = Run(tmp_path, config, tokenizer=tokenizer)
    list(run.train(until=8))
    saved = (tmp_path / "checkpoint.pt").read_bytes()
    before = {name: weight.clone() for name, weight in run.policy.state_dict().items()}
    with torch.no_grad():
        next(run.policy.parameters()).mul_(torch.inf)
    broken = {name: weight.clone() for name, weight in run.policy.state_dict().items()}
    with pytest.raises(DivergedError, match=r"at step 9: .* keeps the last checkpoint"):
        list(run.train())
    assert (tmp_path / "checkpoint.pt").read_bytes() == saved
    for name, weight in run.policy.state_dict().items():
        assert torch.equal(weight.isfinite(), broken[name].isfinite())
    again = Run(tmp_path, config, resume=True)
    assert again.step == 8 and all(torch.equal(again.policy.state_dict()[name], before[name]) for name in before)


def test_a_full_disk_is_told_and_keeps_the_checkpoint(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    run = Run(tmp_path, config, tokenizer=tokenizer)
    list(run.train(until=8))
    (tmp_path / "checkpoint.pt.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"cannot write .*checkpoint.pt"):
        run.save()
    assert Run(tmp_path, config, resume=True).step == 8
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"cannot write .*metrics.jsonl: No space left"):
        list(run.train(until=12))


def test_the_shipped_run_grows_its_chunks_and_stays_ordinary() -> None:
    shipped = Config()
    schedule = shipped.schedule()
    lengths = {
        share: {schedule.load(int(share * shipped.steps), Random(seed)).chunk for seed in range(60)}
        for share in (0.1, 0.3, 0.7)
    }
    assert lengths == {0.1: {64}, 0.3: {64, 128}, 0.7: {64, 128, 256}}
    assert schedule.ordinary(shipped.steps - 1) == shipped.ordinary
    assert schedule.rate(shipped.steps - 1) < shipped.peak / 100


def test_a_checkpoint_of_other_settings_is_refused(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", config, tokenizer=tokenizer)
    run.save()
    with pytest.raises(CheckpointError, match="other settings"):
        Run(tmp_path / "run", replace(config, seed=1), resume=True)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    schedule = Schedule(1000)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] < schedule.peak / 10
    assert max(rates) == pytest.approx(schedule.peak)
    assert rates[-1] < schedule.peak / 100
    assert all(later <= earlier for earlier, later in pairwise(rates[400:]))


def test_statements_are_only_ordinary_at_the_beginning() -> None:
    schedule = Schedule(1000)
    assert schedule.ordinary(0) == 1.0
    shares = [schedule.ordinary(step) for step in range(1000)]
    assert all(later <= earlier for earlier, later in pairwise(shares))
    assert shares[-1] == schedule.ordinary_floor < 1.0


def test_orthogonalised_updates_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for size in ((8, 24), (24, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(2, *size)))
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_muon_agrees_with_torch() -> None:
    torch.manual_seed(1)
    mine = [
        torch.nn.Parameter(torch.randn(16, 8)),
        torch.nn.Parameter(torch.randn(8, 16)),
        torch.nn.Parameter(torch.randn(8, 8)),
    ]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in mine]
    ours, reference = (
        Muon(mine, lr=0.1),
        torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        ours.step()
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=0)  # the reference multiplies in bfloat16


def test_a_run_goes_on_from_a_policy(config: Config, tokenizer: Tokenizer, tmp_path: Path) -> None:
    first = Run(tmp_path / "first", config, tokenizer=tokenizer)
    list(first.train(until=4))
    start = export(first.policy, tokenizer, tmp_path / "policy", "")
    own = Config.further(start, seed=3, threads=1)
    assert (own.shape, own.seed, own.direct_tokens) == (config.shape, 3, 512)
    assert own.families > 0

    further = replace(config, families=0.5, start=own.start)
    run = Run(tmp_path / "second", further, start=start)
    assert run.tokenizer.to_str() == tokenizer.to_str()
    for begun, exported in zip(run.policy.parameters(), load_policy(start).parameters(), strict=True):
        assert torch.equal(begun, exported)
    list(run.train(until=4))
    assert Run(tmp_path / "second", further, resume=True, start=start).step == 4
    with pytest.raises(CheckpointError, match="other settings"):
        Run(tmp_path / "second", replace(further, start="sha256:another"), resume=True, start=start)
