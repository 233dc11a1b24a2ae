"""The `general` profile: any instruct model, untrained for this.

The section comes before the question, so that all questions on a text, all retries and all rollouts share the prefix
cache of each chunk. The gate is on: KEEP is the cheap reply for a section without evidence. Knows no parsing
(`tagged`), no prompt text (`wording/general`).
"""

from __future__ import annotations

from pathlib import Path

from longfold_agent.profiles import templates
from longfold_agent.profiles.tagged import TaggedProfile
from longfold_agent.protocols import Budgets

BUDGETS = Budgets(
    chunk=8192,  # what untrained models still read with care
    memory=2048,
    plan=512,
    read_output=4096,  # the memory and the plan at their largest, and some room for words around them
    answer_output=4096,
    retries=1,
)


def profile(folder: Path | None = None, budgets: Budgets = BUDGETS, specials: tuple[str, ...] = ()) -> TaggedProfile:
    """`folder`: an operator's templates in place of ours. Raises `TemplateError`."""
    return TaggedProfile(
        name="general",
        wording=templates.load("general", folder, specials),
        budgets=budgets,
        gate=True,
        thinks=False,
        temperature=0.0,
        top_p=1.0,
        decompose_output=2048,
    )
