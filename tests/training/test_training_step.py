"""`benchmarks/training_step.py`: it counts what is computed, and finds where memory ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import report
import training_step

from longfold_training.engines.local.learn import Learner
from longfold_training.errors import MemoryExhausted


def test_a_row_costs_its_products() -> None:
    shape = training_step.Shape(layers=1, hidden=2, width=3, heads=2, kv_heads=1, vocabulary=7, head_dim=4)
    # Projections 2 x (8 + 4 + 4 + 8), the layer's own 3 x 2 x 3: 66 weights for each of 5 tokens. Every token looks at
    # 2.5 on average, with 2 heads of 4 numbers, in two products. Logits: 14 weights for each of 2 tokens.
    assert shape.flops(3, 2) == 2 * (66 * 5 + 2 * 2 * 4 * 2.5 * 5 + 14 * 2)


@pytest.mark.parametrize(("name", "billions"), [("0.6b", 0.6), ("1.7b", 1.72), ("4b", 4.02)])
def test_the_shapes_are_those_of_their_names(name: str, billions: float) -> None:
    shape = training_step.SHAPES[name]
    attention = shape.hidden * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    layer = attention + 3 * shape.hidden * shape.width
    assert (shape.layers * layer + shape.vocabulary * shape.hidden) / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_step_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    learned, learn = list[int](), Learner.learn

    def until(learner: Learner, batch: list[training_step.Trajectory]) -> dict[str, float]:
        learned.append(len(batch[0].steps[0].prompt) + batch[0].tokens)
        if learned[-1] > 32:
            raise MemoryExhausted("full")
        return learn(learner, batch)

    monkeypatch.setattr(Learner, "learn", until)
    words = "--shape tiny --rows 2 --prompt 12 --reply 4 --steps 1 --flops 1e9 --longest"
    assert training_step.main(words.split()) == 0
    assert learned == [16, 16, 8, 16, 32, 64]
    rows = json.loads((tmp_path / "training_step_tiny.json").read_text())["rows"]
    found = {(row["what"], row["unit"]): row["value"] for row in rows}
    assert found["longest row of an update", "tokens"] == 32
    seconds = found["an update", "s"]
    assert found["update", "tokens/s"] == pytest.approx(32 / seconds)
    flops = 4 * 2 * training_step.SHAPES["tiny"].flops(12, 4)
    assert found["model FLOPs utilisation", "%"] == pytest.approx(100 * flops / seconds / 1e9)
    assert min(found.values()) > 0
