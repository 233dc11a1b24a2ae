"""Small documents of every format, written byte by byte with no library of the formats: good ones and their parts.

What the tests break and the fuzz run mutates. Knows nothing of how they are read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import zstandard

XML = '<?xml version="1.0" encoding="UTF-8"?>'
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_CONTENT = "application/vnd.openxmlformats-officedocument"


def packed(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP file; its dates are fixed."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return target.getvalue()


def taped(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar file of headers and contents."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for header, content in members:
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return target.getvalue()


def _relations(targets: Mapping[str, tuple[str, str]]) -> str:
    rows = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for name, (kind, target) in targets.items()
    )
    return f'{XML}<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def _types(parts: Mapping[str, str]) -> str:
    rows = "".join(f'<Override PartName="/{name}" ContentType="{_CONTENT}.{kind}"/>' for name, kind in parts.items())
    defaults = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    defaults += '<Default Extension="xml" ContentType="application/xml"/>'
    return f'{XML}<Types xmlns="{_PACKAGE}/content-types">{defaults}{rows}</Types>'


def docx_parts(body: str, doctype: str = "") -> dict[str, str | bytes]:
    """The parts of a Word document; `body` is WordprocessingML, `doctype` stands before its root element."""
    return {
        "[Content_Types].xml": _types({"word/document.xml": "wordprocessingml.document.main+xml"}),
        "_rels/.rels": _relations({"r1": ("officeDocument", "word/document.xml")}),
        "word/document.xml": f'{XML}{doctype}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
    }


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of WordprocessingML."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def docx(*texts: str) -> bytes:
    """A Word document: a heading and paragraphs."""
    return packed(docx_parts(paragraph("Setup", "Heading1") + "".join(map(paragraph, texts))))


def xlsx(rows: Sequence[Sequence[str]], sheet: str = "Q3") -> bytes:
    """A workbook of one sheet with inline strings."""
    body = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row) + "</row>" for row in rows
    )
    book = f'<sheets><sheet name="{sheet}" sheetId="1" r:id="r1"/></sheets>'
    return packed(
        {
            "[Content_Types].xml": _types(
                {
                    "xl/workbook.xml": "spreadsheetml.sheet.main+xml",
                    "xl/worksheets/sheet1.xml": "spreadsheetml.worksheet+xml",
                }
            ),
            "_rels/.rels": _relations({"r1": ("officeDocument", "xl/workbook.xml")}),
            "xl/workbook.xml": f'{XML}<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}">{book}</workbook>',
            "xl/_rels/workbook.xml.rels": _relations({"r1": ("worksheet", "worksheets/sheet1.xml")}),
            "xl/worksheets/sheet1.xml": f'{XML}<worksheet xmlns="{_SHEET}"><sheetData>{body}</sheetData></worksheet>',
        }
    )


def pptx(*slides: str) -> bytes:
    """A presentation with one text box on every slide."""
    names = [f"slides/slide{number}.xml" for number in range(1, len(slides) + 1)]
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    spaces = f'xmlns:p="{_SLIDE}" xmlns:a="{_DRAWING}" xmlns:r="{_OFFICE}"'
    box = "<p:cSld><p:spTree><p:sp><p:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld>"
    kinds = {f"ppt/{name}": "presentationml.slide+xml" for name in names}
    return packed(
        {
            "[Content_Types].xml": _types({"ppt/presentation.xml": "presentationml.presentation.main+xml", **kinds}),
            "_rels/.rels": _relations({"r1": ("officeDocument", "ppt/presentation.xml")}),
            "ppt/presentation.xml": f"{XML}<p:presentation {spaces}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _relations(
                {f"r{number}": ("slide", name) for number, name in enumerate(names, 1)}
            ),
            **{
                f"ppt/{name}": f"{XML}<p:sld {spaces}>{box.format(text)}</p:sld>"
                for name, text in zip(names, slides, strict=True)
            },
        }
    )


def epub(*chapters: str, doctype: str = "") -> bytes:
    """A book; `doctype` stands before the package document's root element."""
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = (
        f'{XML}{doctype}<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A book</dc:title></metadata>'
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        f'{XML}<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
        '<rootfile full-path="b.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    head = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>A book</title></head>'
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip", compress_type=zipfile.ZIP_STORED)
        archive.writestr(zipfile.ZipInfo("META-INF/container.xml"), container)
        archive.writestr(zipfile.ZipInfo("b.opf"), package)
        for number, text in enumerate(chapters):
            page = f'{XML}{head}<body><h1 id="h">Chapter {number + 1}</h1><p>{text}</p></body></html>'
            archive.writestr(zipfile.ZipInfo(f"c{number}.xhtml"), page)
    return target.getvalue()


PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
"""What fills a password up to 32 bytes (ISO 32000-1, 7.6.3.3, algorithm 2)."""
_ID = b"0123456789abcdef"


def rc4(key: bytes, data: bytes) -> bytes:
    """The cipher of the oldest protected PDF files."""
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def pdf(*pages: str | None, password: str | None = None) -> bytes:
    """A PDF with the lines of ASCII of every page; None is a page with nothing but a picture, as a scanner makes it.

    With a `password` it is encrypted (ISO 32000-1, 7.6.3, revision 2); "" is what lets everybody read, as files that
    only forbid printing are.
    """
    key = b""
    trailer = ""
    if password is not None:
        owner = rc4(hashlib.md5((b"owner" + PADDING)[:32]).digest()[:5], (password.encode() + PADDING)[:32])
        padded = (password.encode() + PADDING)[:32]
        key = hashlib.md5(padded + owner + struct.pack("<i", -4) + _ID).digest()[:5]
        user = rc4(key, PADDING)
        trailer = f"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{owner.hex()}>/U<{user.hex()}>>>/ID[<{_ID.hex()}><00>]"
    numbers = [4 + 2 * place for place in range(len(pages))]
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{' '.join(f'{n} 0 R' for n in numbers)}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in zip(numbers, pages, strict=True):
        if text is None:
            drawn = b"q 600 0 0 800 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q"
        else:
            escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
            lines = escaped.replace("\n", ") Tj 0 -14 Td (")
            drawn = f"BT /F 12 Tf 50 700 Td ({lines}) Tj ET".encode()
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {number + 1} 0 R"
        bodies.append(f"{page}/Resources<</Font<</F 3 0 R>>>>>>".encode())
        if key:
            drawn = rc4(hashlib.md5(key + struct.pack("<I", number + 1)[:3] + b"\0\0").digest()[:10], drawn)
        bodies.append(f"<</Length {len(drawn)}>>stream\n".encode() + drawn + b"\nendstream")
    return pdf_of(bodies, trailer)


def pdf_of(bodies: Sequence[bytes], trailer: str = "") -> bytes:
    """A PDF of numbered objects, the first of which is the catalog."""
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj" % number + body + b"endobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += f"trailer<</Size {len(bodies) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def protected_office() -> bytes:
    """What Office writes for a document with a password: a compound file with the stream EncryptedPackage ([MS-CFB];
    [MS-OFFCRYPTO] 2.3.4.4)."""

    def entry(name: str, kind: int, child: int, sibling: int, start: int, size: int) -> bytes:
        encoded = (name + "\0").encode("utf-16-le")
        head = encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded), kind, 1)
        return head + struct.pack("<III16sIQQIQ", 0xFFFFFFFF, sibling, child, b"", 0, 0, 0, start, size)

    free, end, fat = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 0x1000, end, 0, end, 0) + struct.pack("<I", 0) + b"\xff" * 432
    table = [fat, end, *range(3, 10), end, *range(11, 18), end]
    sectors = struct.pack("<128I", *table, *[free] * (128 - len(table)))
    sectors += entry("Root Entry", 5, 1, free, end, 0)
    sectors += entry("EncryptionInfo", 2, free, 2, 2, 4096) + entry("EncryptedPackage", 2, free, free, 10, 4096)
    return header + sectors + bytes(128) + bytes(range(256)) * 32


