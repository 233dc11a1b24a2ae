"""One update of a local policy from a batch of trajectories (Eq. 4 with Eq. 3 or 7, Eq. 8-11). Knows no rollouts, no
rewards' rules and no files.

Steps that are token for token the same, as most of a group's are while nothing has been found yet, go through the
network once, and so does a prompt that was answered in several ways; each step still counts with its own trajectory's
advantage and weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longfold_training.core.loss import policy_loss, sampling_gap
from longfold_training.core.rows import Row, expand
from longfold_training.core.trajectory import Step, Trajectory
from longfold_training.core.weights import token_weights
from longfold_training.engines.control import Controller
from longfold_training.engines.local.policy import Exchange, LocalPolicy, enough_memory
from longfold_training.errors import DivergedError
from longfold_training.recipes import Reinforce


class Learner:
    """The policy's optimiser, and what decides about each batch.

    `learn` raises `DivergedError` when entropy, loss or gradient is not finite (the policy is then as it was) or the
    new weights are not, and `MemoryExhausted`.
    """

    def __init__(self, policy: LocalPolicy, recipe: Reinforce) -> None:
        self.policy = policy
        self.recipe = recipe
        self.controller = Controller(recipe)
        self.optimiser = torch.optim.AdamW(
            policy.trainable().values(),
            lr=recipe.optimiser.learning_rate,
            betas=recipe.optimiser.betas,
            weight_decay=recipe.optimiser.weight_decay,
        )
        self.updates = 0

    def learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """One update; returns figures of the batch, entropy and log-probability gap in nats."""
        with enough_memory():
            return self._learn(trajectories)

    def _learn(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        sequences = _Sequences(trajectories)
        scored = self._score(sequences)
        decided = self.controller.decide(trajectories, scored.entropies, scored.mask, sequences.owners)
        more = {
            "different_rows": float(len(sequences.steps)),
            "logprob_gap": sampling_gap(scored.logprobs, scored.sampled, scored.mask),
        }
        rows = expand(trajectories, decided.advantages, token_weights(trajectories))
        return decided.figures | more | self._update(rows, sequences, decided.mask)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "weights": {name: weight.detach() for name, weight in self.policy.trainable().items()},
            "optimiser": self.optimiser.state_dict(),
            "controller": self.controller.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        with torch.no_grad():
            for name, weight in self.policy.trainable().items():
                weight.copy_(state["weights"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.controller.load_state_dict(state["controller"])
        self.updates = state["updates"]

    @torch.no_grad()
    def _score(self, sequences: _Sequences) -> _Scored:
        """Log-probabilities and entropies of the whole batch before the update: AEPO decides on all of it."""
        steps = sequences.steps
        longest = max(len(step.completion) for step in steps)
        logprobs = torch.zeros(len(steps), longest)
        entropies = torch.zeros(len(steps), longest)
        for part in self._parts(range(len(steps)), steps):
            got, uncertain = self.policy.reply_scores(_exchanges(steps[at] for at in part), self._temperature)
            sizes = [len(steps[at].completion) for at in part]
            for at, of_step, spread in zip(
                part, torch.split(got.cpu(), sizes), torch.split(uncertain.cpu(), sizes), strict=True
            ):
                logprobs[at, : len(of_step)] = of_step
                entropies[at, : len(spread)] = spread
        mask = torch.zeros(len(sequences.each), longest, dtype=torch.bool)
        sampled = torch.zeros(len(sequences.each), longest)
        for number, step in enumerate(sequences.each):
            mask[number, : len(step.completion)] = True
            sampled[number, : len(step.completion)] = torch.tensor(step.logprobs)
        index = torch.tensor(sequences.of_row)
        return _Scored(logprobs[index], entropies[index], sampled, mask)

    def _update(self, rows: Sequence[Row], sequences: _Sequences, mask: Tensor) -> dict[str, float]:
        live: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            if row.live and bool(mask[number].any()):
                live.setdefault(sequences.of_row[number], []).append(number)
        if not live:
            return {"loss": 0.0, "gradient_norm": 0.0}
        weights = list(self.policy.trainable().values())
        self.optimiser.zero_grad()
        loss = 0.0
        for part in self._parts(list(live), sequences.steps):
            steps = [sequences.steps[at] for at in part]
            logprobs, _ = self.policy.reply_scores(_exchanges(steps), self._temperature)
            padded = torch.nn.utils.rnn.pad_sequence(
                list(torch.split(logprobs, [len(step.completion) for step in steps])), batch_first=True
            )
            members = [(place, number) for place, at in enumerate(part) for number in live[at]]
            index = torch.tensor([place for place, _ in members], device=padded.device)
            numbers = [number for _, number in members]
            terms = policy_loss(
                padded[index],
                torch.tensor([rows[number].advantage for number in numbers], device=padded.device),
                torch.tensor([rows[number].weight for number in numbers], device=padded.device),
                mask[numbers, : padded.shape[1]].to(padded.device),
            )
            terms.backward()  # type: ignore[no-untyped-call]
            loss += float(terms.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(weights, self.recipe.optimiser.max_gradient_norm))
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient's norm is {norm}")
        told = self.recipe.optimiser
        rate = told.learning_rate * min(1.0, (self.updates + 1) / max(1, told.warmup))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise DivergedError("the update left weights that are no numbers")
        self.updates += 1
        return {"loss": loss, "gradient_norm": norm}

    @property
    def _temperature(self) -> float:
        return self.recipe.rollouts.temperature

    def _parts(self, places: Sequence[int], steps: Sequence[Step]) -> Iterator[list[int]]:
        """Sequences of like length together, those with the same prompt beside each other; each part within
        `tokens_at_once` as if nothing were shared, or one sequence."""
        part: list[int] = []
        longest = 0
        for place in sorted(places, key=lambda at: _order(steps[at])):
            longest = max(longest, _length(steps[place]))
            if part and (len(part) + 1) * longest > self.recipe.tokens_at_once:
                yield part
                part, longest = [], _length(steps[place])
            part.append(place)
        if part:
            yield part


class _Sequences:
    """The different sequences among a batch's rows, which are in the order of `expand`: `each[n]` is `steps[of_row[n]]`
    but for the sampler's log-probabilities. `owners`: (rows,) position of each row's trajectory."""

    def __init__(self, trajectories: Sequence[Trajectory]) -> None:
        self.each = [step for trajectory in trajectories for step in trajectory.steps]
        self.owners = torch.tensor([owner for owner, one in enumerate(trajectories) for _ in one.steps])
        places: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self.of_row = [places.setdefault((step.prompt, step.completion), len(places)) for step in self.each]
        first: dict[int, Step] = {}
        for step, place in zip(self.each, self.of_row, strict=True):
            first.setdefault(place, step)
        self.steps = [first[place] for place in range(len(places))]


@dataclass(frozen=True, slots=True)
class _Scored:
    """All rows of a batch, (rows, tokens) each, padded on the right, on the CPU."""

    logprobs: Tensor
    entropies: Tensor
    sampled: Tensor
    mask: Tensor


def _exchanges(steps: Iterable[Step]) -> list[Exchange]:
    return [(step.prompt, step.completion) for step in steps]


def _order(step: Step) -> tuple[int, tuple[int, ...], int, tuple[int, ...]]:
    return len(step.prompt), step.prompt, len(step.completion), step.completion


def _length(step: Step) -> int:
    return len(step.prompt) + len(step.completion)
