"""Log-probabilities and entropies agree with float64 arithmetic written out, and Eq. 11 averages over responses."""

from __future__ import annotations

import math

import pytest
import torch

from longfold_training.core import entropy
from longfold_training.core.entropy import batch_entropy, token_entropies, token_logprobs, trajectory_entropies
from longfold_training.errors import DataError


def plain(logits: list[float], temperature: float) -> tuple[list[float], float]:
    """Log-probabilities and entropy of one position."""
    exponents = [math.exp(logit / temperature) for logit in logits]
    logs = [math.log(exponent / math.fsum(exponents)) for exponent in exponents]
    return logs, -math.fsum(math.exp(log) * log for log in logs)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_against_float64(temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "_PIECE", 4)  # 15 positions in pieces of 4
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 5, 11, generator=generator) * 3
    tokens = torch.randint(11, (3, 5), generator=generator)
    logprobs, entropies = token_logprobs(logits, tokens, temperature), token_entropies(logits, temperature)
    assert logprobs.shape == entropies.shape == (3, 5)
    for row in range(3):
        for at in range(5):
            logs, expected = plain(logits[row, at].tolist(), temperature)
            assert logprobs[row, at].item() == pytest.approx(logs[tokens[row, at]], abs=1e-5)
            assert entropies[row, at].item() == pytest.approx(expected, abs=1e-5)


def test_the_ends_of_the_scale() -> None:
    uniform, sure = torch.zeros(1, 8), torch.tensor([[0.0, -math.inf, -math.inf]])
    assert token_entropies(uniform).item() == pytest.approx(math.log(8))
    assert token_entropies(sure).item() == 0


def test_half_precision_logits_are_computed_in_full() -> None:
    logits = (torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 5).bfloat16()
    assert token_entropies(logits).dtype == torch.float32
    torch.testing.assert_close(token_entropies(logits), token_entropies(logits.float()))


def test_logprobs_pass_a_gradient_and_entropies_none() -> None:
    logits = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    token_logprobs(logits, torch.tensor([1, 4]), 0.5).sum().backward()
    # d log pi(y) / d logit = (1[y] - pi) / T
    expected = (torch.nn.functional.one_hot(torch.tensor([1, 4]), 6) - torch.softmax(logits / 0.5, -1)) / 0.5
    torch.testing.assert_close(logits.grad, expected.detach())
    assert not token_entropies(logits).requires_grad


def test_eq_11_averages_over_responses_not_over_tokens() -> None:
    # Trajectory 0 has rows of 1 and 2 tokens, trajectory 1 has one of 1. What the mask hides must not count.
    entropies = torch.tensor([[1.0, 9.0, 9.0], [2.0, 3.0, 9.0], [8.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 0]])
    means = trajectory_entropies(entropies, mask, torch.tensor([0, 0, 1]), 2)
    assert means.tolist() == [2.0, 8.0]
    assert batch_entropy(means) == 5.0  # over tokens it would be 3.5


def test_a_value_that_the_mask_hides_may_be_anything() -> None:
    entropies = torch.tensor([[1.0, math.nan]])
    assert trajectory_entropies(entropies, torch.tensor([[True, False]]), torch.tensor([0]), 1).tolist() == [1.0]


def test_a_trajectory_without_tokens_has_no_entropy() -> None:
    with pytest.raises(DataError, match="no completion token"):
        trajectory_entropies(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([0]), 2)
