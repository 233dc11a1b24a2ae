"""Sampling from a local policy, as an engine of the agent. Knows no rollouts, profiles or rewards.

Requests with the same prompt and sampling, as those of a group of attempts at one question, are one row of the network
until their replies differ. What a request samples depends on the policy, its prompt and its seed; the batch it is in
changes it only where rounding decides.
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
        asked: dict[_Asked, list[int]] = {}
        for number, request in enumerate(requests):
            asked.setdefault(_Asked(tuple(self._checked(request)), _Law.of(request.sampling)), []).append(number)
        done: dict[int, Completion] = {}
        for batch in self._batches(asked, requests):
            replies = [
                _Reply(number, requests[number].sampling, row)
                for row, numbers in enumerate(batch.values())
                for number in numbers
            ]
            with enough_memory():
                self._run(list(batch), replies)
            prompts = [one.prompt for one in batch for _ in batch[one]]
            for reply, prompt in zip(replies, prompts, strict=True):
                done[reply.number] = completion(
                    self.policy.tokenizer, reply.sampling, self.policy.stops, prompt, reply.tokens, reply.logprobs
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
        self, asked: dict[_Asked, list[int]], requests: Sequence[Request]
    ) -> Iterator[dict[_Asked, list[int]]]:
        """Prompts of like length together, so that little is padded, with their requests' numbers; each batch fits, or
        is one request. A prompt whose requests do not fit together comes in several batches, and is read in each."""
        batch: dict[_Asked, list[int]] = {}
        rows = longest = 0
        for one in sorted(asked, key=lambda one: (len(one.prompt), one)):
            length = len(one.prompt) + max(requests[number].sampling.max_tokens for number in asked[one])
            room = max(1, self.tokens_at_once // length)
            for start in range(0, len(asked[one]), room):
                numbers = asked[one][start : start + room]
                if batch and (rows + len(numbers)) * max(longest, length) > self.tokens_at_once:
                    yield batch
                    batch, rows, longest = {}, 0, 0
                batch.setdefault(one, []).extend(numbers)
                rows, longest = rows + len(numbers), max(longest, length)
        if batch:
            yield batch

    @torch.no_grad()
    def _run(self, asked: Sequence[_Asked], replies: Sequence[_Reply]) -> None:
        """Sample every reply; each begins at the row of its prompt."""
        policy, device = self.policy, self.policy.device
        policy.model.eval()
        longest = max(len(one.prompt) for one in asked)
        tokens = torch.full((len(asked), longest), policy.pad)
        seen = torch.zeros(len(asked), longest, dtype=torch.long)
        for row, one in enumerate(asked):
            tokens[row, longest - len(one.prompt) :] = torch.tensor(one.prompt)
            seen[row, longest - len(one.prompt) :] = 1
        tokens, seen = tokens.to(device), seen.to(device)
        positions = (seen.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache()
        logits = self._logits(tokens, seen, positions, cache)
        positions = positions[:, -1:]
        laws = [one.law for one in asked]
        uniform = {reply.number: _uniform(reply.sampling) for reply in replies}
        live, said = list(replies), 0
        while True:
            drawn = torch.stack([uniform[reply.number][said] for reply in live]).to(device)
            rows = torch.tensor([reply.row for reply in live], device=device)
            sampled, logprobs = _draw(logits, laws, rows, drawn)
            said += 1
            for reply, token, logprob in zip(live, sampled.tolist(), logprobs.tolist(), strict=True):
                if not math.isfinite(logprob):
                    raise DivergedError(f"the policy's log-probabilities are no numbers: {logprob}")
                reply.tokens.append(token)
                reply.logprobs.append(logprob)
            live = [reply for reply in live if not self._ended(reply)]
            if not live:
                return
            # Replies that have said the same go on as one row.
            following: dict[tuple[int, int], int] = {}
            for reply in live:
                reply.row = following.setdefault((reply.row, reply.tokens[-1]), len(following))
            before = [row for row, _ in following]
            if before != list(range(len(laws))):
                index = torch.tensor(before, device=device)
                cache.batch_select_indices(index)
                seen, positions = seen[index], positions[index]
                laws = [laws[row] for row in before]
            seen = torch.cat((seen, seen.new_ones(len(laws), 1)), 1)
            positions = positions + 1
            tokens = torch.tensor([[token] for _, token in following], device=device)
            logits = self._logits(tokens, seen, positions, cache)

    def _ended(self, reply: _Reply) -> bool:
        token, sampling = reply.tokens[-1], reply.sampling
        stopped = token in self.policy.stops or token in sampling.stop_token_ids
        return stopped or len(reply.tokens) == sampling.max_tokens

    def _logits(self, tokens: Tensor, seen: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """(rows, vocabulary) float32 logits after the last token; `cache` grows by the tokens."""
        policy = self.policy
        with policy.arithmetic():
            hidden = policy.decoder(
                input_ids=tokens, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state[:, -1]
            logits: Tensor = policy.head(hidden)
        return logits.float()


@dataclass(frozen=True, slots=True, order=True)
class _Law:
    """What makes a token's distribution of logits."""

    temperature: float
    top_p: float
    bias: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, sampling: Sampling) -> _Law:
        return cls(sampling.temperature, sampling.top_p, tuple(sorted(sampling.logit_bias.items())))


