"""Excel workbooks (ECMA-376-1 part 18): every sheet as rows of values, row by row; only the table of shared strings is
held. Formulas count with the values that were saved with them.

Not python-calamine, which holds whole sheets and refuses a number with a blank before it, as real files have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from lxml import etree

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.formats.container import Container, clear, opened
from longfold_server.ingest.formats.docx import main_part, title_of
from longfold_server.ingest.formats.source import Labels, Source, reason_of
from longfold_server.ingest.formats.tables import Rows
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind, Reason

WHAT = "an Excel workbook (XLSX)"
MOST_COLUMNS, MOST_ROWS = 16_384, 1_048_576
"""Of a sheet, in Excel."""
WIDEST_GAP = 100
"""Empty cells side by side that are shown as such."""
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  # sheets know no time zones
"""Day 0 of the two calendars; the first is right from 1 March 1900 on, since Excel's 1900 is a leap year."""
_COLUMN = re.compile(r"[A-Z]{1,3}")
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\[(?!h|m|s)[^\]]*\]', re.IGNORECASE)
"""What of a number's format stands for itself, and colours and currencies."""
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]")


class Look(Enum):
    """How a number is shown; the number itself where it is none of these."""

    DATE = auto()
    TIME = auto()
    """Of a day; the cell may hold the day as well, and it is then told."""
    ELAPSED = auto()
    """Hours, also more than a day has."""
    DATE_TIME = auto()
    PERCENT = auto()


# ECMA-376-1, 18.8.30; 27 to 36 and 50 to 58 are dates of East Asian calendars.
_BUILT_IN = {
    **dict.fromkeys([*range(14, 18), *range(27, 32), 36, *range(50, 59)], Look.DATE),
    **dict.fromkeys([*range(18, 22), *range(32, 36), 45, 47], Look.TIME),
    46: Look.ELAPSED,
    22: Look.DATE_TIME,
    9: Look.PERCENT,
    10: Look.PERCENT,
}


@dataclass(frozen=True, slots=True)
class _Book:
    """What the sheets of a workbook share."""

    strings: list[str]
    looks: list[Look | None]
    """By a cell's style."""
    epoch: datetime


def read(source: Source, writer: Writer) -> Labels:
    """See `formats`."""
    with opened(source, WHAT) as container:
        main = main_part(container, WHAT)
        relations = container.relations(main)
        root = container.tree(main)
        parts = {kind: part for kind, part in relations.values() if container.has(part)}
        properties = next(root.iter("{*}workbookPr"), None)
        old_mac = properties is not None and properties.get("date1904", "0") in ("1", "true")
        book = _Book(
            _strings(container, parts.get("sharedStrings", "")),
            _looks(container, parts.get("styles", "")),
            _EPOCH_1904 if old_mac else _EPOCH,
        )
        for sheet in root.iter("{*}sheet"):
            name = sheet.get("name", "")
            related = next((str(value) for key, value in sheet.attrib.items() if str(key).endswith("}id")), "")
            kind, part = relations.get(related, ("", ""))
            if kind != "worksheet":
                writer.skip(f"sheet {name}", Reason.UNSUPPORTED, "it is no table (a chart, a dialogue, macros)")
                continue
            writer.mark(Kind.SHEET, name)
            writer.write(f"# {name}\n\n")
            try:
                _sheet(container, part, book, writer)
            except DocumentError as error:
                if error.code == Code.DOCUMENT_TOO_LARGE:
                    raise
                writer.skip(f"sheet {name}", reason_of(error), "its cells are damaged from some row on")
            writer.write("\n")
        return Labels(title_of(container))


def _sheet(container: Container, part: str, book: _Book, writer: Writer) -> None:
    rows = Rows(writer)
    number = 0
    for _, row in container.elements(part, ["{*}row"], ends_only=True):
        stated = row.get("r", "")
        number = int(stated) if stated.isdecimal() and len(stated) <= len(str(MOST_ROWS)) else number + 1
        rows.add(number, _cells(row, book))
        clear(row)


