"""Dense rewards, by numbers worked out by hand."""

from __future__ import annotations

import pytest

from longfold_agent import Chunk, Fold, Position, Query, ScriptedEngine, batch, load_profile
from longfold_agent.drive import Rollout
from longfold_training.errors import RecipeError
from longfold_training.problems import Problem, Text
from longfold_training.rewards import Items, MemoryRewards

TEXTS = ("Ann came at noon.", "Nothing happened.", "Bob came late.", "Nothing again.")
CHUNKS = [Chunk(number, Position(0), Position(0), text, 3) for number, text in enumerate(TEXTS)]
PROBLEM = Problem(
    id="p", task="list", question="Who came?", documents=(Text(text="".join(TEXTS)),),
    gold=Items(items=("Ann", "Bob")), evidence=("Ann came", "Bob came"),
)  # fmt: skip
PROFILE = load_profile("general")


class Words:
    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def fit(self, text: str, budget: int) -> int:
        return len(text) if self.count(text) <= budget else budget


async def read(replies: list[str], chunks: list[Chunk] = CHUNKS) -> Rollout:
    fold = Fold.start(Query("Who came?"), profile=PROFILE.version, tokens="words", chunk_budget=9, retries=1)
    [rollout] = await batch([fold], [chunks], PROFILE, ScriptedEngine(replies), Words())
    return rollout


async def test_the_terms() -> None:
    rollout = await read(
        ["<memory>Ann</memory>", "<memory>Ann, noise</memory>", "broken", "KEEP", "broken", "KEEP", "Ann"]
    )
    # Last memory "Ann, noise": one of two items. Chunks 1 and 3 hold no evidence: rewritten; INVALID, then kept.
    # Six replies to chunks, two of them INVALID.
    assert MemoryRewards(held=0.4)(PROBLEM, rollout, CHUNKS) == pytest.approx(0.4 / 2)
    assert MemoryRewards(kept=0.3)(PROBLEM, rollout, CHUNKS) == pytest.approx(0.3 / 3)
    assert MemoryRewards(valid=0.3)(PROBLEM, rollout, CHUNKS) == pytest.approx(0.3 * 4 / 6)
    assert MemoryRewards(0.4, 0.3, 0.2)(PROBLEM, rollout, CHUNKS) == pytest.approx(0.2 + 0.1 + 0.2 * 4 / 6)


async def test_off_by_default_and_nothing_where_nobody_can_tell() -> None:
    rollout = await read(["KEEP"] * 4 + ["Ann"])
    assert MemoryRewards()(PROBLEM, rollout, CHUNKS) == 0.0
    assert MemoryRewards(kept=0.5)(PROBLEM, rollout, CHUNKS) == 0.5
    assert MemoryRewards(kept=0.5)(PROBLEM.model_copy(update={"evidence": ()}), rollout, CHUNKS) == 0.0
    empty = await read(["Ann"], [])
    assert MemoryRewards(kept=0.4, valid=0.4)(PROBLEM, empty, []) == 0.0


@pytest.mark.parametrize("weights", [(-0.1, 0.0, 0.0), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (float("nan"), 0.0, 0.0)])
def test_weights_that_could_outbid_a_right_answer_are_refused(weights: tuple[float, float, float]) -> None:
    with pytest.raises(RecipeError, match="less than 1"):
        MemoryRewards(*weights)
