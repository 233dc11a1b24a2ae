"""Word, PowerPoint and Excel: what of their markup becomes text, and where it is found again."""

from __future__ import annotations

import io
import zipfile

import pytest
from samples import XML, docx, docx_parts, packed, paragraph, pptx, xlsx

from longfold_server.errors import DocumentError
from longfold_server.ingest.formats.xlsx import _look
from longfold_server.ingest.index import Reason

from .conftest import Parse

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def changed(container: bytes, part: str, old: str, new: str) -> bytes:
    """A container with one part's text replaced."""
    with zipfile.ZipFile(io.BytesIO(container)) as given:
        parts: dict[str, str | bytes] = {name: given.read(name).decode() for name in given.namelist()}
    assert str(parts[part]).count(old) == 1
    return packed(parts | {part: str(parts[part]).replace(old, new)})


def relations(**targets: str) -> str:
    rows = "".join(f'<Relationship Id="{k}" Type="{OFFICE}/{k}" Target="{t}"/>' for k, t in targets.items())
    return f'{XML}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{rows}</Relationships>'


def test_a_word_document_by_its_headings(parse: Parse) -> None:
    got = parse(docx("The code is 58213.", "It changed."))
    assert got.text == "\n# Setup\n\nThe code is 58213.\n\nIt changed.\n\n"
    assert got.brief() == [("heading", "Setup")] and got.labels.heading == "Setup"
    assert got.at("58213").text == 'section "Setup"'


def test_tables_lists_breaks_and_changes_in_word(parse: Parse) -> None:
    cell = "<w:tc>{}</w:tc>".format
    inner = f"<w:tbl><w:tr>{cell(paragraph('in'))}{cell(paragraph('side'))}</w:tr></w:tbl>"
    body = (
        f"<w:tbl><w:tr>{cell(paragraph('Name'))}{cell(paragraph('Code'))}</w:tr>"
        f"<w:tr>{cell(paragraph('two') + paragraph('lines'))}{cell(inner)}</w:tr></w:tbl>"
        f"<w:p><w:pPr><w:numPr/></w:pPr>{run('item')}</w:p>"
        "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
        f"<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins>{run('new')}</w:ins></w:p>"
        f"<w:p>{run('stays')}<w:moveFrom>{run('moved')}</w:moveFrom></w:p><w:p><w:moveTo>{run('moved')}</w:moveTo></w:p>"
        f"<w:p><w:r><w:t>x</w:t><w:noBreakHyphen/><w:t>y&#160;z&#173;</w:t></w:r></w:p>"
    )
    got = parse(packed(docx_parts(body)))
    assert got.text == "Name | Code\ntwo lines | in | side\n\n- item\na\tb\nc\n\nnew\n\nstays\n\nmoved\n\nx-y z\n\n"


def test_a_text_box_stands_once(parse: Parse) -> None:
    box = paragraph("boxed")
    body = (
        '<w:p><w:r><mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
        f"<mc:Choice><w:txbxContent>{box}</w:txbxContent></mc:Choice>"
        f"<mc:Fallback><w:txbxContent>{box}</w:txbxContent></mc:Fallback></mc:AlternateContent></w:r>{run('around')}</w:p>"
    )
    assert parse(packed(docx_parts(body))).text == "boxed\n\naround\n\n"


def test_styles_notes_and_title_of_word(parse: Parse) -> None:
    styles = (
        f'{XML}<w:styles xmlns:w="{WORD}">'
        '<w:style w:styleId="Z"><w:name w:val="heading 2"/></w:style>'
        '<w:style w:styleId="Child"><w:name w:val="Mine"/><w:basedOn w:val="Z"/></w:style>'
        '<w:style w:styleId="Loop"><w:basedOn w:val="Loop"/></w:style>'
        '<w:style w:styleId="Out"><w:pPr><w:outlineLvl w:val="2"/></w:pPr></w:style></w:styles>'
    )
    note = '<w:footnote w:id="{}"{}>{}</w:footnote>'.format
    notes = note("0", ' w:type="separator"', paragraph("")) + note("2", "", paragraph("See Ann."))
    body = (
        paragraph("Two", "Z") + paragraph("Also two", "Child") + paragraph("Three", "Out") + paragraph("plain", "Loop")
        + f'<w:p>{run("It sank.")}<w:r><w:footnoteReference w:id="2"/></w:r></w:p>'
    )  # fmt: skip
    parts = docx_parts(body) | {
        "word/_rels/document.xml.rels": relations(styles="styles.xml", footnotes="footnotes.xml"),
        "word/styles.xml": styles,
        "word/footnotes.xml": f'{XML}<w:footnotes xmlns:w="{WORD}">{notes}</w:footnotes>',
        "docProps/core.xml": f'{XML}<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The log</dc:title></c>',
    }
    got = parse(packed(parts))
    assert got.text == (
        "\n## Two\n\n\n## Also two\n\n\n### Three\n\nplain\n\nIt sank.[2]\n\n\n## Footnotes\n\n[2] See Ann.\n\n"
    )
    assert got.labels.title == "The log"
    assert got.at("See Ann.").text == 'section "Footnotes"'


