"""The objective of Eq. 4 on rows, and how far the sampler strays from the trained model. Knows no advantages' origin.

The recipe takes one update per batch, so the ratio to the sampling policy is 1 in value, clipping never acts, and
beta_KL is 0: what is left is the weighted policy gradient.
"""

from __future__ import annotations

from torch import Tensor

from longfold_training.errors import DivergedError


def policy_loss(logprobs: Tensor, advantages: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """-sum over tokens of weight x ratio x advantage, with ratio = exp(log pi - stopped log pi) = 1.

    Summed, not averaged: the weights already divide, so rows may come in any number of micro-batches and their
    gradients add up to that of the whole batch.

    Args:
        logprobs: (rows, tokens) log-probabilities (nats) under the model being trained, with gradient.
        advantages: (rows,), that of each row's trajectory.
        weights: (rows,), Eq. 4 weight of each completion token.
        mask: (rows, tokens), true where a token's term counts: completion tokens that no indicator silences.

    Returns:
        Scalar; its gradient is that of Eq. 4.

    Raises:
        DivergedError: The loss is not finite.
    """
    counted = mask.bool()
    # Filled before the exponential: a stray NaN at a padding position would otherwise come back through its gradient.
    known = logprobs.masked_fill(~counted, 0.0)
    ratio = (known - known.detach()).exp()
    loss = -(ratio * counted * (weights * advantages).to(ratio.dtype).unsqueeze(-1)).sum()
    if not bool(loss.isfinite()):
        raise DivergedError(f"the loss is {loss.item()}")
    return loss


def sampling_gap(logprobs: Tensor, sampled: Tensor, mask: Tensor) -> float:
    """Mean of log mu - log pi over completion tokens (nats): an estimate of KL(sampler mu || trained policy pi).

    Near 0 while the engine computes what the trainer computes, at the same temperature. With top-p below 1 it is no
    longer an estimate of a divergence (samples come from the head only), but still 0 where both agree.

    Args:
        logprobs: (rows, tokens) under the trained model before the update.
        sampled: (rows, tokens) as the engine gave them.
        mask: (rows, tokens), true at completion tokens, at least one.
    """
    completion = mask.bool()
    return float((sampled - logprobs.detach())[completion].double().mean())
