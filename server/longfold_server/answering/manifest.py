"""What became of a job's documents, as the wire tells it. Knows no store and no engine."""

from __future__ import annotations

from collections.abc import Sequence

from longfold_agent.types import Position
from longfold_client.types import DocumentInfo, ManifestEntry, Problem, SkippedPart
from longfold_server.ingest.documents import StoredDocument
from longfold_server.jobs.records import Source

MOST_SKIPPED = 20
"""Parts of one document that are listed; the others are counted. They stand in the job's hash and in its answer."""
LONGEST_TOLD = 300
"""Characters of a part's path or message."""

Outcome = DocumentInfo | Problem
"""A document that was ingested, or why it was not."""


def document_info(stored: StoredDocument) -> DocumentInfo:
    """The wire's view of an ingested document."""
    return DocumentInfo(
        document_id=stored.document_id,
        title=stored.title,
        url=stored.url,
        media_type=stored.media_type,
        encoding=stored.encoding,
        bytes=stored.bytes,
        characters=stored.characters,
        sha256=stored.sha256,
        skipped=[
            SkippedPart(path=_short(part.path), reason=part.reason, message=_short(part.message))
            for part in stored.skipped[:MOST_SKIPPED]
        ],
        skipped_count=sum(part.count for part in stored.skipped),
    )


def manifest(sources: Sequence[Source], outcomes: Sequence[Outcome | None], read: Position) -> list[ManifestEntry]:
    """One entry per document of the request; everything before `read` was read."""
    return [
        _entry(index, source, outcome, read)
        for index, (source, outcome) in enumerate(zip(sources, outcomes, strict=True))
    ]


def _entry(index: int, source: Source, outcome: Outcome | None, read: Position) -> ManifestEntry:
    if not isinstance(outcome, DocumentInfo):
        return ManifestEntry(
            document=index,
            status="not_read" if outcome is None else "skipped",
            document_id=source.document_id,
            title=source.title or "",
            url=source.url,
            error=outcome,
        )
    characters = outcome.characters if index < read.document else read.char if index == read.document else 0
    return ManifestEntry(
        document=index,
        status="not_read" if not characters else "read" if characters >= outcome.characters else "partly_read",
        document_id=outcome.document_id,
        title=outcome.title,
        url=outcome.url,
        characters=outcome.characters,
        characters_read=characters,
        skipped=outcome.skipped,
        skipped_count=outcome.skipped_count,
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TOLD else text[: LONGEST_TOLD - 1] + "…"
