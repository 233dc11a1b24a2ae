"""Subcommands that other installed packages bring, by the entry point group `longfold.commands`; knows none of them."""

from __future__ import annotations

from collections.abc import Callable

GROUP = "longfold.commands"


def find(name: str) -> Callable[[list[str]], int] | None:
    """The command of that name, loaded: it takes the remaining arguments and returns an exit code."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        command: Callable[[list[str]], int] = entry.load()
        return command
    return None
