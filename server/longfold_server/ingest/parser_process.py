"""The child process that parses hostile formats: one JSON line per job on stdin, one JSON line per reply on stdout.

Run as `python -m longfold_server.ingest.parser_process MEMORY_BYTES FILE_BYTES`. Limits apply to everything it does,
and it has neither network nor child processes; its parent kills it when a job takes too long and starts another. Its
first line says that it is ready, or why it cannot be.
"""

from __future__ import annotations

import errno
import json
import resource
import sys
from pathlib import Path
from typing import Any

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import formats
from longfold_server.ingest.confinement import confine, die_with_parent
from longfold_server.ingest.errors import FULL
from longfold_server.ingest.formats.source import Budget, Labels, Source, too_big
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.text import Encoding

LONGEST_LABEL = 1_000
"""Characters of a title or a message that are sent back."""


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Parse one file into a text and its index (both UTF-8)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + job["cpu_seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    encoding = Encoding(job["codec"], job["skip"])
    path = Path(job["source"])
    budget = Budget.of(path.stat().st_size)
    source = Source(path, job["media_type"], encoding, job["name"], Path(job["scratch"]), budget=budget)
    try:
        with (
            Path(job["target"]).open("w", encoding="utf-8", errors="replace", newline="") as text,
            Path(job["index"]).open("w", encoding="utf-8", errors="replace", newline="") as index,
        ):
            writer = Writer(text, index, source.media_type)
            labels = formats.read(source, writer)
            writer.close()
            if not writer.visible:
                raise _empty(writer)
    except DocumentError as error:
        return _refusal(error)
    except OSError as error:
        if error.errno in FULL:
            return {"full": True}
        return _refusal(too_big()) if error.errno == errno.EFBIG else {"error": type(error).__name__}
    except Exception as error:  # the boundary: whatever a parser raises is data for the parent
        return {"error": type(error).__name__}
    return _labels(labels)


def _refusal(error: DocumentError) -> dict[str, str]:
    return {"error": error.code, "detail": error.detail[:LONGEST_LABEL]}


def _labels(labels: Labels) -> dict[str, str]:
    return {"title": labels.title[:LONGEST_LABEL], "heading": labels.heading[:LONGEST_LABEL]}


def _empty(writer: Writer) -> DocumentError:
    """Nothing was read: the reasons, as far as one sentence holds them."""
    if not writer.skipped:
        return DocumentError(Code.DOCUMENT_EMPTY, "it holds no text")
    first, others = writer.skipped[0], sum(part.count for part in writer.skipped) - 1
    more = f", and {others:,} more such reasons" if others else ""
    return DocumentError(Code.DOCUMENT_EMPTY, f"it holds no text that can be read: {first.path}: {first.message}{more}")


def main(arguments: list[str]) -> None:
    """Serve jobs until stdin ends."""
    memory_bytes, file_bytes = (int(argument) for argument in arguments)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        die_with_parent()  # one that died before has sent no job: stdin ends
        confine()
    except OSError as error:
        _say({"unconfined": str(error)})
        return
    _say({"ready": True})
    for line in sys.stdin:
        _say(answer(json.loads(line)))


def _say(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
