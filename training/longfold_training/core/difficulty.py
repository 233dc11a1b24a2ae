"""Which questions a stage trains on, by how often a policy already answers them. Knows rewards, not how they came
about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from longfold_training.errors import DataError


@dataclass(frozen=True, slots=True)
class Measured:
    """One question after some attempts.

    Attributes:
        question: Its id.
        source: Where it comes from; every source is drawn from alike.
        rewards: The attempts' rewards, each from 0 to 1; measured with the base model before training, and between
            stages with the last checkpoint under the NEXT stage's limits of input and output.

    Raises:
        DataError: There is no attempt, or a reward is not between 0 and 1.
    """

    question: Hashable
    source: str
    rewards: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.rewards:
            raise DataError(f"question {self.question!r} has no attempt")
        if not all(0 <= reward <= 1 for reward in self.rewards):
            raise DataError(f"question {self.question!r} has a reward outside 0 to 1")

    @property
    def rate(self) -> float:
        """Mean reward: the share of right answers where rewards are 0 or 1."""
        return math.fsum(self.rewards) / len(self.rewards)


def pass_at_k(attempts: int, right: int, k: int) -> Fraction:
    """Chance that at least one of k attempts is right, estimated without bias from n >= k: 1 - C(n - c, k) / C(n, k)
    (Chen et al. 2021, Eq. 1). Exact, so that a rate on the edge of a bin lands in the bin it belongs to.

    Raises:
        DataError: Not 1 <= k <= attempts, or not 0 <= right <= attempts.
    """
    if not (1 <= k <= attempts and 0 <= right <= attempts):
        raise DataError(f"pass@{k} is undefined for {right} right answers in {attempts} attempts")
    return 1 - Fraction(math.comb(attempts - right, k), math.comb(attempts, k))


def by_bin(measured: Sequence[Measured], k: int = 1, bins: int = 5, passes: float = 1.0) -> list[list[Measured]]:
    """Questions in equally wide bins of pass@k, hardest first: bin b holds b / bins <= pass@k < (b + 1) / bins, the
    last one also pass@k = 1.

    Args:
        measured: Questions with at least k attempts each.
        k: The paper does not state its k; 1 is the default, since a larger k pushes nearly everything to the ends.
        bins: Not published either; five bins tell never, seldom, half, often and always apart with 8 attempts.
        passes: The least reward that counts as right.

    Raises:
        DataError: A question has fewer than k attempts, or there is no bin.
    """
    if bins < 1:
        raise DataError("at least one bin is needed")
    found: list[list[Measured]] = [[] for _ in range(bins)]
    for question in measured:
        right = sum(reward >= passes for reward in question.rewards)
        chance = pass_at_k(len(question.rewards), right, k)
        found[min(int(chance * bins), bins - 1)].append(question)
    return found


def balanced(
    measured: Sequence[Measured], per_source: int, k: int = 1, bins: int = 5, passes: float = 1.0, seed: int = 0
) -> list[Measured]:
    """Draw up to `per_source` questions of every source, equally from its pass@k bins, without repetition.

    A bin that has fewer than its share gives all it has, and the others share the rest; a source that has fewer than
    `per_source` gives all.

    Raises:
        DataError: As `by_bin`.
    """
    sources: dict[str, list[Measured]] = {}
    for question in measured:
        sources.setdefault(question.source, []).append(question)
    drawn: list[Measured] = []
    for source, questions in sources.items():
        random = Random(f"{seed} {source}")
        filled = by_bin(questions, k, bins, passes)
        for full, share in zip(filled, _shares([len(full) for full in filled], per_source), strict=True):
            drawn += random.sample(full, share)
    return drawn


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """Equal whole shares of `total`, none above its size; a remainder goes to the first (hardest) that can take it."""
    shares = [0] * len(sizes)
    while total > 0 and (open_ := [at for at, size in enumerate(sizes) if shares[at] < size]):
        equal = max(1, total // len(open_))
        for at in open_:
            given = min(equal, sizes[at] - shares[at], total)
            shares[at] += given
            total -= given
    return shares


def retrospective(
    measured: Sequence[Measured],
    count: int | None = None,
    hardest: float = 0.0,
    easiest: float = 1.0,
    seed: int = 0,
    least: int = 0,
) -> list[Measured]:
    """Difficulty-aware retrospective sampling (Section 4.1): what of the data the next stage trains on.

    Questions whose rate lies strictly between `hardest` and `easiest` stay. The defaults drop what was never or always
    right: such groups have equal rewards and so no gradient. Of the rest, `count` are drawn without repetition with
    chances that go with the difficulty 1 / rate (as in QwenLong-L1, arXiv 2505.17667; the later paper gives no
    formula).

    Args:
        measured: Questions, measured under the next stage's limits.
        count: How many to draw; None for all that stay.
        hardest: Rates at or below it are dropped.
        easiest: Rates at or above it are dropped.
        seed: The draw follows from it.
        least: So many of every source are kept, where it has them: what is missing is filled up with the hardest of the
            rest, so that batches over all tasks can be made of what an able policy leaves.

    Returns:
        The questions in their order; fewer than `count` where fewer stay, more where `least` asks for them.

    Raises:
        DataError: Not 0 <= hardest < easiest <= 1, or nothing stays.
    """
    if not 0 <= hardest < easiest <= 1:
        raise DataError(f"the limits of difficulty need 0 <= hardest < easiest <= 1, not {hardest} and {easiest}")
    kept = [question for question in measured if hardest < question.rate < easiest]
    if not kept and not least:
        raise DataError(f"none of {len(measured)} questions has a rate between {hardest} and {easiest}")
    if count is not None and count < len(kept):
        # Weighted draw without repetition (Efraimidis and Spirakis 2006): the largest u^(1/w), here with 1/w = rate.
        random = Random(seed)
        keys = [random.random() ** question.rate for question in kept]
        best = sorted(range(len(kept)), key=keys.__getitem__, reverse=True)[:count]
        kept = [kept[at] for at in best]
    names, having = {question.question for question in kept}, Counter(question.source for question in kept)
    for question in sorted(measured, key=lambda one: one.rate):
        if question.question not in names and having[question.source] < least:
            names.add(question.question)
            having[question.source] += 1
    return [question for question in measured if question.question in names]
