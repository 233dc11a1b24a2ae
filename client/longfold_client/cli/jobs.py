"""`longfold status`, `steps`, `events` and `cancel`: one call each, printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from pydantic import BaseModel

from ..client import Client
from ..types import TERMINAL
from .show import STEP_HEAD, job_lines, step_lines
from .text import one_line


def status(options: argparse.Namespace) -> int:
    """Prints a job's state, and its answer once there is one."""
    with Client(options.server) as client:
        job = client.get(options.id)
    _print_json(job) if options.json else _print(job_lines(job))
    return 0


def steps(options: argparse.Namespace) -> int:
    """Prints every reading step, page by page as they arrive; JSON is one object per line."""
    with Client(options.server) as client:
        head = not options.json
        for step in client.steps(options.id):
            if head:
                _print([STEP_HEAD])
                head = False
            _print_json(step) if options.json else _print(step_lines(step, options.memory))
        if head:
            _print(["no step yet"])
    return 0


def events(options: argparse.Namespace) -> int:
    """Prints a job's events, one per line, until the job ends."""
    with Client(options.server) as client:
        for event in client.events(options.id, options.after):
            if options.json:
                _print_json(event)
            else:
                data = one_line(json.dumps(event.data, ensure_ascii=False), 160)
                _print([f"{event.seq:>6}  {event.at:%H:%M:%S}  {event.type.value:<10}  {data}"])
            sys.stdout.flush()
    return 0


def cancel(options: argparse.Namespace) -> int:
    """Cancels a job and says what it is now."""
    with Client(options.server) as client:
        job = client.cancel(options.id)
    if options.json:
        _print_json(job)
    elif job.status in TERMINAL:
        _print([f"job {job.id} is {job.status.value}"])
    else:
        _print([f"job {job.id} is being cancelled"])
    return 0


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _print_json(model: BaseModel) -> None:
    sys.stdout.write(f"{model.model_dump_json()}\n")
