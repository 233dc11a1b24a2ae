"""The update is the equations': against the gradient written out row by row in float64, and on a game it must win."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pytest
import torch

from longfold_agent.protocols import Request
from longfold_agent.types import Prompt, Sampling
from longfold_training.core.trajectory import Step, Trajectory
from longfold_training.engines.local.learn import Learner
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.engines.local.sample import LocalEngine
from longfold_training.errors import DivergedError, MemoryExhausted
from longfold_training.recipes import Reinforce

Bigram = Callable[[Mapping[str, Mapping[str, float]]], Path]
Make = Callable[..., Reinforce]


def step(prompt: str, completion: str) -> Step:
    return Step(tuple(prompt.encode()), tuple(completion.encode()), (0.0,) * len(completion))


def batch() -> list[Trajectory]:
    """Two questions of two tasks with readings of one or two chunks; some steps are the same in several attempts."""
    return [
        Trajectory("a", "x", (step("abc", "k"), step("mno", "yes")), 1.0),
        Trajectory("a", "x", (step("abc", "k"), step("mno", "no")), 0.0),
        Trajectory("a", "x", (step("abc", "kept"), step("mnop", "no")), 0.0),
        Trajectory("b", "y", (step("abcdefgh", "k"),), 0.25),
        Trajectory("b", "y", (step("abcdefgh", "longer"),), 1.0),
        Trajectory("c", "y", (step("q", "flat"),), 0.5),
        Trajectory("c", "y", (step("q", "flat too"),), 0.5),
    ]


def reference(
    policy: LocalPolicy, trajectories: Sequence[Trajectory], silenced: Sequence[int] = ()
) -> list[torch.Tensor]:
    """Gradient of -sum over groups (1/3) sum over tokens (1/N_group) A_i log pi at temperature 0.7, by plain autograd.

    Advantages by hand. Task x: rewards 1 0 0, mean 1/3, std sqrt(1/3). Task y: 0.25 1 0.5 0.5, std sqrt(0.296875 / 3)
    (mean 0.5625, squares 0.09766 + 0.19141 + 2 x 0.00391); group b: mean 0.625.
    """
    x, y = math.sqrt(1 / 3) + 1e-6, math.sqrt(0.296875 / 3) + 1e-6
    advantages = [2 / 3 / x, -1 / 3 / x, -1 / 3 / x, -0.375 / y, 0.375 / y, 0.0, 0.0]
    tokens = [4 + 3 + 6, 1 + 6, 4 + 8]
    model = policy.model.double()
    loss = torch.zeros((), dtype=torch.float64)
    for number, trajectory in enumerate(trajectories):
        if number in silenced:
            continue
        weight = 1 / 3 / tokens["abc".index(trajectory.group)]
        for one in trajectory.steps:
            ids = torch.tensor([one.prompt + one.completion])
            chances = (model(ids).logits[0] / 0.7).log_softmax(-1)
            for place, token in enumerate(one.completion, len(one.prompt)):
                loss = loss - weight * advantages[number] * chances[place - 1, token]
    return list(torch.autograd.grad(loss, list(policy.trainable().values())))


@pytest.mark.parametrize(("at_once", "recomputed"), [(1, False), (24, True), (10_000, False)])
def test_the_gradient_is_that_of_the_equations(
    random_folder: Path, recipe: Make, at_once: int, recomputed: bool
) -> None:
    policy = LocalPolicy(random_folder, device="cpu", gradient_checkpointing=recomputed)
    figures = Learner(policy, recipe("optimiser.max_gradient_norm=1e9", f"tokens_at_once={at_once}")).learn(batch())
    expected = reference(LocalPolicy(random_folder, device="cpu"), batch())
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in expected))
    for weight, gradient in zip(policy.trainable().values(), expected, strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad.double(), gradient, atol=1e-5 * norm, rtol=1e-3)
    assert figures["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert (figures["groups"], figures["groups_without_gradient"]) == (3, 1)
    assert (figures["rows"], figures["different_rows"]) == (10, 9)
    # Eq. 4 at ratio 1: minus the weighted sum of the advantages.
    assert figures["advantage/x"] == pytest.approx((2 + 1 + 1) / 9 / math.sqrt(1 / 3), rel=1e-5)
    y = math.sqrt(0.296875 / 3)
    by_hand = (4 * 2 - 3 - 6) / 3 / math.sqrt(1 / 3) / 39 + (-1 + 6) * 0.375 / y / 21
    assert figures["loss"] == pytest.approx(-by_hand, rel=1e-4)


def test_aepo_silences_what_did_badly(random_folder: Path, recipe: Make) -> None:
    policy = LocalPolicy(random_folder, device="cpu")
    told = recipe("optimiser.max_gradient_norm=1e9", "aepo.enabled=true", "aepo.low=0.001", "aepo.high=0.01")
    learner = Learner(policy, told)
    figures = learner.learn(batch())
    assert figures["entropy"] > 0.01 and figures["masking"] == 1.0
    assert figures["silenced"] == pytest.approx(3 / 7)
    expected = reference(LocalPolicy(random_folder, device="cpu"), batch(), silenced=(1, 2, 3))
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in expected))
    for weight, gradient in zip(policy.trainable().values(), expected, strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad.double(), gradient, atol=1e-5 * norm, rtol=1e-3)
    assert learner.state_dict()["controller"]["aepo"]["masking"] is True


def test_clipping_leaves_negative_gradients_out(policy: LocalPolicy, recipe: Make) -> None:
    sure = Learner(policy, recipe("clipping.level=sequence", "clipping.threshold=0", "optimiser.max_gradient_norm=1e9"))
    loss = sure.learn(batch())["loss"]
    y = math.sqrt(0.296875 / 3)
    # Only the two attempts with a positive advantage are left.
    assert loss == pytest.approx(-(4 * 2 / 3 / math.sqrt(1 / 3) / 39 + 6 * 0.375 / y / 21), rel=1e-4)


def test_equal_rewards_change_nothing(policy: LocalPolicy, recipe: Make) -> None:
    before = {name: weight.detach().clone() for name, weight in policy.trainable().items()}
    learner = Learner(policy, recipe())
    figures = learner.learn(batch()[5:])
    assert (figures["groups_without_gradient"], figures["loss"], learner.updates) == (1, 0, 0)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.trainable().items())


@pytest.mark.parametrize("aepo", ["true", "false"])
def test_what_is_no_number_stops_before_it_spreads(policy: LocalPolicy, recipe: Make, aepo: str) -> None:
    with torch.no_grad():
        policy.model.model.layers[1].mlp.up_proj.weight[0, 0] = math.nan
    before = {name: weight.detach().clone() for name, weight in policy.trainable().items()}
    learner = Learner(policy, recipe(f"aepo.enabled={aepo}"))
    with pytest.raises(DivergedError, match="nan"):
        learner.learn(batch())
    for name, weight in policy.trainable().items():
        assert torch.equal(weight.nan_to_num(), before[name].nan_to_num())


def test_memory_that_does_not_suffice_is_told(
    policy: LocalPolicy, recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**told: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(policy.decoder, "forward", full)
    with pytest.raises(MemoryExhausted, match=r"CUDA out of memory.*\nlower tokens_at_once"):
        Learner(policy, recipe()).learn(batch())


async def test_it_wins_a_game(bigram: Bigram, recipe: Make) -> None:
    policy = LocalPolicy(bigram({}), device="cpu")
    # The head alone: Adam takes full steps on whatever gradient there is, and so would bend the rest at random.
    for name, weight in policy.model.named_parameters():
        weight.requires_grad_(name == "lm_head.weight")
    engine, learner = LocalEngine(policy), Learner(policy, recipe("optimiser.learning_rate=0.02"))
    shares = []
    for round_ in range(6):
        asked = [
            Request(Prompt("<ans>"), Sampling(1, temperature=0.7, seed=100 * round_ + seed), want_ids=True)
            for seed in range(16)
        ]
        played = [
            Trajectory(
                "game", "game",
                (Step(completion.prompt_ids, completion.token_ids, completion.logprobs),),
                float(completion.text == "B"),
            )
            for completion in await engine.complete(asked)
        ]  # fmt: skip
        shares.append(sum(trajectory.reward for trajectory in played) / 16)
        gap = learner.learn(played)["logprob_gap"]
        assert abs(gap) < 1e-4
    assert 0.2 < shares[0] < 0.8 and shares[-1] > 0.9


def test_the_state_carries_all_that_the_next_update_needs(random_folder: Path, recipe: Make) -> None:
    told = recipe("aepo.enabled=true", "aepo.low=0.001", "aepo.high=0.01", "optimiser.warmup=3")
    learner = Learner(LocalPolicy(random_folder, device="cpu"), told)
    learner.learn(batch())
    other = Learner(LocalPolicy(random_folder, device="cpu"), told)
    kept = BytesIO()
    torch.save(learner.state_dict(), kept)
    other.load_state_dict(torch.load(BytesIO(kept.getvalue()), weights_only=True))
    assert other.learn(batch()) == learner.learn(batch())
    for one, same in zip(learner.policy.trainable().values(), other.policy.trainable().values(), strict=True):
        assert torch.equal(one, same)


def test_adapters_learn_and_are_merged(random_folder: Path, recipe: Make, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    told = recipe("lora.rank=4", "lora.targets=['q_proj', 'up_proj']")
    policy = LocalPolicy(random_folder, device="cpu", lora=told.lora)
    assert 0 < sum(weight.numel() for weight in policy.trainable().values()) < 3_000
    assert all("lora" in name for name in policy.trainable())
    learner = Learner(policy, told)
    learner.learn(batch())
    learner.learn(batch())
    ids = torch.tensor([list(b"abcdef")])
    targets = torch.ones_like(ids, dtype=torch.bool)
    targets[:, 0] = False
    with torch.no_grad():
        adapted = policy.scores(ids, targets, 1.0)[0]
        start = LocalPolicy(random_folder, device="cpu").scores(ids, targets, 1.0)[0]
        saved = LocalPolicy(policy.save(tmp_path / "policy"), device="cpu")
        again = saved.scores(ids, targets, 1.0)[0]
    assert (adapted - start).abs().max() > 1e-4
    assert torch.allclose(adapted, again, atol=1e-5)
    assert set(saved.trainable()) == set(LocalPolicy(random_folder, device="cpu").trainable())
