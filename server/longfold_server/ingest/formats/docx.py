"""Word documents (ECMA-376-1 part 17): paragraphs, headings, lists, tables, footnotes and endnotes. Page breaks are
made by the program that shows the file, so there are no pages."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from longfold_server.ingest.formats.container import Container, clear, opened
from longfold_server.ingest.formats.readable import LAYOUT
from longfold_server.ingest.formats.source import Labels, Source, damaged
from longfold_server.ingest.formats.tables import row_line
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind
from longfold_server.ingest.titles import tidy

WHAT = "a Word document (DOCX)"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
_USUAL = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
DEEPEST_HEADING = 6


@dataclass(slots=True)
class _Table:
    """One open table: the cells of its row, and the lines of its cell."""

    cells: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    with opened(source, WHAT) as container:
        main = main_part(container, WHAT)
        body = _Body(container, writer, main)
        body.read(main)
        for kind, part in container.relations(main).values():
            if kind in ("footnotes", "endnotes") and container.has(part):
                body.read(part)
        return Labels(title_of(container), body.heading)


def main_part(container: Container, what: str) -> str:
    """The part that an OOXML file is about. Raises `DocumentError`."""
    for kind, part in container.relations("").values():
        if kind == "officeDocument" and container.has(part):
            return part
    raise damaged(what)


def title_of(container: Container) -> str:
    """The title among the properties of an OOXML file."""
    if not container.has("docProps/core.xml"):
        return ""
    return tidy(container.tree("docProps/core.xml").findtext(_TITLE))


class _Body:
    """Reads the stories of one document."""

    def __init__(self, container: Container, writer: Writer, main: str) -> None:
        self._container = container
        self._writer = writer
        self.heading = ""
        with container.open(main) as part:
            space = f"{{{_STRICT if _STRICT.encode() in part.read(4096) else _USUAL}}}"
        self._space = space
        self._paragraph, self._table = space + "p", space + "tbl"
        self._row, self._cell, self._note = space + "tr", space + "tc", space + "footnote"
        self._endnote = space + "endnote"
        self._run = space + "r"
        self._style, self._outline, self._number = space + "pStyle", space + "outlineLvl", space + "numPr"
        self._texts = {
            space + "t": "text",
            space + "pPr": "properties",
            space + "tab": "\t",
            space + "br": "\n",
            space + "cr": "\n",
            space + "noBreakHyphen": "-",
            space + "footnoteReference": "note",
            space + "endnoteReference": "note",
            _MATH: "text",
        }
        """What the elements inside a paragraph give."""
        self._levels = self._styles(main)
        self._tables: list[_Table] = []
        self._notes = ""
        """The part whose notes have begun."""

    def read(self, part: str) -> None:
        """The text of a story."""
        moved = self._space + "moveFrom"  # text that a tracked change has moved; it stands where it went to
        tags = [self._paragraph, self._table, self._row, self._cell, _FALLBACK, self._note, self._endnote, moved]
        hidden = 0
        for event, element in self._container.elements(part, tags):
            tag = element.tag
            if tag == _FALLBACK:  # the same once more, for old programs
                hidden += 1 if event == "start" else -1
            elif tag == moved:
                if event == "end":
                    element.clear()  # and not its elders: they belong to a paragraph that goes on
                continue
            elif hidden:
                pass
            elif tag == self._table:
                self._table_event(event)
            elif tag in (self._note, self._endnote):
                if event == "start" and element.get(self._space + "type", "normal") == "normal":
                    self._begin_note(part, element.get(self._space + "id", ""))
            elif tag == self._row and event == "end" and self._tables:
                self._end_row()
            elif tag == self._cell and event == "end" and self._tables:
                table = self._tables[-1]
                table.cells.append(" ".join(table.lines))
                table.lines.clear()
            elif tag == self._paragraph and event == "end":
                self._end_paragraph(element)
            if event == "end":
                clear(element)

    def _begin_note(self, part: str, number: str) -> None:
        if part != self._notes:
            self._notes = part
            heading = posixpath.basename(part).removesuffix(".xml").capitalize()
            self._writer.write("\n")
            self._writer.mark(Kind.HEADING, heading)
            self._writer.write(f"## {heading}\n\n")
        self._writer.write(f"[{number}] ")

    def _table_event(self, event: str) -> None:
        if event == "start":
            if not self._tables:
                self._writer.end_line()
            self._tables.append(_Table())
        elif self._tables:
            self._tables.pop()
            if not self._tables:
                self._writer.write("\n")

    def _end_row(self) -> None:
        table = self._tables[-1]
        line = row_line(table.cells)
        table.cells.clear()
        if len(self._tables) > 1:  # a table in a cell is part of the cell
            self._tables[-2].lines.append(line)
        elif line:
            self._writer.write(line + "\n")

    def _end_paragraph(self, element: etree._Element) -> None:
        text, level, listed = self._text(element)
        if self._tables:
            if text.strip():
                self._tables[-1].lines.append(" ".join(text.split()))
            return
        if not text.strip():
            return
        if level:
            heading = tidy(text)
            self.heading = self.heading or heading
            self._writer.write("\n")
            self._writer.mark(Kind.HEADING, heading)
            self._writer.write(f"{'#' * min(level, DEEPEST_HEADING)} {heading}\n\n")
        else:
            self._writer.write(f"- {text}\n" if listed else f"{text}\n\n")

    def _text(self, paragraph: etree._Element) -> tuple[str, int, bool]:
        """A paragraph's text, its heading level (0 for none), and whether it is an item of a list."""
        pieces: list[str] = []
        level, listed = 0, False
        tags = self._texts
        for element in paragraph.iter(*tags):
            what = tags[str(element.tag)]
            if what == "text":
                pieces.append(element.text or "")
            elif what == "properties":
                level, listed = self._properties(element)
            elif what == "note":
                pieces.append(f"[{element.get(self._space + 'id', '')}]")
            elif what != "\t" or element.getparent().tag == self._run:  # type: ignore[union-attr]
                pieces.append(what)  # a tab elsewhere defines a tab stop
        text = "".join(pieces)
        return text if text.isascii() else text.translate(LAYOUT), level, listed

    def _properties(self, properties: etree._Element) -> tuple[int, bool]:
        level, outline, listed = 0, None, False
        for element in properties.iterchildren(self._style, self._outline, self._number):
            if element.tag == self._style:
                level = self._levels.get(_value(element, self._space), 0)
            elif element.tag == self._outline:
                outline = _level(_value(element, self._space))
            else:
                listed = True
        level = level if outline is None else outline
        return level, listed and not level

    def _styles(self, main: str) -> dict[str, int]:
        """Style id -> heading level, from what the styles state or inherit."""
        part = next((part for kind, part in self._container.relations(main).values() if kind == "styles"), "")
        if not self._container.has(part):
            return {f"Heading{level}": level for level in range(1, 10)}
        space = self._space
        levels: dict[str, int] = {}
        based: dict[str, str] = {}
        for style in self._container.tree(part).iter(space + "style"):
            name = style.get(space + "styleId", "")
            outline = style.find(f"{space}pPr/{space}outlineLvl")
            title = _value(style.find(space + "name"), space).lower()
            if outline is not None:
                levels[name] = _level(_value(outline, space))
            elif title == "title":
                levels[name] = 1
            elif title.startswith("heading "):
                levels[name] = _level(str(int(title[8:]) - 1)) if title[8:].isdecimal() else 0
            else:
                based[name] = _value(style.find(space + "basedOn"), space)
        for name in based:
            levels[name] = next((levels[parent] for parent in _parents(name, based) if parent in levels), 0)
        return levels


def _parents(name: str, based: dict[str, str]) -> Iterator[str]:
    seen = {name}
    while (name := based.get(name, "")) and name not in seen:
        seen.add(name)
        yield name


def _value(element: etree._Element | None, space: str) -> str:
    return "" if element is None else element.get(space + "val", "")


def _level(outline: str) -> int:
    """From Word's 0 for the first level and 9 for the body's text."""
    return int(outline) + 1 if outline.isdecimal() and int(outline) < 9 else 0
