"""From the rows of a batch to the advantage of every token: Eq. 3 or 7, Eq. 4's weights, Eq. 8-11. Knows no verl.

The same core as in the local engine, in the form in which verl takes it: its loss divides by all tokens of the batch
("token-mean"), so each advantage carries the factor that makes this Eq. 4's mean over groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longfold_training.core.weights import token_mean_factors
from longfold_training.engines.control import Controller
from longfold_training.errors import DataError, RolloutError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of verl's batch: a step of an attempt, or padding."""

    key: str
    """"{question}_{attempt}_{step}", verl's key."""
    task: str
    reward: float
    """The attempt's, the same in each of its rows."""
    tokens: int
    """Completion tokens."""
    padding: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A `core.trajectory.Graded`: what Eq. 3, 4 and 7 need to know of a trajectory."""

    group: str
    task: str
    reward: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Objective:
    """What a batch's update is to be."""

    advantages: Tensor
    """(rows, tokens) float32, for verl's field of that name; 0 outside completions and where a term is silenced."""
    figures: Mapping[str, float]
    live: bool
    """Whether any token has a gradient; without one there is nothing to update."""


def attempts(rows: Sequence[Row]) -> tuple[list[Attempt], list[int]]:
    """The attempts in the order of their first rows, and each row's attempt (-1 for padding).

    Raises `DataError` for a key of another form, and for rows of one attempt that differ in task or reward.
    """
    places: dict[tuple[str, str], int] = {}
    found: list[Attempt] = []
    owners: list[int] = []
    for row in rows:
        if row.padding:
            owners.append(-1)
            continue
        group, attempt, _ = _parts(row.key)
        place = places.setdefault((group, attempt), len(found))
        if place == len(found):
            found.append(Attempt(group, row.task, row.reward, row.tokens))
        else:
            before = found[place]
            if (before.task, before.reward) != (row.task, row.reward):
                raise DataError(f"the rows of attempt {attempt} at {group} differ in task or reward")
            found[place] = Attempt(group, row.task, row.reward, before.tokens + row.tokens)
        owners.append(place)
    return found, owners


def check_complete(keys: Sequence[str], questions: int, group: int, lost: float) -> int:
    """How many of a batch's attempts are missing, of `questions` x `group`.

    Raises `RolloutError` when it is a larger share than `lost`: an outage must not quietly shrink the batch.
    """
    there = {_parts(key)[:2] for key in keys}
    expected = questions * group
    missing = expected - len(there)
    if missing > lost * expected:
        raise RolloutError(
            f"{missing} of {expected} attempts failed; the agent loop workers' logs say why. The last checkpoint stays "
            "(longfold.lost is the share that may be missing)"
        )
    return missing


def objective(controller: Controller, rows: Sequence[Row], entropies: Tensor, mask: Tensor) -> Objective:
    """The objective of one batch.

    Args:
        controller: Decides, and remembers until the next batch.
        rows: All rows, padding included.
        entropies: (rows, tokens) nats at the sampling temperature, before the update.
        mask: (rows, tokens), true at completion tokens; false throughout in rows of padding.

    Raises:
        DataError: See `attempts`.
        DivergedError: The entropy is not a finite number.
    """
    found, owners = attempts(rows)
    real = [place for place, owner in enumerate(owners) if owner >= 0]
    index = torch.tensor([owners[place] for place in real])
    decided = controller.decide(found, entropies[real], mask[real].bool(), index)
    share = (decided.advantages * token_mean_factors(found))[index].to(torch.float32)
    filled = torch.zeros(mask.shape, dtype=torch.float32)
    filled[real] = share.unsqueeze(-1) * decided.mask
    return Objective(filled, decided.figures, bool((filled != 0).any()))


def means(of_attempts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure over the attempts that have it."""
    names = dict.fromkeys(name for figures in of_attempts for name in figures)
    having = {name: [figures[name] for figures in of_attempts if name in figures] for name in names}
    return {name: sum(values) / len(values) for name, values in having.items()}


def _parts(key: str) -> tuple[str, str, str]:
    parts = key.rsplit("_", 2)
    if len(parts) != 3:
        raise DataError(f"{key!r} is no key of a row: expected question, attempt and step")
    return parts[0], parts[1], parts[2]
