"""AEPO switches with hysteresis, survives a restart, and its published variant differs where it says so."""

from __future__ import annotations

import json
import math

import pytest
import torch

from longfold_training.core.aepo import AEPO, Thresholds
from longfold_training.errors import CheckpointError, DivergedError

ENTROPIES = [0.2, 0.3, 0.31, 0.2, 0.1, 0.09, 0.2, 0.3, 0.5]
MASKING = [False, False, True, True, True, False, False, False, True]
ADVANTAGES = torch.tensor([1.0, -1.0, 0.0, 2.0])
REWARDS = torch.tensor([1.0, 0.0, 1.0, 0.0])


def test_the_state_holds_between_the_thresholds() -> None:
    aepo = AEPO(Thresholds(0.1, 0.3))
    assert [aepo.observe(entropy) for entropy in ENTROPIES] == MASKING
    assert aepo.switches == 3


def test_the_start_state_holds_until_the_first_crossing() -> None:
    aepo = AEPO(Thresholds(0.1, 0.3, start_masked=True))
    assert [aepo.observe(entropy) for entropy in (0.2, 0.3, 0.1, 0.05, 0.2)] == [True, True, True, False, False]


FIRST_BATCHES = [0.08, 0.02, 0.018, 0.022, 0.02]
"""An outlier comes first; the medians are 0.08, 0.05, 0.02, 0.021 and 0.02."""


def test_thresholds_may_be_times_the_first_batches_median_entropy() -> None:
    aepo = AEPO(Thresholds(0.5, 1.5, unit="first"))
    assert aepo.bounds == (0, 0)
    units = []
    for entropy in FIRST_BATCHES:
        aepo.observe(entropy)
        low, high = aepo.bounds
        assert high == pytest.approx(3 * low)
        units.append(2 * low)
    assert units == pytest.approx([0.08, 0.05, 0.02, 0.021, 0.02])
    # From the sixth batch on they stand.
    assert [aepo.observe(entropy) for entropy in (0.03, 0.031, 0.011, 0.009)] == [False, True, True, False]
    assert aepo.bounds == pytest.approx((0.01, 0.03))


@pytest.mark.parametrize("cut", range(1, len(FIRST_BATCHES) + 1))
def test_the_first_batches_are_the_run_s_not_those_after_a_restart(cut: int) -> None:
    before, after = (AEPO(Thresholds(0.5, 1.5, unit="first")) for _ in range(2))
    for entropy in FIRST_BATCHES[:cut]:
        before.observe(entropy)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    for entropy in [*FIRST_BATCHES[cut:], 1.0, 1.0, 1.0]:
        after.observe(entropy)
    assert after.bounds == pytest.approx((0.01, 0.03))


def test_masking_silences_negative_advantages_only() -> None:
    aepo = AEPO(Thresholds(0.1, 0.3))
    assert aepo.apply(ADVANTAGES, REWARDS).tolist() == ADVANTAGES.tolist()
    aepo.observe(0.4)
    assert aepo.apply(ADVANTAGES, REWARDS).tolist() == [1.0, 0.0, 0.0, 2.0]
    assert ADVANTAGES.tolist() == [1.0, -1.0, 0.0, 2.0]


@pytest.mark.parametrize("cut", range(len(ENTROPIES)))
def test_a_restart_changes_nothing(cut: int) -> None:
    before, after = AEPO(), AEPO()
    for entropy in ENTROPIES[:cut]:
        before.observe(entropy)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert [after.observe(entropy) for entropy in ENTROPIES[cut:]] == MASKING[cut:]
    assert after.switches == 3


def test_the_published_snippet_masks_between_the_thresholds_and_wants_a_positive_reward() -> None:
    aepo = AEPO(Thresholds(0.1, 0.3, rule="snippet", start_masked=True))
    assert not aepo.masking
    assert [aepo.observe(entropy) for entropy in (0.05, 0.1, 0.2, 0.3, 0.4)] == [False, False, True, False, False]
    aepo.observe(0.2)
    assert aepo.apply(ADVANTAGES, REWARDS).tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.1), (0.2, 0.2), (-0.1, 0.3), (0.1, math.inf), (math.nan, 0.3)])
def test_thresholds_out_of_order_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low < high"):
        Thresholds(low, high)


def test_an_entropy_that_is_not_a_number_stops() -> None:
    aepo = AEPO()
    with pytest.raises(DivergedError, match="entropy is nan"):
        aepo.observe(math.nan)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"masking": 1, "switches": 0, "first": []},
        {"masking": True},
        {"masking": True, "switches": 1, "first": 0.2},
        {"masking": True, "switches": 1, "first": ["x"]},
    ],
)
def test_a_foreign_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="entropy controller"):
        AEPO().load_state_dict(state)


def test_in_the_loop_it_keeps_the_entropy_near_its_band() -> None:
    # A policy whose entropy rises while negative gradients act and falls while they do not.
    aepo, entropy, seen = AEPO(Thresholds(0.1, 0.3)), 0.2, []
    for _ in range(200):
        entropy *= 0.95 if aepo.observe(entropy) else 1.05
        seen.append(entropy)
    assert 0.095 <= min(seen) < 0.11 and 0.29 < max(seen) <= 0.316
    assert aepo.switches >= 5
