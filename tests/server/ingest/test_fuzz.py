"""A short run of `benchmarks/fuzz_documents.py`, which says what must never happen; the long one is a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_documents import make, run, small


async def test_mutated_documents_give_a_text_or_a_code(tmp_path: Path) -> None:
    verdicts = await run(small(), 170, seed=58213, folder=tmp_path)
    assert verdicts.bad == []
    assert sum(verdicts.counts.values()) == 170
    assert verdicts.total("text") > 50 and verdicts.total("document_undecodable") > 10


def test_an_input_is_the_same_again_and_broken() -> None:
    sources = small()
    for kind in sources:
        first = [make(kind, number, 1, sources) for number in range(5)]
        assert first == [make(kind, number, 1, sources) for number in range(5)]
        assert first != [make(kind, number, 2, sources) for number in range(5)]
        assert any(data not in sources[kind] for data in first)


async def test_a_parser_that_dies_and_a_stray_file_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dying(child: object, job: object) -> None:
        (tmp_path / "work" / "stray").touch()

    monkeypatch.setattr("longfold_server.ingest.sandbox._Child.ask", dying)
    verdicts = await run({"md": small()["md"]}, 2, seed=1, folder=tmp_path)
    assert (verdicts.total("crash"), verdicts.total("escape")) == (2, 1)
    assert len(list((tmp_path / "kept").iterdir())) == 2
