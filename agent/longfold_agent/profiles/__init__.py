"""The prompt profiles by name. Knows which there are; each module knows its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from longfold_agent.errors import Unsupported
from longfold_agent.profiles import general, qwenlong
from longfold_agent.protocols import Budgets, Profile

__all__ = ["NAMES", "load"]

_TAGGED: dict[str, tuple[Callable[[Path | None, Budgets, tuple[str, ...]], Profile], Budgets]] = {
    "general": (general.profile, general.BUDGETS),
    "qwenlong": (qwenlong.profile, qwenlong.BUDGETS),
}
NAMES = ("qwenlong", "general", "demo")


def load(
    name: str,
    templates: str | Path | None = None,
    *,
    chunk_tokens: int | None = None,
    memory_tokens: int | None = None,
    specials: tuple[str, ...] = (),
    policy: Path | None = None,
) -> Profile:
    """The profile `name`, one of `NAMES`.

    templates: folder of an operator's wording (`templates.load`); `demo` has none, since its policy was trained on one
    form.
    chunk_tokens, memory_tokens: budgets in place of the profile's own. A larger memory makes the read's output as much
    larger.
    specials: the served tokenizer's special tokens, neutralised in documents besides the known ones.
    policy: folder of the served policy; `demo` has a single pass only where its config.json says that the weights know
    it (`demo.direct_tokens`).

    Raises ValueError for an unknown name, a budget below 1 or an unusable config.json, `TemplateError` for unusable
    templates, `Unsupported` for templates given to `demo`.
    """
    if name not in NAMES:
        raise ValueError(f"unknown profile {name!r}: choose one of {', '.join(NAMES)}")
    if any(budget is not None and budget < 1 for budget in (chunk_tokens, memory_tokens)):
        raise ValueError("chunk_tokens and memory_tokens must be at least 1")
    if name == "demo":
        if templates is not None:
            raise Unsupported("the demo profile takes no templates: its policy knows only the form it was trained on")
        from longfold_agent.profiles import demo

        budgets = _budgets(demo.BUDGETS, chunk_tokens, memory_tokens)
        return demo.profile(budgets if policy is None else replace(budgets, direct=demo.direct_tokens(policy)))
    make, own = _TAGGED[name]
    folder = None if templates is None else Path(templates)
    return make(folder, _budgets(own, chunk_tokens, memory_tokens), specials)


def _budgets(own: Budgets, chunk: int | None, memory: int | None) -> Budgets:
    memory = own.memory if memory is None else memory
    read_output = max(own.read_output + memory - own.memory, memory)
    return replace(own, chunk=own.chunk if chunk is None else chunk, memory=memory, read_output=read_output)
