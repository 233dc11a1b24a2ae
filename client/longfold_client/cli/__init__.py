"""The command `longfold`: finds the subcommand, runs it, makes errors into one line and an exit code; knows no HTTP.

Exit codes: 0 done, 1 it failed, 2 wrong usage, 130 interrupted. The answer goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable

from ..version import __version__
from .commands import CommandBroken, find
from .parser import build_parser

INSTALL_SERVER = "`longfold up` comes with the server: pip install 'longfold-server[cpu]'"
INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: whoever read our output went away, as `head` does."""


def main(argv: list[str] | None = None) -> int:
    """Runs `longfold argv...`; returns the exit code, never raises for what a user can cause."""
    arguments = sys.argv[1:] if argv is None else argv
    if sys.stdout is None:  # closed by who started us, and then there is nothing to say there
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an answer may hold what this terminal cannot show
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes stdout once more on its way out
        return BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        notes = getattr(interrupt, "__notes__", ["stopped."])
        _complain(" ".join(["interrupted:", *notes]))
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    parser = build_parser(__version__)
    if arguments and arguments[0] not in parser.commands and not arguments[0].startswith("-"):
        return _foreign(parser.root, arguments[0], arguments[1:])
    try:
        options = parser.root.parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    return _run(options)


def _foreign(root: argparse.ArgumentParser, name: str, rest: list[str]) -> int:
    """A command of another installed package, or a sentence about why there is none."""
    try:
        command: Callable[[list[str]], int] | None = find(name)
    except CommandBroken as error:
        _complain(str(error))
        return 1
    if command is not None:
        return command(rest)
    if name == "up":
        _complain(INSTALL_SERVER)
        return 1
    sys.stderr.write(root.format_usage())
    _complain(f"there is no command {name!r}; `longfold --help` lists them.")
    return 2


def _run(options: argparse.Namespace) -> int:
    from ..errors import InvalidArgument, LongfoldError
    from . import ask, inspect, jobs

    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "ask": ask.run,
        "inspect": inspect.run,
        "status": jobs.status,
        "steps": jobs.steps,
        "events": jobs.events,
        "cancel": jobs.cancel,
    }
    try:
        return commands[options.command](options)
    except InvalidArgument as error:
        _complain(str(error))
        return 2
    except LongfoldError as error:
        _complain(str(error))
        return 1


def _complain(text: str) -> None:
    from .text import clean

    sys.stderr.write(f"longfold: {clean(text)}\n")


__all__ = ["main"]
