"""A parser run in the test's own process, and what it gave."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from longfold_server.ingest import formats, index
from longfold_server.ingest.formats.source import BINARY, Labels, Source
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Locator, Mark, Skipped


@dataclass(frozen=True)
class Parsed:
    text: str
    marks: list[Mark]
    skipped: list[Skipped]
    labels: Labels

    def brief(self) -> list[tuple[str, str]]:
        return [(str(mark.kind), mark.value) for mark in self.marks]

    def at(self, words: str) -> Locator:
        """Where some words stand, which the text holds once."""
        assert self.text.count(words) == 1, self.text
        start = self.text.index(words)
        return index.locate(self.marks, start, start + len(words), lambda place: self.text[:place].count("\n"))


Parse = Callable[..., Parsed]


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    def run(content: bytes | str, name: str = "", media_type: str = "") -> Parsed:
        path = tmp_path / "source"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        (tmp_path / "scratch").mkdir(exist_ok=True)
        within = Source(path, "", BINARY, scratch=tmp_path / "scratch")
        text, rows = io.StringIO(), io.StringIO()
        opened = formats.opened(path, name, within, media_type)
        writer = Writer(text, rows, opened.media_type)
        labels = formats.read(opened, writer)
        writer.close()
        (tmp_path / "index").write_text(rows.getvalue())
        index.check(tmp_path / "index", writer.characters)
        assert writer.characters == len(text.getvalue())
        marks = list(index.marks(tmp_path / "index"))
        return Parsed(text.getvalue(), marks, list(index.skipped(tmp_path / "index")), labels)

    return run
