"""PowerPoint presentations (ECMA-376-1 part 19): slides in their order, with tables and speaker's notes."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from longfold_server.ingest.formats.container import Container, opened
from longfold_server.ingest.formats.docx import main_part, title_of
from longfold_server.ingest.formats.readable import LAYOUT
from longfold_server.ingest.formats.source import Labels, Source
from longfold_server.ingest.formats.tables import row_line
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind, Reason

WHAT = "a PowerPoint presentation (PPTX)"
_LEFT_OUT = frozenset(["dt", "ftr", "sldNum", "sldImg", "hdr"])
"""Placeholders of date, footer, number and picture: the same on every slide."""
_TITLES = frozenset(["title", "ctrTitle"])


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    first = ""
    with opened(source, WHAT) as container:
        for number, part in enumerate(_slides(container), 1):
            writer.mark(Kind.SLIDE, str(number))
            if not container.has(part):
                writer.skip(f"slide {number}", Reason.UNDECODABLE, "the file does not hold this slide")
                continue
            with writer.part(f"slide {number}"):
                title = _slide(container, part, number, writer)
                first = first or title
        return Labels(title_of(container), first)


def _slide(container: Container, part: str, number: int, writer: Writer) -> str:
    """The title of a slide that was read."""
    slide = container.tree(part)
    notes = next((target for kind, target in container.relations(part).values() if kind == "notesSlide"), "")
    spoken = _shapes(container.tree(notes))[1] if container.has(notes) else []
    title, text = _shapes(slide)
    if title:
        writer.write(f"# {title}\n\n")
    writer.write("".join(f"{line}\n" for line in text))
    if spoken:
        writer.write("\nNotes:\n" + "".join(f"{line}\n" for line in spoken))
    if not (title or text) and any(_name(element) == "pic" for element in slide.iter(etree.Element)):
        writer.skip(f"slide {number}", Reason.SCANNED_PAGE, "it is a picture without text")
    writer.write("\n")
    return title


def _slides(container: Container) -> Iterator[str]:
    main = main_part(container, WHAT)
    relations = container.relations(main)
    for element in container.tree(main).iter(etree.Element):
        if _name(element) == "sldId":
            # Of its two ids the one in the namespace of relations.
            related = next((value for key, value in element.attrib.items() if str(key).endswith("}id")), "")
            yield relations.get(str(related), ("", ""))[1]


def _shapes(slide: etree._Element) -> tuple[str, list[str]]:
    """The title and the lines of the other text, in the order of drawing."""
    title, lines = "", []
    for element in slide.iter(etree.Element):
        name = _name(element)
        if name == "sp":
            kind = next((found.get("type", "") for found in element.iter(etree.Element) if _name(found) == "ph"), None)
            if kind in _LEFT_OUT:
                continue
            paragraphs = list(_paragraphs(element))
            if kind in _TITLES and not title:
                title = " ".join(" ".join(paragraphs).split())
            else:
                lines += paragraphs
        elif name == "tr":
            cells = [" ".join(_paragraphs(cell)) for cell in element if _name(cell) == "tc"]
            lines += [line] if (line := row_line(cells)) else []
    return title, lines


def _paragraphs(shape: etree._Element) -> Iterator[str]:
    for paragraph in shape.iter(etree.Element):
        if _name(paragraph) != "p":
            continue
        pieces = []
        for element in paragraph.iter(etree.Element):
            name = _name(element)
            if name == "t":
                pieces.append(element.text or "")
            elif name in ("br", "tab"):
                pieces.append("\n" if name == "br" else "\t")
        text = "".join(pieces).translate(LAYOUT)
        if text.strip():
            yield text


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
