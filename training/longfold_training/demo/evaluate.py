"""How well a policy reads: exact match per family, false and missed writes per step, on documents it has never seen.

Two ways to the same figures: `read_in_torch` needs no server; `read_with_engine`
drives the agent's own fold through any engine, which is what a service does. Knows no training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from longfold_agent.drive import batch
from longfold_agent.fold import Fold
from longfold_agent.profiles.choices import options_in, split_question
from longfold_agent.profiles.demo import BETWEEN
from longfold_agent.protocols import Engine, Profile, Tokens
from longfold_agent.types import CallKind, Chunk, Position, UpdateKind
from longfold_training.demo.documents import FAMILIES, Document, Family, Item, generate, value_of
from longfold_training.demo.material import Material
from longfold_training.demo.reading import Reader, State


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of an evaluation."""

    chunks: int
    chunk_tokens: int = 256
    documents: int = 20
    per_family: int = 4
    material: Material = field(default_factory=Material)
    families: tuple[Family, ...] = FAMILIES
    density: float = 0.8
    seed: int = 0

    def make(self, count: Callable[[str], int]) -> list[Document]:
        rng = Random(f"evaluate/{self.seed}/{self.chunks}/{self.chunk_tokens}")
        return [
            generate(
                rng, chunks=self.chunks, count=count, chunk_tokens=self.chunk_tokens, per_family=self.per_family,
                families=self.families, material=self.material, density=self.density,
            )
            for _ in range(self.documents)
        ]  # fmt: skip


@dataclass(slots=True)
class Result:
    """Counts of a cell."""

    right: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    idle: int = 0
    false_writes: int = 0
    active: int = 0
    missed: int = 0
    wrong_writes: int = 0
    invalid: int = 0
    failures: list[str] = field(default_factory=list)
    """Wrong answers and steps in words, the first few hundred."""

    def report(self) -> dict[str, float | int]:
        out: dict[str, float | int] = {}
        for family, asked in sorted(self.asked.items()):
            out[family] = round(self.right.get(family, 0) / asked, 4)
            out[f"n_{family}"] = asked
        out["idle_steps"], out["false_writes"] = self.idle, self.false_writes
        out["false_writes_per_idle_step"] = self.false_writes / max(1, self.idle)
        out["active_steps"], out["missed_share"] = self.active, round(self.missed / max(1, self.active), 4)
        out["wrong_write_share"] = round(self.wrong_writes / max(1, self.active), 4)
        out["invalid_replies"] = self.invalid
        return out

    def note(self, text: str) -> None:
        if len(self.failures) < 400:
            self.failures.append(text)

    def take_step(self, item: Item, number: int, before: str, after: str, text: str) -> None:
        """One step: what the memory was and became, against what the chunk states."""
        gold_before = item.memories[number - 1] if number else ""
        gold = item.memories[number]
        if not gold or same(gold, gold_before):
            self.idle += 1
            if after != before and not same(value_of(after), gold):
                self.false_writes += 1
                self.note(f"FALSE {item.question!r}: {before!r} -> {after!r} gold {gold!r} in {text!r}")
            return
        self.active += 1
        if after == before and not same(value_of(before), gold):
            self.missed += 1
            self.note(f"MISSED {item.question!r}: {before!r} gold {gold!r} in {text!r}")
        elif not same(value_of(after), gold):
            self.wrong_writes += 1
            self.note(f"WRONG {item.question!r}: {before!r} -> {after!r} gold {gold!r} in {text!r}")

    def take_answer(self, item: Item, answer: str) -> None:
        self.asked[item.family] = self.asked.get(item.family, 0) + 1
        if same(answer, item.answer):
            self.right[item.family] = self.right.get(item.family, 0) + 1
        else:
            self.note(f"ANSWER {item.question!r}: {answer!r} gold {item.answer!r}")


def same(one: str, other: str) -> bool:
    """Equal but for case, outer spaces, a final full stop and the order of what is listed."""
    return _listed(one) == _listed(other)


def _listed(text: str) -> list[str]:
    return sorted(item.strip() for item in text.casefold().strip().rstrip(".").split(BETWEEN.strip()))


def read_in_torch(reader: Reader, documents: Sequence[Document], result: Result | None = None) -> Result:
    """Read every document once for all its questions."""
    result = result or Result()
    for document in documents:
        queries = [split_question(item.question) for item in document.items]
        states = [State(query.core) for query in queries]
        for number, text in enumerate(document.chunks):
            for item, gate in zip(document.items, reader.read(text, states), strict=True):
                result.take_step(item, number, gate.before, gate.after, text)
        answers = reader.answer(states, [options_in(query.instructions) for query in queries])
        for item, answer in zip(document.items, answers, strict=True):
            result.take_answer(item, answer)
    return result


async def read_with_engine(
    engine: Engine, profile: Profile, tokens: Tokens, documents: Sequence[Document], *, at_once: int = 12
) -> Result:
    """Read every document through an engine with the agent's fold, all questions of a document side by side."""
    result = Result()
    for number, document in enumerate(documents):
        chunks = [
            Chunk(index, Position(number), Position(number), text, tokens.count(text))
            for index, text in enumerate(document.chunks)
        ]
        for start in range(0, len(document.items), at_once):
            items = document.items[start : start + at_once]
            folds = []
            for item in items:
                query = profile.decompose(item.question)
                assert not isinstance(query, tuple)
                folds.append(
                    Fold.start(
                        query, profile=profile.version, tokens=tokens.name, chunk_budget=profile.budgets.chunk,
                        retries=profile.budgets.retries,
                    )
                )  # fmt: skip
            rollouts = await batch(folds, [chunks] * len(items), profile, engine, tokens)
            for item, rollout in zip(items, rollouts, strict=True):
                left: dict[int, str] = {}
                for turn in rollout.turns:
                    if turn.step is None or turn.call.chunk is None or turn.call.kind is not CallKind.READ:
                        continue
                    result.invalid += turn.step.update is UpdateKind.INVALID
                    left[turn.call.chunk] = turn.step.memory
                before = ""
                for chunk, memory in left.items():
                    result.take_step(item, chunk, before, memory, document.chunks[chunk])
                    before = memory
                answer = rollout.fold.answer
                result.take_answer(item, answer.text if answer is not None else "")
    return result
