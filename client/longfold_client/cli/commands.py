"""Subcommands that other installed packages bring, by the entry point group `longfold.commands`; knows none of them."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import LongfoldError

GROUP = "longfold.commands"


class CommandBroken(LongfoldError):
    """A package brings the command, but it does not import."""


def find(name: str) -> Callable[[list[str]], int] | None:
    """The command of that name, loaded: it takes the remaining arguments and returns an exit code. Raises
    CommandBroken.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        try:
            command: Callable[[list[str]], int] = entry.load()
        except (ImportError, AttributeError) as error:
            package = entry.dist.name if entry.dist is not None else entry.module
            raise CommandBroken(
                f"`longfold {name}` of {package} does not start: {error}; install {package} again."
            ) from error
        return command
    return None
