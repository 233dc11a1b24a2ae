"""The demo policy's network: the Qwen3 architecture in plain torch, parameter names as transformers writes them. Knows
no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; the defaults are the shipped policy's."""

    vocabulary: int = 4096
    width: int = 192
    layers: int = 6
    heads: int = 4
    head: int = 64
    inner: int = 512
    theta: float = 1e6
    epsilon: float = 1e-6


class Norm(nn.Module):
    """Root-mean-square normalisation over the last axis."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.width = width
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (self.width,), self.weight.to(x.dtype), self.epsilon)


Cache = list[tuple[Tensor, Tensor] | None]


class Attention(nn.Module):
    """Attention with normalised queries and keys and rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inner = shape.heads * shape.head
        self.q_proj = nn.Linear(shape.width, inner, bias=False)
        self.k_proj = nn.Linear(shape.width, inner, bias=False)
        self.v_proj = nn.Linear(shape.width, inner, bias=False)
        self.o_proj = nn.Linear(inner, shape.width, bias=False)
        self.q_norm = Norm(shape.head, shape.epsilon)
        self.k_norm = Norm(shape.head, shape.epsilon)

    def forward(
        self, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        """x: (rows, length, width); mask: additive, broadcastable to (rows, heads, length, seen length), None =
        causal."""
        rows, length, _ = x.shape
        split = (rows, length, self.shape.heads, self.shape.head)
        q = _turn(self.q_norm(self.q_proj(x).view(split)).transpose(1, 2), turns)
        k = _turn(self.k_norm(self.k_proj(x).view(split)).transpose(1, 2), turns)
        v = self.v_proj(x).view(split).transpose(1, 2)
        if cache is not None:
            before = cache[layer]
            if before is not None:
                k, v = torch.cat((before[0], k), 2), torch.cat((before[1], v), 2)
            cache[layer] = (k, v)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and length > 1)
        mixed: Tensor = self.o_proj(out.transpose(1, 2).reshape(rows, length, -1))
        return mixed


def _turn(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    half = x.shape[-1] // 2
    cosine, sine = turns
    return x * cosine + torch.cat((-x[..., half:], x[..., :half]), -1) * sine


class Perceptron(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.inner, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.inner, bias=False)
        self.down_proj = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = Perceptron(shape)
        self.input_layernorm = Norm(shape.width, shape.epsilon)
        self.post_attention_layernorm = Norm(shape.width, shape.epsilon)

    def forward(
        self, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turns, mask, cache, layer)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Policy(nn.Module):
    """Token ids to hidden states to logits; input and output embeddings are one matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.epsilon)

    @property
    def blocks(self) -> list[Layer]:
        """The layers in order, with the type that `ModuleList` forgets."""
        return [cast(Layer, layer) for layer in self.layers]

    def turns(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Rotary cosines and sines, (rows, 1, length, head)."""
        half = self.shape.head // 2
        rates = self.shape.theta ** (-torch.arange(half).float() / half)
        angles = positions.float()[..., None] * rates
        angles = torch.cat((angles, angles), -1)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        between: list[Tensor] | None = None,
    ) -> Tensor:
        """(rows, length) ids -> (rows, length, width) states after the last norm.

        between: given a list, the states after each layer are added to it.
        """
        x = self.embed_tokens(tokens)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        if positions is None:
            positions = torch.arange(tokens.shape[1])[None]
        turns = self.turns(positions, x.dtype)
        for number, layer in enumerate(self.blocks):
            x = layer(x, turns, mask, cache, number)
            if between is not None:
                between.append(x)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embed_tokens.weight.to(hidden.dtype)).float()

    def new_cache(self) -> Cache:
        return [None] * self.shape.layers


def parameters(shape: Shape) -> int:
    """Number of parameters of a policy of this shape."""
    inner = shape.heads * shape.head
    layer = 4 * shape.width * inner + 3 * shape.width * shape.inner + 2 * shape.width + 2 * shape.head
    return shape.vocabulary * shape.width + shape.layers * layer + shape.width
