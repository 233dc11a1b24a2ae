"""Data-free initialisation: copying circuits are written into the first layers instead of being found by training.
Knows no text.

A policy that answers by copying needs two kinds of heads that training from random weights finds late: heads that look
at the token one or two places back, and heads that look for the place where the present tokens stood before and bring
what followed. Both are simple functions of embedding and position, so they can be written down. The residual stream is
split into three registers of equal rank: the token itself, the token before it and the token two before it; one
constant coordinate lets position alone decide the first layer's heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from longfold_training.demo.model import Attention, Policy

_EMBEDDING = 0.12
"""Scale of the embedding rows; large beside the layers' early outputs, so that registers stay clean."""


def initialise(policy: Policy, seed: int) -> None:
    """Overwrite the weights of `policy` in place; the same seed gives the same weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _random(policy, generator)
        _structured(policy, generator)


def _random(policy: Policy, generator: torch.Generator) -> None:
    depth = math.sqrt(2 * policy.shape.layers)
    for name, weight in policy.named_parameters():
        if weight.dim() < 2:
            weight.fill_(1.0)
            continue
        weight.normal_(0.0, 0.7 / math.sqrt(weight.shape[1]), generator=generator)
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.mul_(0.15 / depth)


def _structured(policy: Policy, generator: torch.Generator) -> None:
    shape = policy.shape
    half = shape.head // 2
    rank = min(shape.head - 4, (shape.width - 8) // 3)
    basis, _ = torch.linalg.qr(torch.randn(shape.width - 1, shape.width - 1, generator=generator))
    basis = torch.cat([torch.zeros(shape.width - 1, 1), basis], 1)
    token, back_one, back_two = basis[:rank], basis[rank : 2 * rank], basis[2 * rank : 3 * rank]
    rates = shape.theta ** (-torch.arange(half).float() / half)
    # Slowly turning pairs carry content, since position hardly changes them; quickly turning pairs carry position.
    slow = [i for i in range(half) if rates[i] < 0.006]
    quick = [i for i in range(half) if rates[i] > 0.05]
    embedding = policy.embed_tokens.weight
    rows = torch.randn(shape.vocabulary, rank, generator=generator) @ token * _EMBEDDING * math.sqrt(shape.width / rank)
    embedding.copy_(rows + 0.01 * torch.randn(embedding.shape, generator=generator))
    embedding[:, 0] = _EMBEDDING * math.sqrt(shape.width) * 0.6
    first = policy.blocks[0].self_attn
    for head, (offset, register) in enumerate(((1, back_one), (2, back_two))):
        _look_back(first, head, offset, register, token, rates, quick, shape.head)
    first.q_norm.weight.mul_(1.7)
    first.k_norm.weight.mul_(1.5)
    for layer in policy.blocks[1:]:
        layer.self_attn.q_norm.weight.mul_(1.4)
        layer.self_attn.k_norm.weight.mul_(1.4)
    _match(policy, token, back_one, back_two, slow, rank)


def _look_back(
    attention: Attention,
    head: int,
    offset: int,
    register: Tensor,
    token: Tensor,
    rates: Tensor,
    quick: list[int],
    size: int,
) -> None:
    """A head that sees the token `offset` places back and writes it into `register`."""
    half, rank = size // 2, token.shape[0]
    rows = slice(head * size, (head + 1) * size)
    key, query = torch.zeros(size), torch.zeros(size)
    for i in quick:
        key[i] = 1.0
        query[i], query[i + half] = math.cos(rates[i] * offset), -math.sin(rates[i] * offset)
    linear = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    q, k, v, o = (one.weight for one in linear)
    q[rows] *= 0.05
    k[rows] *= 0.05
    q[rows, 0], k[rows, 0] = 2 * query, 2 * key
    v[rows], o[:, rows] = 0.0, 0.0
    v[rows][:rank] = token
    o[:, rows][:, :rank] = register.T * _EMBEDDING * 1.5


def _match(policy: Policy, token: Tensor, back_one: Tensor, back_two: Tensor, slow: list[int], rank: int) -> None:
    """Heads that find where the present tokens stood before (layer 1 also copies what followed them)."""
    size, half, width = policy.shape.head, policy.shape.head // 2, policy.shape.width
    content = slow + [i + half for i in slow]
    used = min(len(content), rank)
    content = content[:used]
    one = slow[::2] + [i + half for i in slow[::2]]
    two = slow[1::2] + [i + half for i in slow[1::2]]
    for number, layer in enumerate(policy.blocks[1:], start=1):
        attention = layer.self_attn
        for head in range(policy.shape.heads):
            query, key = torch.zeros(size, width), torch.zeros(size, width)
            copies = 0.0
            if number == 1 and head < 2:
                start = (head * len(one)) % (rank - len(one))
                query[one], key[one] = token[start : start + len(one)], back_one[start : start + len(one)]
                query[two], key[two] = back_one[start : start + len(two)], back_two[start : start + len(two)]
                copies = 0.4
            elif number == 1 and head == 2:
                query[content], key[content] = token[:used], back_one[:used]
                copies = 0.2
            elif number == 1 or head % 2 == 1:
                query[content] = (token, back_one)[head % 2][:used]
                key = query.clone()
            else:
                continue
            rows = slice(head * size, (head + 1) * size)
            attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
            if copies:
                attention.v_proj.weight[rows] = 0.0
                attention.v_proj.weight[rows][:rank] = token
                attention.o_proj.weight[:, rows] = 0.0
                attention.o_proj.weight[:, rows][:, :rank] = token.T * copies
