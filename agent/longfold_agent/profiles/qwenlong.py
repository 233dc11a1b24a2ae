"""The `qwenlong` profile: asks a QwenLong-L1.5 model the way it was trained (paper 2.3, Appendix D), in our own
wording.

Problem, previous memory and plan, section, instructions, the cue "Updated memory:". A thinking model, no gate: every
read rewrites the memory. Knows no parsing (`tagged`) and no prompt text (`wording/qwenlong`).
"""

from __future__ import annotations

from pathlib import Path

from longfold_agent.profiles import templates
from longfold_agent.profiles.tagged import TaggedProfile
from longfold_agent.protocols import Budgets

BUDGETS = Budgets(
    chunk=32768,  # as trained
    memory=15000,  # as trained
    plan=2048,
    read_output=32768,  # the memory and the plan at their largest, and about as much reasoning
    answer_output=32768,
    retries=1,
)


def profile(folder: Path | None = None, budgets: Budgets = BUDGETS, specials: tuple[str, ...] = ()) -> TaggedProfile:
    """`folder`: an operator's templates in place of ours, e.g. the published text. Raises `TemplateError`."""
    return TaggedProfile(
        name="qwenlong",
        wording=templates.load("qwenlong", folder, specials),
        budgets=budgets,
        gate=False,
        thinks=True,
        temperature=0.7,  # paper 2.3
        top_p=0.95,
        decompose_output=8192,
    )
