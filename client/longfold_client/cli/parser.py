"""The command line's grammar; imports argparse only, so that `--help` is immediate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

EPILOG = """\
`longfold up` starts everything on this machine (pip install 'longfold-server[cpu]').
Environment: LONGFOLD_URL, LONGFOLD_API_KEY. Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
"""
ASK_EPILOG = """\
examples:
  longfold ask "Who signed the treaty?" --url https://example.com/history.html
  longfold ask "What changed between the two?" --file old.txt --file new.txt
  dmesg | longfold ask "What failed first?" --text -
"""


@dataclass(frozen=True)
class Parser:
    """The root parser and the commands it knows."""

    root: argparse.ArgumentParser
    commands: frozenset[str]


class InOrder(argparse.Action):
    """Collects the options that name a document into one list, so that documents keep the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        kind = (option_string or "").lstrip("-")
        namespace.documents = [*namespace.documents, (kind, values)]


def build_parser(version: str) -> Parser:
    """The grammar of the built-in commands."""
    root = argparse.ArgumentParser(
        prog="longfold",
        description="Questions over documents far larger than any context window.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"longfold {version}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument(
            "--server", metavar="URL", help="where the service is (default: LONGFOLD_URL, else this machine)"
        )
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")
        return parser

    _ask(add("ask", "ask a question over documents", ASK_EPILOG))
    inspect = add("inspect", "show what a document would be: its type, size, tokens, pages, and how it is cited")
    inspect.add_argument("document", metavar="FILE_OR_URL", help="a local file, a URL, or the id of a document")
    inspect.add_argument("--chunk-tokens", type=_natural, metavar="N", help="count chunks of N tokens")
    _credentials(inspect)
    add("status", "show how far a job is").add_argument("id", metavar="ID")
    steps = add("steps", "show what every reading step did to the memory")
    steps.add_argument("id", metavar="ID")
    steps.add_argument(
        "--memory", action="store_true", help="show the whole memory after each change, and its lines +/-"
    )
    events = add("events", "print a job's events until it ends")
    events.add_argument("id", metavar="ID")
    events.add_argument("--after", type=_natural, default=0, metavar="N", help="only events with a number above N")
    add("cancel", "cancel a job").add_argument("id", metavar="ID")
    return Parser(root, frozenset(commands.choices))


def _ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", metavar="QUESTION")
    documents = parser.add_argument_group("documents (at least one; each option may be repeated, their order is kept)")
    parser.set_defaults(documents=[])
    for flag, metavar, text in (
        ("--url", "URL", "a document that the server fetches"),
        ("--file", "PATH", "a local file, uploaded first"),
        ("--text", "TEXT", "the text itself; - reads standard input"),
        ("--document", "ID", "one that the server has, as `longfold inspect` names it"),
    ):
        documents.add_argument(
            flag, action=InOrder, metavar=metavar, help=text, dest="documents", default=argparse.SUPPRESS
        )
    parser.add_argument(
        "--mode", choices=("auto", "direct", "fold"), default="auto", help="how to read (default: auto)"
    )
    parser.add_argument("--seconds", type=_positive, metavar="N", help="answer from what was read after N seconds")
    parser.add_argument("--tokens", type=_natural, metavar="N", help="answer from what was read after N model tokens")
    parser.add_argument(
        "--priority",
        type=int,
        choices=range(10),
        default=0,
        metavar="N",
        help="0 to 9; begun before your other jobs of a lower one (default: 0)",
    )
    parser.add_argument(
        "--on-document-error",
        choices=("fail", "skip"),
        default="fail",
        help="skip: answer from the others when a document cannot be read (default: fail)",
    )
    _credentials(parser)
    parser.add_argument("--no-progress", action="store_true", help="say nothing while reading")


def _credentials(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--credentials",
        metavar="FILE",
        help='headers for the servers of documents, as JSON: {"https://host": {"Authorization": "Bearer ..."}}',
    )


def _natural(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value
