"""Log-probabilities and entropies from logits, and their means up to Eq. 11. Knows no model and no policy gradient.

Logits are divided by the sampling temperature first, as both engines do: the entropy is that of the distribution that
was sampled from (before top-p cut its tail), and thresholds on it hold for one temperature only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longfold_training.errors import DataError

_PIECE = 1024
"""Positions whose probabilities exist at once: with a vocabulary of 152K, 0.6 GB in float32 instead of 31 GB for a
completion of 50K tokens."""


def token_logprobs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability (nats) of each token; differentiable.

    Args:
        logits: (..., vocabulary), the model's output at the position before each token.
        tokens: (...) ids.
        temperature: The sampling temperature.

    Returns:
        (...) float32.
    """
    scaled = logits.float() / temperature
    chosen = scaled.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return chosen - scaled.logsumexp(-1)


@torch.no_grad()
def token_entropies(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy (nats) of the distribution at each position: H(t|i) of Eq. 9; no gradient, in pieces of bounded memory.

    Args:
        logits: (..., vocabulary); -inf marks a token that cannot come.
        temperature: The sampling temperature.

    Returns:
        (...) float32, between 0 and log(vocabulary).
    """
    flat = logits.reshape(-1, logits.shape[-1])
    pieces = [
        torch.special.entr(torch.softmax(piece.float() / temperature, dim=-1)).sum(-1)
        for piece in torch.split(flat, _PIECE)
    ]
    return torch.cat(pieces).view(logits.shape[:-1])


def trajectory_entropies(entropies: Tensor, mask: Tensor, owners: Tensor, count: int) -> Tensor:
    """Mean token entropy of each trajectory, over the completion tokens of all its rows: the response's entropy of
    Eq. 10 and 11.

    Args:
        entropies: (rows, tokens), nats.
        mask: (rows, tokens), true at completion tokens.
        owners: (rows,) position of each row's trajectory, below `count`.
        count: Trajectories in the batch.

    Returns:
        (count,) float64, nats.

    Raises:
        DataError: A trajectory has no completion token in any row.
    """
    sums = torch.zeros(count, dtype=torch.float64, device=entropies.device)
    tokens = torch.zeros_like(sums)
    sums.index_add_(0, owners, entropies.double().masked_fill(~mask.bool(), 0.0).sum(-1))
    tokens.index_add_(0, owners, mask.bool().sum(-1).double())
    if bool((tokens == 0).any()):
        raise DataError("a trajectory has no completion token in the rows, so its entropy is undefined")
    return sums / tokens


def batch_entropy(of_trajectories: Tensor) -> float:
    """H(pi, B) of Eq. 11: the mean over responses of their mean token entropy (not the mean over tokens), nats."""
    return float(of_trajectories.mean())
