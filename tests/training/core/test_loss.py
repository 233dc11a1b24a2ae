"""The objective's gradient is Eq. 4's with Eq. 7 and 8 inside, compared with a float64 policy written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor

from longfold_training.core.advantages import advantages
from longfold_training.core.clipping import Clipping, indicator
from longfold_training.core.entropy import token_entropies, token_logprobs
from longfold_training.core.loss import policy_loss, sampling_gap
from longfold_training.core.rows import expand
from longfold_training.core.trajectory import Trajectory
from longfold_training.core.weights import token_mean_factors, token_weights
from longfold_training.errors import DivergedError

Attempt = Callable[..., Trajectory]
VOCABULARY = 9


def batch_of(attempt: Attempt) -> list[Trajectory]:
    random = Random(4)
    return [
        attempt(
            group, task, random.choice((0.0, 0.25, 1.0)), [random.randint(1, 5) for _ in range(random.randint(1, 3))]
        )
        for group, task in (("a", "x"), ("b", "x"), ("c", "y"))
        for _ in range(4)
    ]


def table(seed: int = 0) -> Tensor:
    """A policy that looks at the last token only: logits by token."""
    return torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def padded(batch: list[Trajectory]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(rows, tokens) of predicting tokens, completion tokens, mask; (rows,) owners."""
    rows = expand(batch, advantages(batch), token_weights(batch))
    width = max(len(row.step.completion) for row in rows)
    before, tokens, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for at, row in enumerate(rows):
        length = len(row.step.completion)
        before[at, :length] = torch.tensor((row.step.prompt + row.step.completion)[-length - 1 : -1])
        tokens[at, :length] = torch.tensor(row.step.completion)
        mask[at, :length] = 1
    return before, tokens, mask.bool(), torch.tensor([row.owner for row in rows])


def written_out(batch: list[Trajectory], policy: Tensor, threshold: float) -> Tensor:
    """d(-J)/d(policy) with J of Eq. 4, A of Eq. 7 and I of Eq. 9, sum by sum."""
    gradient = torch.zeros_like(policy)
    groups = {trajectory.group for trajectory in batch}
    for one in batch:
        same = [other.reward for other in batch if other.group == one.group]
        task = [other.reward for other in batch if other.task == one.task]
        mean, centre = sum(same) / len(same), sum(task) / len(task)
        spread = math.sqrt(sum((reward - centre) ** 2 for reward in task) / (len(task) - 1))
        advantage = (one.reward - mean) / (spread + 1e-6)
        tokens = sum(len(step.completion) for other in batch if other.group == one.group for step in other.steps)
        for step in one.steps:
            before = (step.prompt + step.completion)[-len(step.completion) - 1 : -1]
            for last, token in zip(before, step.completion, strict=True):
                chances = torch.softmax(policy[last], 0)
                entropy = -(chances * chances.log()).sum()
                if advantage < 0 and entropy > threshold:
                    continue
                chosen = torch.zeros(VOCABULARY, dtype=torch.float64)
                chosen[token] = 1
                gradient[last] -= (chosen - chances) * advantage / (len(groups) * tokens)
    return gradient


@pytest.mark.parametrize("threshold", [1.5, math.inf])
@pytest.mark.parametrize("micro", [1, 4, 100])
def test_gradient_against_the_objective_written_out(attempt: Attempt, threshold: float, micro: int) -> None:
    batch = batch_of(attempt)
    policy = table().requires_grad_()
    before, tokens, mask, owners = padded(batch)
    values, weights = advantages(batch), token_weights(batch)
    with torch.no_grad():
        entropies = token_entropies(policy[before])
    kept = indicator(Clipping("token", threshold), values, entropies, mask, owners)
    assert bool((kept != mask).any()) == math.isfinite(threshold)
    for at in range(0, len(owners), micro):
        part = slice(at, at + micro)
        logprobs = token_logprobs(policy[before[part]], tokens[part])
        policy_loss(logprobs, values[owners[part]], weights[owners[part]], kept[part]).backward()
    torch.testing.assert_close(policy.grad, written_out(batch, table(), threshold), atol=1e-6, rtol=1e-5)


def test_a_token_mean_engine_gets_the_same_gradient_by_the_factors(attempt: Attempt) -> None:
    batch = batch_of(attempt)
    before, tokens, mask, owners = padded(batch)
    values, factors = advantages(batch), token_mean_factors(batch)
    policy = table().requires_grad_()
    logprobs = token_logprobs(policy[before], tokens)
    (-(logprobs * (values * factors)[owners].unsqueeze(-1))[mask].sum() / mask.sum()).backward()
    torch.testing.assert_close(policy.grad, written_out(batch, table(), math.inf), atol=1e-6, rtol=1e-5)


def test_the_loss_in_value_is_minus_the_weighted_advantages() -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    loss = policy_loss(logprobs, torch.tensor([2.0, -1.0]), torch.tensor([0.25, 0.5]), torch.tensor([[1, 1], [1, 0]]))
    assert loss.item() == -(2 * 0.25 * 2.0 - 0.5)
    loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.5, -0.5], [0.5, 0.0]]


def test_padding_may_hold_anything() -> None:
    logprobs = torch.tensor([[-1.0, math.nan, -math.inf]], requires_grad=True)
    policy_loss(logprobs, torch.ones(1), torch.ones(1), torch.tensor([[True, False, False]])).backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-1.0, 0.0, 0.0]]


def test_a_loss_that_is_not_a_number_stops() -> None:
    with pytest.raises(DivergedError, match="the loss is nan"):
        policy_loss(torch.tensor([[math.nan]]), torch.ones(1), torch.ones(1), torch.ones(1, 1))


def test_every_step_of_a_trajectory_carries_its_advantage(attempt: Attempt) -> None:
    batch = [attempt("a", "x", 1, (2, 1, 3)), attempt("a", "x", 0, (1,)), attempt("b", "x", 1, (2,))]
    rows = expand(batch, advantages(batch, "none"), token_weights(batch))
    assert [(row.owner, row.advantage, row.live) for row in rows] == [
        (0, 0.5, True),
        (0, 0.5, True),
        (0, 0.5, True),
        (1, -0.5, True),
        (2, 0.0, False),
    ]
    assert [row.step for row in rows] == [step for trajectory in batch for step in trajectory.steps]
    assert sum(row.weight * len(row.step.completion) for row in rows) == pytest.approx(1)


def test_the_sampling_gap_is_the_mean_difference_of_what_counts() -> None:
    trained, sampled = torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-0.5, -2.25, 9.0]])
    assert sampling_gap(trained, sampled, torch.tensor([[1, 1, 0]])) == 0.125
