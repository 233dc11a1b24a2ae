"""The manifest: one entry per document of the request, whatever became of it."""

from __future__ import annotations

from pathlib import Path

from longfold_agent.types import Position
from longfold_client.types import DocumentInfo, Problem
from longfold_server.answering.manifest import LONGEST_TOLD, MOST_SKIPPED, document_info, manifest
from longfold_server.answering.state import Setup
from longfold_server.ingest.documents import StoredDocument
from longfold_server.ingest.index import Reason, Skipped
from longfold_server.jobs.records import Source


def document(characters: int, title: str = "T", **fields: object) -> DocumentInfo:
    known = {
        "document_id": "doc_" + "0" * 64,
        "title": title,
        "media_type": "text/plain",
        "bytes": 9,
        "sha256": "0" * 64,
    }
    return DocumentInfo.model_validate({**known, "characters": characters, **fields})


GONE = Problem(title="t", status=422, detail="it is gone", code="document_not_found", document=1)
SOURCES = [Source(url=f"https://example.com/{n}", title=f"asked {n}") for n in range(5)]
OUTCOMES = [document(100), GONE, document(50, skipped_count=3), document(70), None]


def test_what_was_read_before_a_place_and_what_was_not() -> None:
    found = manifest(SOURCES, OUTCOMES, Position(2, 20, 20))
    assert [entry.status for entry in found] == ["read", "skipped", "partly_read", "not_read", "not_read"]
    assert [entry.characters_read for entry in found] == [100, 0, 20, 0, 0]
    assert [entry.title for entry in found] == ["T", "asked 1", "T", "T", "asked 4"]
    assert [entry.document for entry in found] == list(range(5))
    assert found[1].error == GONE and found[1].url == "https://example.com/1"
    assert found[2].skipped_count == 3 and found[4].error is None


def test_the_end_of_a_document_is_the_whole_of_it() -> None:
    read = [entry.status for entry in manifest(SOURCES[:3], OUTCOMES[:3], Position(2, 50, 50))]
    assert read == ["read", "skipped", "read"]
    assert [entry.status for entry in manifest(SOURCES[:1], OUTCOMES[:1], Position())] == ["not_read"]


def test_many_parts_are_counted_and_few_listed() -> None:
    parts = [Skipped(f"{n}/" + "x" * 900, Reason.BINARY, "it is a picture") for n in range(MOST_SKIPPED + 5)]
    parts.append(Skipped("last", Reason.BINARY, "it is a picture", 9_000))
    stored = StoredDocument("doc_" + "0" * 64, "T", None, "application/zip", None, 1, 2, Path("x"), tuple(parts))
    told = document_info(stored)
    assert (len(told.skipped), told.skipped_count) == (MOST_SKIPPED, MOST_SKIPPED + 9_005)
    assert len(told.skipped[0].path) == LONGEST_TOLD and told.skipped[0].reason == "binary"


def test_a_setup_survives_its_json_and_guesses_what_is_missing() -> None:
    setup = Setup(documents=OUTCOMES)
    again = Setup.from_json(setup.to_json())
    assert again.documents == OUTCOMES and not again.complete
    assert list(again.ingested) == [0, 2, 3] and list(again.leading) == [0, 2, 3]
    assert list(Setup(documents=[document(1), None, document(2)]).leading) == [0]
    # 220 characters in three documents; the one that is missing counts as their average.
    assert again.characters == 220 + 73
    assert again.characters_before(Position(2, 20, 20)) == 120
    assert Setup(documents=[None, None]).characters == 0 and Setup().leading == {}
    assert Setup.from_json(Setup().to_json()) == Setup()
