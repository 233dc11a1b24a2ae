"""What a second worker needs to continue a job: the setup, fixed before reading, and the state, written with every
step.

Holds no document text. JSON only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from longfold_agent.errors import ResumeRefused
from longfold_agent.fold import Fold
from longfold_agent.provenance import Provenance
from longfold_agent.types import Position, Query
from longfold_client.types import DocumentInfo, Problem, Route, TokenUsage
from longfold_server.answering.manifest import Outcome
from longfold_server.jobs.records import compact

FORMAT = 2
"""Version of both JSON forms; another one is refused."""


@dataclass(slots=True)
class Setup:
    """Grows as the job is prepared; None is what has not been done yet."""

    documents: list[Outcome | None] | None = None
    """One per document of the request; None for one that has not come yet."""
    query: Query | None = None
    route: Route | None = None
    ingest_seconds: float = 0.0
    usage: TokenUsage = field(default_factory=TokenUsage)
    engine_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every document has come."""
        return self.documents is not None and None not in self.documents

    @property
    def ingested(self) -> dict[int, DocumentInfo]:
        """The documents that can be read, by their index."""
        found = enumerate(self.documents or ())
        return {index: document for index, document in found if isinstance(document, DocumentInfo)}

    @property
    def leading(self) -> dict[int, DocumentInfo]:
        """Like `ingested`, as far as no document before is still missing."""
        documents = self.documents or []
        end = len(documents) if self.complete else documents.index(None) if documents else 0
        return {index: document for index, document in self.ingested.items() if index < end}

    @property
    def characters(self) -> int:
        """Of all documents; one that has not come yet is taken to be of average size."""
        sizes = [document.characters for document in self.ingested.values()]
        missing = 0 if self.documents is None else self.documents.count(None)
        return sum(sizes) + (missing * sum(sizes) // len(sizes) if sizes else 0)

    def characters_before(self, place: Position) -> int:
        """Characters of all documents before a place."""
        before = (document.characters for index, document in self.ingested.items() if index < place.document)
        return sum(before) + place.char

    def to_json(self) -> str:
        return compact(
            {
                "format": FORMAT,
                "documents": None
                if self.documents is None
                else [
                    {"problem": document.model_dump(mode="json")}
                    if isinstance(document, Problem)
                    else document and document.model_dump(mode="json")
                    for document in self.documents
                ],
                "query": None if self.query is None else asdict(self.query),
                "route": None if self.route is None else self.route.model_dump(mode="json"),
                "seconds": [self.ingest_seconds, self.engine_seconds],
                "usage": self.usage.model_dump(),
            }
        )

    @classmethod
    def from_json(cls, saved: str | None) -> Self:
        """Raises `ResumeRefused`."""
        if saved is None:
            return cls()
        values = _values(saved)
        documents, query, route = values["documents"], values["query"], values["route"]
        return cls(
            documents=None if documents is None else [_outcome(document) for document in documents],
            query=None if query is None else Query(**query),
            route=None if route is None else Route.model_validate(route),
            ingest_seconds=values["seconds"][0],
            engine_seconds=values["seconds"][1],
            usage=TokenUsage.model_validate(values["usage"]),
        )


@dataclass(slots=True)
class Reading:
    """Where the reading stands after the last committed step."""

    fold: Fold
    provenance: Provenance = field(default_factory=Provenance)
    position: Position = field(default_factory=Position)
    """Behind the last chunk read."""
    tokens_read: int = 0
    memory_tokens: int = 0
    memory_seq: int = 0
    """Number of the last event that holds the memory; 0 for none."""
    seconds: float = 0.0
    """Spent reading, over all workers."""
    slowest_call: float = 0.0
    longest_reply: int = 0
    """Most completion tokens of a read call so far."""
    usage: TokenUsage = field(default_factory=TokenUsage)
    engine_seconds: float = 0.0

    def to_json(self) -> str:
        place = self.position
        return compact(
            {
                "format": FORMAT,
                "fold": self.fold.to_json(),
                "provenance": self.provenance.to_json(),
                "position": [place.document, place.char, place.byte],
                "counts": [self.tokens_read, self.memory_tokens, self.memory_seq, self.longest_reply],
                "seconds": [self.seconds, self.slowest_call, self.engine_seconds],
                "usage": self.usage.model_dump(),
            }
        )

    @classmethod
    def from_json(cls, saved: str, *, profile: str, tokens: str, chunk_budget: int) -> Self:
        """Raises `ResumeRefused` for a state of another profile, tokenizer or chunk budget."""
        values = _values(saved)
        tokens_read, memory_tokens, memory_seq, longest_reply = values["counts"]
        seconds, slowest_call, engine_seconds = values["seconds"]
        return cls(
            fold=Fold.from_json(values["fold"], profile=profile, tokens=tokens, chunk_budget=chunk_budget),
            provenance=Provenance.from_json(values["provenance"]),
            position=Position(*values["position"]),
            tokens_read=tokens_read,
            memory_tokens=memory_tokens,
            memory_seq=memory_seq,
            longest_reply=longest_reply,
            seconds=seconds,
            slowest_call=slowest_call,
            engine_seconds=engine_seconds,
            usage=TokenUsage.model_validate(values["usage"]),
        )


def _outcome(saved: dict[str, Any] | None) -> Outcome | None:
    if saved is None:
        return None
    return Problem.model_validate(saved["problem"]) if "problem" in saved else DocumentInfo.model_validate(saved)


def _values(saved: str) -> dict[str, Any]:
    try:
        values = json.loads(saved)
    except ValueError as error:
        raise ResumeRefused("the saved job state is not JSON") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ResumeRefused(f"the saved job state is not of format {FORMAT}")
    return values
