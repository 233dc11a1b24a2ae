"""Task-balanced sampling: every batch holds the same number of questions of each task. Knows only the task labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from longfold_training.errors import CheckpointError, DataError


class TaskBalanced:
    """Draws batches of positions without end; each task is shuffled anew when it is used up.

    A task's questions all come once before any comes again, so a small task repeats more often than a large one, and no
    batch holds a question twice. Where the batch does not divide by the number of tasks (the paper's 128 by five), the
    surplus goes round: over as many batches as there are tasks, every task has had the same number. With one label for
    everything this is plain shuffled sampling, the ablation's baseline.

    Args:
        tasks: The task label of each question.
        batch: Questions in a batch (groups, not trajectories).
        seed: The order follows from it.

    Raises:
        DataError: There is no question, a label is empty, the batch is smaller than the number of tasks, or a task has
            fewer questions than its largest share of a batch.
    """

    def __init__(self, tasks: Sequence[str], batch: int, seed: int = 0) -> None:
        self._members: dict[str, list[int]] = {}
        for position, task in enumerate(tasks):
            if not task:
                raise DataError(f"question {position} has no task label")
            self._members.setdefault(task, []).append(position)
        if not self._members:
            raise DataError("there is no question to draw from")
        if batch < len(self._members):
            raise DataError(f"a batch of {batch} cannot hold a question of each of {len(self._members)} tasks")
        self._share, self._surplus = divmod(batch, len(self._members))
        largest = self._share + (self._surplus > 0)
        for task, members in self._members.items():
            if len(members) < largest:
                raise DataError(
                    f"task {task!r} has {len(members)} questions, but a batch of {batch} takes up to {largest} of it"
                )
        self.batches = 0
        """Batches drawn so far."""
        self._seed = seed
        self._origin = hashlib.sha256(json.dumps([batch, seed, list(tasks)]).encode()).hexdigest()
        self._rounds = dict.fromkeys(self._members, 0)
        self._left: dict[str, list[int]] = {task: [] for task in self._members}

    def draw(self) -> list[int]:
        """Positions of the next batch's questions, all different, in random order."""
        drawn: list[int] = []
        names = list(self._members)
        first = self.batches * self._surplus
        favoured = {names[(first + turn) % len(names)] for turn in range(self._surplus)}
        for task in names:
            drawn += self._take(task, self._share + (task in favoured))
        Random(f"{self._seed} batch {self.batches}").shuffle(drawn)
        self.batches += 1
        return drawn

    def _take(self, task: str, count: int) -> list[int]:
        left = self._left[task]
        taken, left[:count] = left[:count], []
        if len(taken) < count:
            order = self._members[task].copy()
            Random(f"{self._seed} task {task} round {self._rounds[task]}").shuffle(order)
            self._rounds[task] += 1
            # What this batch has already goes to the end of the new round: no batch holds a question twice.
            order.sort(key=set(taken).__contains__)
            missing = count - len(taken)
            taken += order[:missing]
            self._left[task] = order[missing:]
        return taken

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values (JSON can hold it)."""
        return {
            "origin": self._origin,
            "batches": self.batches,
            "rounds": dict(self._rounds),
            "left": {task: list(left) for task, left in self._left.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken: the batches that follow are those that would have followed.

        Raises:
            CheckpointError: The state belongs to other questions, another batch size or another seed.
        """
        if state.get("origin") != self._origin:
            raise CheckpointError("the sampler's state belongs to other data, another batch size or another seed")
        self.batches = state["batches"]
        self._rounds = dict(state["rounds"])
        self._left = {task: list(left) for task, left in state["left"].items()}