MAIL = b"""From: Ann <ann@example.org>\r
To: Bob <bob@example.org>\r
Subject: =?utf-8?q?The_caf=C3=A9?=\r
Date: Sun, 22 Nov 2026 10:00:00 +0000\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="b"\r
\r
--b\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
The code of the caf=C3=A9 is 58213.\r
--b\r
Content-Type: text/csv; name="codes.csv"\r
Content-Disposition: attachment; filename="codes.csv"\r
Content-Transfer-Encoding: base64\r
\r
bmFtZSxjb2RlCmNhZsOpLDU4MjEzCg==\r
--b--\r
"""

_HEADING = "<!DOCTYPE html><title>A page</title><h1 id=top>Setup</h1><p>The code is <b>58213</b>.<table><tr><th>name"
SOURCES: dict[str, str | bytes] = {
    "src/a.py": "def a() -> int:\n    return 58213\n",
    "README.md": "# Setup\n\nThe code is 58213.\n",
    "page.html": "<h1>Page</h1><p>text",
}

SAMPLES: dict[str, bytes] = {
    "a.txt": "The code of the café is 58213.\nJe ne sais pas, dit-elle.\n".encode("cp1252") * 8,
    "a.md": "# Setup\n\nThe code is 58213.\n\n| name | code |\n|---|---|\n| café | 58213 |\n".encode(),
    "a.html": f"{_HEADING}<th>code<tr><td>café<td>58213</table><script>x=1</script>".encode(),
    "a.pdf": pdf("The code is 58213.", None, "Page three (of three)."),
    "a.docx": docx("The code is 58213.", "עברית and 日本語."),
    "a.pptx": pptx("The code is 58213.", "The second slide."),
    "a.xlsx": xlsx([["name", "code"], ["café", "58213"]]),
    "a.epub": epub("The code is 58213.", "The end."),
    "a.csv": 'name,code\ncafé,58213\n"two\nlines",7\nlast,8\n'.encode(),
    "a.tsv": "name\tcode\ncafé\t58213\nlast\t8\nmore\t9\n".encode(),
    "a.json": '{"name": "café", "codes": [58213, null, true], "more": {"a": "b"}}\n'.encode(),
    "a.jsonl": '{"name": "café", "code": 58213}\n{"name": "last", "code": 8}\n'.encode(),
    "a.eml": MAIL,
    "a.zip": packed({**SOURCES, "inner.zip": packed(SOURCES)}),
    "a.tar": taped((tarfile.TarInfo(name), str(text).encode()) for name, text in SOURCES.items()),
    "a.gz": gzip.compress(b"The code is 58213.\n" * 20, mtime=0),
    "a.zst": zstandard.compress(b"The code is 58213.\n" * 20),
}
"""Name -> one good document of every format."""
