"""Sampling from a local policy, as an engine of the agent. Knows no rollouts, profiles or rewards.

Prompts that are equal are read once, which in a group of attempts at one question most are. What a request samples
depends on the policy, its prompt and its seed; the batch it is in changes it only where rounding decides.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from longfold_agent.errors import EngineRejected
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion, Sampling
from longfold_training.engines.encoding import check_room, completion, encode
from longfold_training.engines.local.policy import LocalPolicy, enough_memory
from longfold_training.errors import DivergedError


class LocalEngine:
    """A `longfold_agent.protocols.Engine` over a policy in this process.

    tokens_at_once: padded tokens, prompt and reply, that are in memory together.

    A sampled request (temperature above 0) needs a seed, so that a run that is repeated samples the same.
    """

    def __init__(self, policy: LocalPolicy, *, tokens_at_once: int = 16_384) -> None:
        self.policy = policy
        self.tokens_at_once = tokens_at_once

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions in the order of the requests, always with ids and log-probabilities.

        A log-probability (nats) is of the distribution at the request's temperature before top-p cuts it; of a greedy
        token, at temperature 1. Raises `ContextOverflow` for a prompt that leaves no room in the window,
        `EngineRejected` for stop strings and for sampling without a seed, `DivergedError` for weights whose
        probabilities are no numbers, `MemoryExhausted` where `tokens_at_once` are too many.
        """
        asked: dict[tuple[int, ...], list[int]] = {}
        for number, request in enumerate(requests):
            asked.setdefault(tuple(self._checked(request)), []).append(number)
        done: dict[int, Completion] = {}
        for batch in self._batches(asked, requests):
            prompts = list(batch)
            rows = [_Row(number, requests[number].sampling) for prompt in prompts for number in batch[prompt]]
            owners = [place for place, prompt in enumerate(prompts) for _ in batch[prompt]]
            with enough_memory():
                self._run(prompts, owners, rows)
            for row, owner in zip(rows, owners, strict=True):
                done[row.number] = completion(
                    self.policy.tokenizer, row.sampling, self.policy.stops, prompts[owner], row.tokens, row.logprobs
                )
        return [done[number] for number in range(len(requests))]

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """The whole reply at once."""
        (completion,) = await self.complete([request])
        yield Delta(completion.text)
        yield Delta(completion=completion)

    async def window(self) -> int:
        return self.policy.window

    async def aclose(self) -> None:
        """Nothing is held that the policy does not hold."""

    def _checked(self, request: Request) -> list[int]:
        sampling = request.sampling
        if sampling.stop:
            raise EngineRejected("the local engine knows stop tokens, not stop strings")
        if sampling.temperature > 0 and sampling.seed is None:
            raise EngineRejected("the local engine samples with a seed only")
        ids = encode(self.policy.tokenizer, request)
        check_room(ids, sampling, self.policy.window)
        return ids

    def _batches(
        self, asked: dict[tuple[int, ...], list[int]], requests: Sequence[Request]
    ) -> Iterator[dict[tuple[int, ...], list[int]]]:
        """Prompts of like length together, so that little is padded, with their requests' numbers; each batch fits, or
        is one request. A prompt whose requests do not fit together comes in several batches, and is read in each."""
        batch: dict[tuple[int, ...], list[int]] = {}
        rows = longest = 0
        for prompt in sorted(asked, key=lambda ids: (len(ids), ids)):
            length = len(prompt) + max(requests[number].sampling.max_tokens for number in asked[prompt])
            room = max(1, self.tokens_at_once // length)
            for start in range(0, len(asked[prompt]), room):
                numbers = asked[prompt][start : start + room]
                if batch and (rows + len(numbers)) * max(longest, length) > self.tokens_at_once:
                    yield batch
                    batch, rows, longest = {}, 0, 0
                batch.setdefault(prompt, []).extend(numbers)
                rows, longest = rows + len(numbers), max(longest, length)
        if batch:
            yield batch

    @torch.no_grad()
    def _run(self, prompts: Sequence[Sequence[int]], owners: Sequence[int], rows: Sequence[_Row]) -> None:
        """Sample every row's reply into it."""
        policy, device = self.policy, self.policy.device
        policy.model.eval()
        longest = max(map(len, prompts))
        tokens = torch.full((len(prompts), longest), policy.pad)
        seen = torch.zeros(len(prompts), longest, dtype=torch.long)
        for place, prompt in enumerate(prompts):
            tokens[place, longest - len(prompt) :] = torch.tensor(prompt)
            seen[place, longest - len(prompt) :] = 1
        tokens, seen = tokens.to(device), seen.to(device)
        positions = (seen.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache()
        logits = self._logits(tokens, seen, positions, cache)
        # From prompts to rows: a row per request on a copy of its prompt's cache.
        index = torch.tensor(owners, device=device)
        cache.batch_select_indices(index)
        logits, seen, positions = logits[index], seen[index], positions[index][:, -1:]
        draws = _Draws(rows, policy, logits.shape[-1])
        live = list(rows)
        while True:
            sampled, logprobs = draws.take(logits, live)
            for row, token, logprob in zip(live, sampled.tolist(), logprobs.tolist(), strict=True):
                if not math.isfinite(logprob):
                    raise DivergedError(f"the policy's log-probabilities are no numbers: {logprob}")
                row.tokens.append(token)
                row.logprobs.append(logprob)
                row.ended = token in policy.stops or token in row.sampling.stop_token_ids
            going = [
                place for place, row in enumerate(live) if not row.ended and len(row.tokens) < row.sampling.max_tokens
            ]
            if not going:
                return
            if len(going) < len(live):
                kept = torch.tensor(going, device=device)
                cache.batch_select_indices(kept)
                sampled, seen, positions = sampled[kept], seen[kept], positions[kept]
                draws.keep(kept)
                live = [live[place] for place in going]
            seen = torch.cat((seen, seen.new_ones(len(live), 1)), 1)
            positions = positions + 1
            logits = self._logits(sampled[:, None], seen, positions, cache)

    def _logits(self, tokens: Tensor, seen: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """(rows, vocabulary) float32 logits after the last token; `cache` grows by the tokens."""
        policy = self.policy
        with policy.arithmetic():
            hidden = policy.decoder(
                input_ids=tokens, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state[:, -1]
            logits: Tensor = policy.head(hidden)
        return logits.float()


@dataclass(slots=True)
class _Row:
    """One request's reply as it grows."""

    number: int
    sampling: Sampling
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


class _Draws:
    """Next tokens of all rows by inverse transform: one uniform number a token, from the row's own seed."""

    def __init__(self, rows: Sequence[_Row], policy: LocalPolicy, vocabulary: int) -> None:
        device = policy.device
        temperatures = torch.tensor([row.sampling.temperature for row in rows], device=device)
        self.greedy = temperatures == 0
        self.temperatures = torch.where(self.greedy, 1.0, temperatures)[:, None]
        self.top_p = torch.tensor([row.sampling.top_p for row in rows], device=device)[:, None]
        self.bias: Tensor | None = None
        if any(row.sampling.logit_bias for row in rows):
            self.bias = torch.zeros(len(rows), vocabulary)
            for place, row in enumerate(rows):
                for token, amount in row.sampling.logit_bias.items():
                    self.bias[place, token] = amount
            self.bias = self.bias.to(device)
        most = max(row.sampling.max_tokens for row in rows)
        self.uniform = torch.stack([_uniform(row.sampling.seed, most) for row in rows]).to(device)

    def keep(self, rows: Tensor) -> None:
        self.greedy, self.temperatures, self.top_p = self.greedy[rows], self.temperatures[rows], self.top_p[rows]
        self.uniform = self.uniform[rows]
        self.bias = None if self.bias is None else self.bias[rows]

    def take(self, logits: Tensor, live: Sequence[_Row]) -> tuple[Tensor, Tensor]:
        """(rows,) ids and log-probabilities. All live rows have sampled equally many tokens."""
        if self.bias is not None:
            logits = logits + self.bias
        logprobs = (logits / self.temperatures).log_softmax(-1)
        best = logits.argmax(-1)
        if bool(self.greedy.all()):
            chosen = best
        else:
            ordered, ids = logprobs.exp().sort(-1, descending=True)
            sums = ordered.double().cumsum(-1)
            # The smallest head whose probability reaches top_p: the token that crosses it belongs to it.
            head = torch.where(sums - ordered < self.top_p, ordered.double(), 0.0).cumsum(-1)
            drawn = self.uniform[:, len(live[0].tokens), None] * head[:, -1:]
            # The first place whose running sum is above the draw; a draw rounded up to the last sum stays in the head.
            place = torch.searchsorted(head, drawn, right=True)
            place = torch.minimum(place, (sums - ordered < self.top_p).sum(-1, keepdim=True) - 1).clamp(min=0)
            chosen = torch.where(self.greedy, best, ids.gather(-1, place).squeeze(-1))
        return chosen, logprobs.gather(-1, chosen[:, None]).squeeze(-1)


def _uniform(seed: int | None, count: int) -> Tensor:
    """(count,) float64 numbers in [0, 1) of a seed; zeros for a greedy row, which needs none."""
    if seed is None:
        return torch.zeros(count, dtype=torch.float64)
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
