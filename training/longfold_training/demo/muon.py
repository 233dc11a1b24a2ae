"""Muon in float32: momentum, then the update's nearest orthogonal matrix by Newton-Schulz steps. Knows no model.

Same rule as `torch.optim.Muon`, which takes these products in bfloat16: on CPUs without bfloat16 units that costs a
quarter of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic that drives singular values towards one in five steps (Jordan et al. 2024)."""


def orthogonalise(update: Tensor, steps: int = 5) -> Tensor:
    """Approximate U V^T of update = U S V^T; (..., rows, columns)."""
    wide = update.shape[-2] <= update.shape[-1]
    x: Tensor = update if wide else update.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon over matrices of one shape or of several; equal shapes are orthogonalised together."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault((min(matrix.shape), max(matrix.shape)), []).append(matrix)
            for shape, matrices in by_shape.items():
                # The scale that gives the update the size of an AdamW update (Liu et al. 2025).
                rate = group["lr"] * 0.2 * math.sqrt(shape[1])
                updates = torch.stack([self._momentum(matrix, group["momentum"], shape) for matrix in matrices])
                for matrix, update in zip(matrices, orthogonalise(updates), strict=True):
                    matrix.sub_(update if tuple(matrix.shape) == shape else update.mT, alpha=rate)

    def _momentum(self, matrix: Tensor, momentum: float, shape: tuple[int, int]) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        average: Tensor = state["momentum_buffer"]
        assert matrix.grad is not None
        average.lerp_(matrix.grad, 1 - momentum)
        update = matrix.grad.lerp(average, momentum)
        return update if tuple(matrix.shape) == shape else update.mT
