"""`longfold ask`: documents in, progress while the service reads, answer and citations out; draws nothing itself."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..client import Client
from ..documents import URL, Document
from ..errors import InvalidArgument
from ..types import AnswerResult, Event, Job
from .inspect import read_credentials
from .progress import Reading, progress_view
from .show import answer_lines
from .text import one_line


def run(options: argparse.Namespace) -> int:
    """Asks, shows, prints. Ctrl-C cancels the job and is raised again with a note about it."""
    if not options.documents:
        raise InvalidArgument(
            "give at least one document: --url URL, --file PATH, --document ID, or --text - for standard input."
        )
    if options.documents.count(("text", "-")) > 1:
        raise InvalidArgument("standard input can be read once only: give --text - a single time.")
    documents = [_document(kind, value) for kind, value in options.documents]
    limits: dict[str, Any] = {"seconds": options.seconds, "tokens": options.tokens}
    reading = Reading()
    with progress_view(reading, sys.stderr, quiet=options.no_progress) as view, Client(options.server) as client:

        def on_job(job: Job) -> None:
            reading.take_job(job)
            view.refresh()

        def on_event(event: Event) -> None:
            reading.take_event(event)
            view.refresh()

        result = client.answer(
            options.question,
            documents,
            mode=options.mode,
            limits=limits,
            on_document_error=options.on_document_error,
            credentials=read_credentials(options.credentials),
            priority=options.priority,
            on_event=on_event,
            on_job=on_job,
            cancel_on_interrupt=True,
        )
    if options.json:
        sys.stdout.write(
            json.dumps({"job": reading.job_id, **result.model_dump(mode="json")}, ensure_ascii=False) + "\n"
        )
    else:
        _print(result)
    return 0


def _document(kind: str, value: str) -> Document:
    if kind == "url":
        if not URL.match(value.strip()):
            raise InvalidArgument(f"--url {one_line(value, 100)!r} is not a URL; for a local file use --file.")
        return {"url": value}
    if kind == "file":
        return Path(value)
    if kind == "document":
        return {"document_id": value.strip()}
    if value != "-":
        return {"text": value}
    if sys.stdin is None or sys.stdin.closed:
        raise InvalidArgument("--text - reads standard input, which is closed.")
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not text.strip():
        raise InvalidArgument("--text -: standard input is empty.")
    return {"text": text, "title": "standard input"}


def _print(result: AnswerResult) -> None:
    faint = ("\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    for line, dim in answer_lines(result):
        sys.stdout.write(f"{faint[0]}{line}{faint[1]}\n" if dim and line else f"{line}\n")
