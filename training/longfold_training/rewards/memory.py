"""Dense rewards for the memory, beside the answer's own. Off by default: the paper uses the answer's alone. Knows no
prompts.

They shape what a group of equally wrong attempts would otherwise learn nothing from, and each can be played: `held`
pays for copying candidates, `kept` for never writing, `valid` for the shortest well-formed reply. So their weights add
up to less than 1, and an answer that scores 0 never earns what one that scores 1 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from longfold_agent.drive import Rollout
from longfold_agent.types import CallKind, Chunk, UpdateKind
from longfold_training.errors import RecipeError

if TYPE_CHECKING:
    from longfold_training.problems import Problem


@dataclass(frozen=True, slots=True)
class MemoryRewards:
    """Weights of the terms, each of which lies between 0.0 and 1.0.

    Raises `RecipeError` for a negative weight, and for weights that add up to 1 or more.
    """

    held: float = 0.0
    """Share of what is right that stands in the last memory (`Rule.recall`)."""
    kept: float = 0.0
    """Share of the replies to chunks without evidence that left the memory as it was; 0 where a problem names no
    evidence, since then nobody can tell."""
    valid: float = 0.0
    """Share of the read replies that were not INVALID."""

    def __post_init__(self) -> None:
        weights = [getattr(self, term.name) for term in fields(self)]
        if not (all(weight >= 0 for weight in weights) and sum(weights) < 1):
            raise RecipeError("the weights of the memory rewards must not be negative and must add up to less than 1")

    def __call__(self, problem: Problem, rollout: Rollout, chunks: Sequence[Chunk]) -> float:
        """What to add to the answer's reward. `chunks`: of the problem's documents, by number."""
        total = 0.0
        if self.held:
            total += self.held * problem.gold.recall(rollout.fold.memory)
        if self.kept and problem.evidence:
            total += self.kept * _kept(problem.evidence, rollout, chunks)
        if self.valid:
            total += self.valid * _valid(rollout)
        return total


def _kept(evidence: Sequence[str], rollout: Rollout, chunks: Sequence[Chunk]) -> float:
    """Valid replies that left the memory as it was, of all replies to chunks that hold no whole quote of evidence."""
    before, kept = "", list[bool]()
    for turn in rollout.turns:
        if turn.step is None or turn.step.chunk is None:
            continue
        if not any(quote in chunks[turn.step.chunk].text for quote in evidence):
            kept.append(turn.step.update is not UpdateKind.INVALID and turn.step.memory == before)
        before = turn.step.memory
    return sum(kept) / len(kept) if kept else 0.0


def _valid(rollout: Rollout) -> float:
    reads = [turn.step.update for turn in rollout.turns if turn.step is not None and turn.call.kind is CallKind.READ]
    return sum(update is not UpdateKind.INVALID for update in reads) / len(reads) if reads else 0.0
