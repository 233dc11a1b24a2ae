"""`longfold inspect`: what a document would be to a job, before anything is asked."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..client import Client
from ..documents import DOCUMENT_ID, URL, Document
from ..errors import InvalidArgument
from ..types import DocumentPreview
from .text import clean, count, one_line

SHOWN = 20
"""Lines of the outline; `--json` has all that the server tells."""
QUOTE_WIDTH = 200
_NUMBERED = frozenset({"page", "slide", "row", "record", "line"})


def run(options: argparse.Namespace) -> int:
    """Uploads or has fetched, then prints the preview."""
    with Client(options.server, timeout=60.0) as client:
        found = client.inspect(
            _document(options.document),
            chunk_tokens=options.chunk_tokens,
            credentials=read_credentials(options.credentials),
        )
    lines = [found.model_dump_json()] if options.json else preview_lines(found)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    return 0


def read_credentials(path: str | None) -> Mapping[str, Mapping[str, str]] | None:
    """Headers by origin from a JSON file, so that no secret stands on a command line. Raises InvalidArgument, never
    showing what the file holds.
    """
    if path is None:
        return None
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise InvalidArgument(f"--credentials {path}: {reason}.") from None
    if not isinstance(found, dict) or not all(isinstance(headers, dict) for headers in found.values()):
        raise InvalidArgument(f'--credentials {path}: it reads {{"https://host": {{"Authorization": "Bearer ..."}}}}.')
    return found


def preview_lines(preview: DocumentPreview) -> Iterator[str]:
    """The preview as plain lines."""
    document = preview.document
    yield one_line(document.title or document.document_id, 200)
    yield f"id         {document.document_id}"
    kind = document.media_type + (f", {document.encoding}" if document.encoding else "")
    yield f"type       {one_line(kind, 200)}"
    yield f"size       {document.bytes:,} bytes, {document.characters:,} characters"
    if preview.tokens is not None:
        cut = f", {count(preview.chunks or 0, 'chunk')} of {preview.chunk_tokens:,}" if preview.chunk_tokens else ""
        about = "about " if preview.estimated else ""
        yield f"tokens     {about}{preview.tokens:,}{cut}"
    if preview.marks:
        yield f"index      {', '.join(count(number, kind) for kind, number in preview.marks.items())}"
    for part in document.skipped[:SHOWN]:
        yield f"left out   {one_line(part.path, 100)}: {one_line(part.message, 300)}"
    if document.skipped_count > min(SHOWN, len(document.skipped)):
        yield f"           {document.skipped_count:,} parts in all"
    shown = [entry for entry in preview.outline if entry.kind not in _NUMBERED][:SHOWN]
    if shown:
        yield ""
        yield from (f"{entry.start:>12,}  {entry.kind:<8} {one_line(entry.value, 90)}" for entry in shown)
    if preview.samples:
        yield ""
        yield "A citation would read:"
    for sample in preview.samples:
        yield f"    {one_line(sample.locator, 100)}: “{one_line(sample.text, QUOTE_WIDTH)}”"
        if sample.link:
            yield f"        {one_line(sample.link, 500)}"


def _document(text: str) -> Document:
    if DOCUMENT_ID.fullmatch(text) or URL.match(text):
        return text
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) and not Path(text).exists():
        raise InvalidArgument(f"{one_line(clean(text), 100)!r} is neither a file nor a URL.")
    return Path(text)
