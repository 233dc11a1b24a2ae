"""The reading loop in torch: many questions on one document read each chunk side by side. Knows no engine and no
scoring.

For quick work during training. What is served is measured through an engine with the agent's own loop, see
`evaluate.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from longfold_agent.fold import REREADS
from longfold_agent.profiles import demo as prompt
from longfold_training.demo.model import Cache, Policy

_HIDDEN = -1e4


@dataclass(slots=True)
class State:
    """Where one question stands."""

    question: str
    memory: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """One decision to keep or write."""

    margin: float
    """Logit of <keep> minus the best other logit."""
    before: str
    after: str


class Reader:
    """Greedy reading and answering with a policy."""

    def __init__(self, policy: Policy, tokenizer: Tokenizer, keep_bias: float = 0.0) -> None:
        self.policy = policy
        self.tokenizer = tokenizer
        self.keep_bias = keep_bias

    @torch.no_grad()
    def read(self, text: str, states: Sequence[State]) -> list[Gate]:
        """Read one chunk for every question, in place; again while there may be more in it."""
        text = prompt.shown_text(text)
        gates = self._read(text, states)
        again = [state for state, gate in zip(states, gates, strict=True) if _again(state, gate)]
        for _ in range(REREADS):
            if not again:
                break
            again = [state for state, gate in zip(again, self._read(text, again), strict=True) if _again(state, gate)]
        return [replace(gate, after=state.memory) for gate, state in zip(gates, states, strict=True)]

    def _read(self, text: str, states: Sequence[State]) -> list[Gate]:
        seen = [prompt.shown(state.question, state.memory, state.plan) for state in states]
        prompts = [prompt.render_read(one.question, one.memory, one.plan, text) for one in seen]
        logits, continued = self._start(prompts)
        keep = logits[:, prompt.KEEP] + self.keep_bias
        others = logits.clone()
        others[:, prompt.KEEP] = -torch.inf
        margins = (keep - others.max(-1).values).tolist()
        writing = [number for number, margin in enumerate(margins) if margin <= 0]
        replies = self._continue(others, continued, writing, 72)
        gates = []
        for number, (state, one) in enumerate(zip(states, seen, strict=True)):
            before = state.memory
            if number in replies:
                words = prompt.read_words(one.question, one.memory, text)
                parsed = prompt.parse_update(words, replies[number], one.memory)
                if parsed is not None and prompt.supported(words, parsed[0], one.memory, text):
                    state.memory, state.plan = one.taken(parsed[0]), parsed[1]
            gates.append(Gate(margins[number], before, state.memory))
        return gates

    @torch.no_grad()
    def answer(self, states: Sequence[State], options: Sequence[Sequence[str]]) -> list[str]:
        """Answers from memory alone."""
        seen = [prompt.shown(state.question, state.memory, state.plan) for state in states]
        prompts = [
            prompt.render_answer(one.question, some, one.memory) for one, some in zip(seen, options, strict=True)
        ]
        logits, continued = self._start(prompts)
        replies = self._continue(logits, continued, range(len(prompts)), 48)
        return [
            prompt.read_reply(prompt.answer_words(one.question, some, one.memory), replies[number], some)
            for number, (one, some) in enumerate(zip(seen, options, strict=True))
        ]

    def _start(self, prompts: Sequence[str]) -> tuple[Tensor, _Continued]:
        encoded = [self.tokenizer.encode(text).ids for text in prompts]
        rows, longest = len(encoded), max(map(len, encoded))
        tokens = torch.zeros(rows, longest, dtype=torch.long)
        real = torch.zeros(rows, longest, dtype=torch.bool)
        positions = torch.zeros(rows, longest, dtype=torch.long)
        for row, ids in enumerate(encoded):
            start = longest - len(ids)
            tokens[row, start:] = torch.tensor(ids)
            real[row, start:] = True
            positions[row, start:] = torch.arange(len(ids))
        visible = torch.ones(longest, longest, dtype=torch.bool).tril()[None] & real[:, None, :]
        visible |= torch.eye(longest, dtype=torch.bool)[None]
        mask = torch.zeros(visible.shape).masked_fill(~visible, _HIDDEN)[:, None]
        cache: Cache = self.policy.new_cache()
        hidden = self.policy.hidden(tokens, positions, mask, cache)
        return self.policy.logits(hidden[:, -1]), _Continued(cache, real, positions[:, -1])

    def _continue(self, logits: Tensor, state: _Continued, rows: Sequence[int], limit: int) -> dict[int, str]:
        """Greedy replies of some rows, specials kept, cut after <eos>."""
        if not rows:
            return {}
        index = torch.tensor(list(rows))
        cache: Cache = [None if pair is None else (pair[0][index], pair[1][index]) for pair in state.cache]
        seen, positions = state.seen[index], state.positions[index]
        following = logits[index].argmax(-1)
        said = [[token] for token in following.tolist()]
        for _ in range(limit - 1):
            if all(prompt.EOS in row for row in said):
                break
            seen = torch.cat((seen, torch.ones(len(rows), 1, dtype=torch.bool)), 1)
            mask = torch.zeros(seen.shape).masked_fill(~seen, _HIDDEN)[:, None, None]
            positions = positions + 1
            hidden = self.policy.hidden(following[:, None], positions[:, None], mask, cache)
            following = self.policy.logits(hidden[:, -1]).argmax(-1)
            for row, token in enumerate(following.tolist()):
                said[row].append(token)
        cut = [row[: row.index(prompt.EOS) + 1] if prompt.EOS in row else row for row in said]
        return {
            number: self.tokenizer.decode(row, skip_special_tokens=False) for number, row in zip(rows, cut, strict=True)
        }


def _again(state: State, gate: Gate) -> bool:
    """Whether what was written asks for the same chunk, as the profile's updates do."""
    return gate.after != gate.before and prompt.reads_again(state.question, state.plan)


@dataclass(frozen=True, slots=True)
class _Continued:
    cache: Cache
    seen: Tensor
    positions: Tensor