def test_slides_by_number(parse: Parse) -> None:
    got = parse(pptx("First words", "Second words"))
    assert got.text == "First words\n\nSecond words\n\n"
    assert got.brief() == [("slide", "1"), ("slide", "2")]
    assert got.at("Second").text == "slide 2"
    assert got.at("words\n\nSecond").text == "slides 1-2"


def test_a_damaged_slide_costs_itself_only(parse: Parse) -> None:
    got = parse(changed(pptx("First", "Second", "Third"), "ppt/slides/slide2.xml", "</p:sld>", ""))
    assert got.text == "First\n\nThird\n\n" and got.at("Third").text == "slide 3"
    assert [(one.path, one.reason) for one in got.skipped] == [("slide 2", Reason.UNDECODABLE)]


def test_rows_of_a_sheet_keep_their_numbers(parse: Parse) -> None:
    got = parse(xlsx([["Name", "Code"], ["Blue Lantern", "58213"], ["", ""], ["two\nlines", "x"]], sheet="Q3"))
    assert got.text == "# Q3\n\nName | Code\nBlue Lantern | 58213\ntwo lines | x\n\n"
    assert got.at("58213").text == "sheet Q3 row 2"
    assert got.at("two lines").text == "sheet Q3 row 4"
    assert got.at("Name | Code\nBlue").text == "sheet Q3 rows 1-2"
    assert got.at("# Q3").text == "sheet Q3"


def test_places_that_no_sheet_has_lose_nothing(parse: Parse) -> None:
    cell = '<c{} t="inlineStr"><is><t>{}</t></is></c>'.format
    first = cell("", "x")
    book = xlsx([["x"]])
    for place, number in ((' r="ZZZ1"', "99999999999999999999"), ("", "9" * 5_000)):
        row = f'<row r="{number}">{cell(place, "a")}{cell("", "b")}</row>'
        got = parse(changed(book, "xl/worksheets/sheet1.xml", f"<row>{first}</row>", row))
        assert got.text == "# Q3\n\na | b\n\n" and got.at("a | b").text == "sheet Q3 row 1"


def test_a_cell_far_away_is_named_by_its_column(parse: Parse) -> None:
    cell = '<c r="{}9" t="inlineStr"><is><t>{}</t></is></c>'.format
    row = f'<row r="9">{cell("B", "b")}{cell("XFC", "far")}{cell("XFD", "end")}</row>'
    got = parse(changed(xlsx([["x"]]), "xl/worksheets/sheet1.xml", "</sheetData>", row + "</sheetData>"))
    assert got.text == "# Q3\n\nx\n | b | XFC: far | end\n\n" and got.at("XFC").text == "sheet Q3 row 9"


def test_a_long_sheet_repeats_its_header(parse: Parse) -> None:
    got = parse(xlsx([["Name", "Code"], *([f"ship {n}", str(n)] for n in range(2_000))]))
    assert 2 < got.text.count("[columns: Name | Code]") < 10
    assert all(got.at(f"ship {n} | {n}\n").text == f"sheet Q3 row {n + 2}" for n in range(0, 2_000, 97))


