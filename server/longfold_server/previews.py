"""What a document would be to a job, before anything is asked: its size in tokens and chunks, where its pages and
headings are, and what a citation of it would look like. Knows no job and no route."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import closing
from itertools import islice

from longfold_agent.chunks import chunks
from longfold_agent.protocols import Tokens
from longfold_agent.types import Position
from longfold_client.types import DocumentInfo, DocumentPreview, DocumentText, OutlineEntry
from longfold_server.answering.chunks import UpTo
from longfold_server.answering.links import deep_link
from longfold_server.ingest.documents import DocumentStore
from longfold_server.turns import Turns

OUTLINE = 200
"""Marks that are shown; all are counted."""
SAMPLES = 5
SAMPLE_REACH = 2_000
"""Characters that are searched for a line to show."""
LONGEST_QUOTE, SHORTEST_QUOTE = 200, 20
COUNTED = 10_000_000
"""Characters of a document that are counted, some seconds' work; the rest is taken to be alike."""
REMEMBERED = 1_000
"""Counts of documents that are not counted again."""


class Previews:
    """Counts one document at a time: a large one takes a processor for seconds. Without `tokens` nothing is counted."""

    def __init__(self, documents: DocumentStore, tokens: Tokens | None, chunk_tokens: int | None) -> None:
        self._documents = documents
        self._tokens = tokens
        self._chunk_tokens = chunk_tokens
        self._counting = Turns(1)
        self._counted: dict[tuple[str, int], tuple[int, int]] = {}

    async def preview(
        self, document: DocumentInfo, chunk_tokens: int | None = None, *, scope: str = ""
    ) -> DocumentPreview:
        """The preview of a stored document, cut into chunks of `chunk_tokens`; every `scope` has its turn at the
        counting. Raises `DocumentError` (`document_unknown_id`), `DocumentsUnavailable`."""
        budget = chunk_tokens or self._chunk_tokens
        counted = None if budget is None else await self._count(document, budget, scope)
        marks, outline = await asyncio.to_thread(self._outline, document.document_id)
        return DocumentPreview(
            document=document,
            tokens=None if counted is None else counted[0],
            chunks=None if counted is None else counted[1],
            chunk_tokens=None if counted is None else budget,
            estimated=counted is not None and document.characters > COUNTED,
            marks=marks,
            outline=outline,
            samples=await asyncio.to_thread(self._samples, document),
        )

    async def text(self, document: DocumentInfo, start: int, end: int) -> DocumentText:
        """Characters `start` to `end` of a stored document, fewer where it ends, as a citation would show them."""
        return await asyncio.to_thread(self._text, document, start, end)

    async def _count(self, document: DocumentInfo, budget: int, scope: str) -> tuple[int, int] | None:
        """(tokens, chunks)."""
        tokens = self._tokens
        if tokens is None:
            return None
        async with self._counting.turn(scope):
            key = (document.document_id, budget)
            if key not in self._counted:
                self._counted[key] = await asyncio.to_thread(self._cut, tokens, document, budget)
                if len(self._counted) > REMEMBERED:
                    del self._counted[next(iter(self._counted))]
            return self._counted[key]

    def _cut(self, tokens: Tokens, document: DocumentInfo, budget: int) -> tuple[int, int]:
        total = count = 0
        with closing(chunks(UpTo(self._documents, 0, document.document_id), tokens, budget, Position())) as cut:
            for chunk in cut:
                total, count = total + chunk.tokens, count + 1
                if chunk.end.char >= COUNTED:
                    share = document.characters / chunk.end.char
                    return round(total * share), math.ceil(count * share)
        return total, count

    def _outline(self, document_id: str) -> tuple[dict[str, int], list[OutlineEntry]]:
        found = self._documents.marks(document_id)
        first = list(islice(found, OUTLINE))
        counts = Counter(mark.kind.value for mark in first)
        counts.update(mark.kind.value for mark in found)
        return dict(counts), [OutlineEntry(start=mark.start, kind=mark.kind.value, value=mark.value) for mark in first]

    def _samples(self, document: DocumentInfo) -> list[DocumentText]:
        """Lines from all over the document."""
        places = [round((number + 0.5) * document.characters / SAMPLES) for number in range(SAMPLES)]
        found = (self._line(document, 0 if document.characters < SAMPLE_REACH else place) for place in places)
        spans = dict.fromkeys(span for span in found if span is not None)
        return [self._text(document, start, end) for start, end in spans]

    def _line(self, document: DocumentInfo, place: int) -> tuple[int, int] | None:
        """The first whole line behind a place that says something; None where there is none."""
        text = self._documents.span(document.document_id, place, place + SAMPLE_REACH)
        at = place
        for number, line in enumerate(text.splitlines(keepends=True)):
            shown = line.strip()[:LONGEST_QUOTE].rstrip()
            if len(shown) >= SHORTEST_QUOTE and (number or not place):
                start = at + line.index(shown[0])
                return start, start + len(shown)
            at += len(line)
        return None

    def _text(self, document: DocumentInfo, start: int, end: int) -> DocumentText:
        text = self._documents.span(document.document_id, start, end)
        locator = self._documents.locate(document.document_id, start, start + len(text))
        return DocumentText(
            document_id=document.document_id,
            start=start,
            end=start + len(text),
            text=text,
            locator=locator.text,
            link=deep_link(document.url, document.media_type, locator, text),
        )