@dataclass(frozen=True, slots=True, order=True)
class _Asked:
    """What one row of the network can answer."""

    prompt: tuple[int, ...]
    law: _Law


@dataclass(slots=True)
class _Reply:
    """One request's reply as it grows."""

    number: int
    sampling: Sampling
    row: int
    """Of the network's batch, shared by the replies that have said the same so far."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


def _draw(logits: Tensor, laws: Sequence[_Law], rows: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Next tokens by inverse transform, each by its number in [0, 1) from the distribution of its row.

    logits: (rows of the network, vocabulary); laws: theirs. rows, uniform: (replies,). Returns (replies,) ids and
    log-probabilities.
    """
    if any(law.bias for law in laws):
        logits = logits.clone()
        for row, law in enumerate(laws):
            for token, amount in law.bias:
                logits[row, token] += amount
    temperatures = torch.tensor([law.temperature for law in laws], device=logits.device)
    greedy = temperatures == 0
    logprobs = (logits / torch.where(greedy, 1.0, temperatures)[:, None]).log_softmax(-1)
    chosen = logits.argmax(-1)[rows]
    if not bool(greedy.all()):
        top_p = torch.tensor([law.top_p for law in laws], device=logits.device)[:, None]
        ordered, ids = logprobs.exp().sort(-1, descending=True)
        sums = ordered.double().cumsum(-1)
        # The smallest head whose probability reaches top_p: the token that crosses it belongs to it.
        inside = sums - ordered < top_p
        head = torch.where(inside, ordered.double(), 0.0).cumsum(-1)
        # The first place whose running sum is above the draw; a draw rounded up to the last sum stays in the head.
        place = torch.searchsorted(head[rows], uniform[:, None] * head[rows, -1:], right=True)
        place = torch.minimum(place, inside.sum(-1, keepdim=True)[rows] - 1).clamp(min=0)
        chosen = torch.where(greedy[rows], chosen, ids[rows].gather(-1, place).squeeze(-1))
    return chosen, logprobs[rows, chosen]


def _uniform(sampling: Sampling) -> Tensor:
    """(max_tokens,) float64 numbers in [0, 1) of a request's seed; zeros for a greedy one, which needs none."""
    if sampling.seed is None:
        return torch.zeros(sampling.max_tokens, dtype=torch.float64)
    seeded = torch.Generator().manual_seed(sampling.seed)
    return torch.rand(sampling.max_tokens, dtype=torch.float64, generator=seeded)