def workbook(cells: str, styles: str = "", properties: str = "") -> bytes:
    book = f'{properties}<sheets><sheet name="S" r:id="worksheet"/><sheet name="C" r:id="chartsheet"/></sheets>'
    return packed(
        {
            "[Content_Types].xml": f'{XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
            "_rels/.rels": relations(officeDocument="xl/workbook.xml"),
            "xl/workbook.xml": f'{XML}<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}">{book}</workbook>',
            "xl/_rels/workbook.xml.rels": relations(
                worksheet="s.xml", chartsheet="c.xml", styles="styles.xml", sharedStrings="strings.xml"
            ),
            "xl/strings.xml": f'{XML}<sst xmlns="{SHEET}"><si><r><t>run </t></r><r><t>on</t></r></si>'
            "<si><t>東京</t><rPh><t>トウキョウ</t></rPh></si></sst>",
            "xl/styles.xml": f'{XML}<styleSheet xmlns="{SHEET}"><numFmts><numFmt numFmtId="170" formatCode="{styles}"/>'
            '</numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="46"/>'
            '<xf numFmtId="9"/><xf numFmtId="170"/><xf numFmtId="20"/></cellXfs></styleSheet>',
            "xl/s.xml": f'{XML}<worksheet xmlns="{SHEET}"><sheetData>{cells}</sheetData></worksheet>',
        }
    )


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ('<c t="s"><v>0</v></c>', "run on"),
        ('<c t="s"><v>1</v></c>', "東京"),
        ('<c t="s"><v>9</v></c>', ""),
        ('<c t="b"><v>1</v></c>', "TRUE"),
        ('<c t="e"><v>#DIV/0!</v></c>', "#DIV/0!"),
        ('<c t="str"><f>A1&amp;"x"</f><v>made</v></c>', "made"),
        ("<c><v> 34</v></c>", "34"),  # as readxl's own example workbook has it
        ("<c><v>0.1</v></c>", "0.1"),
        ("<c><v>1.0000000000000002E+20</v></c>", "1e+20"),
        ('<c s="1"><v>42185</v></c>', "2015-06-30"),
        ('<c s="1"><v>1</v></c>', "1900-01-01"),
        ('<c s="2"><v>42185.75</v></c>', "2015-06-30 18:00:00"),
        ('<c s="3"><v>1.5</v></c>', "36:00:00"),
        ('<c s="3"><v>-0.1</v></c>', "-02:24:00"),
        ('<c s="6"><v>0.520833333</v></c>', "12:30:00"),
        ('<c s="6"><v>45356.520833333</v></c>', "2024-03-05 12:30:00"),
        ('<c s="4"><v>0.125</v></c>', "12.5%"),
        ('<c s="5"><v>42185</v></c>', "2015-06-30"),
        ('<c s="1"><v>1e300</v></c>', "1e300"),
        ('<c r="C1"><v>7</v></c>', "|  | 7"),
    ],
)
def test_values_of_cells(parse: Parse, cell: str, shown: str) -> None:
    got = parse(workbook(f'<row r="1"><c t="str"><v>.</v></c></row><row r="2">{cell}</row>', "yyyy&quot;h&quot;"))
    assert got.text.split("\n")[3].strip() == shown
    assert [(entry.path, entry.reason) for entry in got.skipped] == [("sheet C", Reason.UNSUPPORTED)]


def test_days_of_old_macs(parse: Parse) -> None:
    got = parse(workbook('<row><c s="1"><v>0</v></c></row>', "0", '<workbookPr date1904="1"/>'))
    assert "1904-01-01" in got.text


@pytest.mark.parametrize(
    ("code", "look"),
    [
        ("General", None), ("0.00", None), ("#,##0 [$USD]", None), ("0.0%", "PERCENT"), ("dd/mm/yyyy", "DATE"),
        ("[h]:mm", "ELAPSED"), ("[mm]:ss", "ELAPSED"), ("[S]", "ELAPSED"), ("h:mm AM/PM", "TIME"),
        ("[Magenta]h:mm", "TIME"), ("yyyy-mm-dd hh:mm", "DATE_TIME"), ("mmm", "DATE"), ('0 "days"', None),
        ("[Red]0;[Blue]0", None), ("0.00E+00", None), (r"0\d", None),
    ],
)  # fmt: skip
def test_formats_of_numbers(code: str, look: str | None) -> None:
    found = _look(code)
    assert (found.name if found else None) == look


def test_a_bomb_in_a_sheet_ends_the_document(parse: Parse) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(workbook(f'<row><c t="str"><v>{" " * 12_000_000}</v></c></row>'))
    assert caught.value.code == "document_too_large"
