"""PDF: the text of every page, in the order in which it is drawn. A page that is only a picture is reported."""

from __future__ import annotations

import re

import pypdfium2
from pypdfium2 import raw

from longfold_server.ingest.formats.readable import LAYOUT
from longfold_server.ingest.formats.source import Labels, Source, damaged, encrypted
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind, Reason

WHAT = "a PDF"
DEEPEST_OBJECT = 3
"""Forms in forms that are looked into for a picture."""
_MESSAGES = {
    Reason.SCANNED_PAGE: "scanned or drawn: it holds pictures and no text; put the file through text recognition (OCR)",
    Reason.UNDECODABLE: "damaged: it cannot be read",
}
# PDFium's mark for a hyphen that only a line's end made, and what other programs put there.
_BROKEN_WORD = re.compile("[\ufffe\x02]\r?\n?")
_LINE_END = re.compile(r"[ \t]*\r\n?")


class _Missing:
    """Pages that are skipped; neighbours with the same reason become one entry."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._run: tuple[int, int, Reason] | None = None

    def add(self, page: int, reason: Reason) -> None:
        if self._run and (self._run[1], self._run[2]) == (page - 1, reason):
            self._run = (self._run[0], page, reason)
        else:
            self.settle()
            self._run = (page, page, reason)

    def settle(self) -> None:
        if self._run:
            first, last, reason = self._run
            name = f"page {first}" if first == last else f"pages {first}-{last}"
            self._writer.skip(name, reason, _MESSAGES[reason])
            self._run = None


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    # PDFium keeps the reason of an earlier failure where a file opens but has no page; this one sets it anew.
    raw.FPDF_LoadMemDocument(b"", 0, None)
    try:
        document = pypdfium2.PdfDocument(source.path)
    except pypdfium2.PdfiumError as error:
        raise encrypted() if error.err_code == raw.FPDF_ERR_PASSWORD else damaged(WHAT) from error
    missing = _Missing(writer)
    for number in range(1, len(document) + 1):
        writer.mark(Kind.PAGE, str(number))
        try:
            text, drawn = _page(document, number)
        except pypdfium2.PdfiumError:
            missing.add(number, Reason.UNDECODABLE)
            continue
        if text:
            writer.write(f"{text}\n\n")
        elif drawn:
            missing.add(number, Reason.SCANNED_PAGE)
    missing.settle()
    return Labels(document.get_metadata_value("Title"))


def _page(document: pypdfium2.PdfDocument, number: int) -> tuple[str, bool]:
    """A page's text, and whether a page without text shows anything."""
    page = document[number - 1]
    try:
        content = page.get_textpage()
        try:
            text = content.get_text_range()
        finally:
            content.close()
        text = _LINE_END.sub("\n", _BROKEN_WORD.sub("", text)).translate(LAYOUT).strip()
        return text, not text and next(page.get_objects(max_depth=DEEPEST_OBJECT), None) is not None
    finally:
        page.close()
