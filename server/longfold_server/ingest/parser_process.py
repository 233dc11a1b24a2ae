"""The child process that parses hostile formats: one JSON line per job on stdin, one JSON line per reply on stdout.
Knows no network.

Run as `python -m longfold_server.ingest.parser_process MEMORY_BYTES`. Limits apply to everything it does; its parent
kills it when a job takes too long and starts another. A new format's parser is one more entry of `PARSERS`.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longfold_server.ingest.html import Page, read_html
from longfold_server.ingest.text import Encoding

Parser = Callable[[Path, Encoding, Callable[[str], object]], Page]

PARSERS: dict[str, Parser] = {"text/html": read_html}
"""Media type -> parser. Everything else is plain text and needs none."""

LONGEST_LABEL = 1_000
"""Characters of a title that are sent back."""


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Parse one file into another (UTF-8)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + job["cpu_seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    parser = PARSERS[job["media_type"]]
    encoding = Encoding(job["codec"], job["skip"])
    try:
        with Path(job["target"]).open("w", encoding="utf-8", errors="replace", newline="") as target:
            page = parser(Path(job["source"]), encoding, target.write)
    except Exception as error:  # the boundary: whatever a parser raises is data for the parent
        return {"error": type(error).__name__}
    return {"title": page.title[:LONGEST_LABEL], "heading": page.heading[:LONGEST_LABEL]}


def main(arguments: list[str]) -> None:
    """Serve jobs until stdin ends."""
    (memory_bytes,) = arguments
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
