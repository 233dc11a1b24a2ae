"""What a perfect policy writes for a document of `documents.generate`, call by call."""

from __future__ import annotations

from longfold_agent.profiles.demo import find_plan
from longfold_training.demo.documents import Item

Said = tuple[str, str] | None
"""Line and plan of a reply; None for <keep>."""


def replies(item: Item, number: int) -> list[Said]:
    """The replies to chunk `number`: one for each thing of a list and <keep>, or one for each hop that it holds."""
    before = item.updates[number - 1] if number else ("", "")
    memory, plan = item.updates[number]
    if (memory, plan) == before:
        return [None]
    if item.family in ("list", "count"):
        return [*((line, plan) for line in memory.removeprefix(before[0]).strip("\n").split("\n")), None]
    if item.family != "hops":
        return [(memory, plan)]
    first, _, second = memory.partition("\n")
    found: list[Said] = [] if before[0] else [(first, find_plan(item.key.attribute, first.partition(": ")[2]))]
    return [*found, (second, plan) if second else None]
