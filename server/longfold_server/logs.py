"""Structured logs: one JSON object a line on stderr. Ids, sizes, timings and counts only; never questions, texts, keys
or query strings."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

_SECRETS = (
    (re.compile(r"(https?://)[^\s/@]*@"), r"\1"),
    (re.compile(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*"), r"\1?..."),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s'\",;]+"), r"\1 ..."),
    (re.compile(r"\b(lf|whsec)_[A-Za-z0-9+/=_-]{8,}"), r"\1_..."),
)
"""What must not stand in a library's message, and what stands there instead: credentials and query strings of URLs,
Authorization headers, our keys and secrets."""
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JSONFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `event`, then what our own code gave as `extra`. Of an exception only types and
    places, never its text: a message may quote what a user sent."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.partition(".")[0].startswith("longfold")
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if ours else redacted(record.getMessage()),
        }
        if ours:
            line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["trace"] = [
                f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}"
                for frame in frames[-12:]
            ]
        return json.dumps(line, default=str)


def redacted(message: str) -> str:
    """A library's message for our logs: its first line, since further ones quote what was worked on (asyncio prints a
    lost task's exception there), without secrets."""
    line = message.partition("\n")[0]
    for pattern, instead in _SECRETS:
        line = pattern.sub(instead, line)
    return line


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sends every logger of this process to `stream` (stderr) as JSON lines. For a program's start, never for a
    library's import."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Access lines would hold query strings, and httpx logs whole URLs.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