def _cells(row: etree._Element, book: _Book) -> list[str]:
    cells: list[str] = []
    following = 0
    """Column behind the last cell."""
    for cell in row.iterchildren("{*}c"):
        place = _COLUMN.match(cell.get("r", ""))
        column = _column(place[0]) if place else MOST_COLUMNS
        if column >= MOST_COLUMNS:  # none, or one that no sheet has: the next
            column = following
        value = _value(cell, book)
        if place and column - following > WIDEST_GAP:
            value = f"{place[0]}: {value}"
        else:
            cells += [""] * (column - following)
        cells.append(value)
        following = column + 1
    return cells


def _column(letters: str) -> int:
    """A is 0, Z is 25, AA is 26."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: etree._Element, book: _Book) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    text = cell.findtext("{*}v") or ""
    if kind == "s":
        place = text.strip()
        return book.strings[int(place)] if place.isdecimal() and int(place) < len(book.strings) else ""
    if kind == "b":
        return "TRUE" if text.strip() == "1" else "FALSE"
    if kind != "n":
        return text
    style = cell.get("s", "")
    look = book.looks[int(style)] if style.isdecimal() and int(style) < len(book.looks) else None
    try:
        return _number(float(text), look, book.epoch) if text.strip() else ""
    except (ValueError, OverflowError):
        return text.strip()


def _number(value: float, look: Look | None, epoch: datetime) -> str:
    if look is None:
        return f"{value:.15g}"  # what Excel keeps of a number
    if look is Look.PERCENT:
        return f"{100 * value:.12g}%"
    if look is Look.ELAPSED or (look is Look.TIME and value < 1):
        hours, rest = divmod(abs(round(86_400 * value)), 3_600)
        return f"{'-' if value < 0 else ''}{hours:02}:{rest // 60:02}:{rest % 60:02}"
    if epoch is _EPOCH and 0 < value < 60:
        value += 1
    moment = epoch + timedelta(seconds=round(86_400 * value))
    return moment.date().isoformat() if look is Look.DATE else moment.isoformat(" ")


def _strings(container: Container, part: str) -> list[str]:
    if not part:
        return []
    strings = []
    for _, item in container.elements(part, ["{*}si"], ends_only=True):
        strings.append(_text(item))
        clear(item)
    return strings


def _text(item: etree._Element) -> str:
    """Of a string in runs, without the readings that stand above East Asian letters."""
    return "".join(text.text or "" for text in item.iter("{*}t") if not _is_reading(text))


def _is_reading(text: etree._Element) -> bool:
    parent = text.getparent()
    return parent is not None and str(parent.tag).endswith("}rPh")


def _looks(container: Container, part: str) -> list[Look | None]:
    if not part:
        return []
    root = container.tree(part)
    formats = {item.get("numFmtId", ""): _look(item.get("formatCode", "")) for item in root.iter("{*}numFmt")}
    looks: list[Look | None] = []
    for styles in root.iterchildren("{*}cellXfs"):
        for style in styles.iterchildren("{*}xf"):
            number = style.get("numFmtId", "")
            looks.append(
                formats[number] if number in formats else _BUILT_IN.get(int(number)) if number.isdecimal() else None
            )
    return looks


def _look(code: str) -> Look | None:
    """Of a format as people write it (18.8.31): its part for positive numbers."""
    plain = _LITERAL.sub("", code.partition(";")[0]).lower()
    day, clock = bool(re.search("[dy]", plain)), bool(re.search("[hs]", plain))
    if _ELAPSED.search(plain) and not day:
        return Look.ELAPSED
    if day or clock or ("m" in plain and "0" not in plain):
        return Look.DATE_TIME if day and clock else Look.TIME if clock else Look.DATE
    return Look.PERCENT if "%" in plain else None
