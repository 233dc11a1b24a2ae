"""Documents that nobody here wrote: their text beside an independent program's, and locators followed back to them.

Needs the cache of `python benchmarks/real_documents.py`. Two texts are compared as words (a CJK character counts as
one) after NFKC, because programs differ in ligatures, hyphens at line ends, leaders and layout, never in which words a
document has:

kept    share of the other program's words that are in ours, as often
made    share of our words that the other program does not have
order   share of the other program's runs of three words that are in ours too
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import random
import re
import tarfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lxml.html
import pytest
import real_documents
from lxml import etree
from real_documents import Unavailable, path, tool

from longfold_server.errors import DocumentError
from longfold_server.ingest import DocumentStore
from longfold_server.ingest.documents import StoredDocument

pytestmark = pytest.mark.slow

LOCATORS = 200
"""Followed back for every format."""
_DECIMALS = re.compile(r"\d+\.\d{3,}(?:E[-+]?\d+)?")
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힣]|[^\W_]+")


def words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text))


def rounded(text: str) -> str:
    """Six digits of every number with decimals: what a cell holds as 5.0999999999999996 is shown as 5.1 by Excel and
    written so by ours (15 digits), while xlsx2csv writes all 17, or six where the cell has a format."""
    return _DECIMALS.sub(lambda found: f"{float(found[0]):g}", text)


@dataclass(frozen=True)
class Likeness:
    kept: float
    made: float
    order: float


def likeness(ours: str, theirs: str) -> Likeness:
    mine, other = words(ours), words(theirs)
    common = (Counter(mine) & Counter(other)).total()
    runs = {tuple(other[at : at + 3]) for at in range(len(other) - 2)}
    own = {tuple(mine[at : at + 3]) for at in range(len(mine) - 2)}
    return Likeness(common / max(1, len(other)), 1 - common / max(1, len(mine)), len(runs & own) / max(1, len(runs)))


class Shelf:
    """Real documents, each ingested once, on an event loop of the module's own."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._taken: dict[Path, StoredDocument] = {}
        self.store = self._runner.run(self._open(folder))

    async def _open(self, folder: Path) -> DocumentStore:
        return DocumentStore(folder)

    def take(self, file: Path) -> StoredDocument:
        data = file.read_bytes()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        if file not in self._taken:
            self._taken[file] = self._runner.run(self.store.ingest_upload(chunks(), "", file.name))
        return self._taken[file]

    def text(self, file: Path) -> str:
        document = self.take(file)
        return self.store.span(document.document_id, 0, document.characters)

    def close(self) -> None:
        self._runner.run(self.store.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    try:
        path("")
    except Unavailable as error:
        pytest.skip(str(error))
    made = Shelf(tmp_path_factory.mktemp("real"))
    yield made
    made.close()


def files(*patterns: str) -> list[str]:
    """Names of the cache's documents; the patterns themselves where there is no cache."""
    root = real_documents.CACHE / "documents"
    return [str(found.relative_to(root)) for pattern in patterns for found in sorted(root.glob(pattern))] or [*patterns]


# Text beside an independent program's


@pytest.mark.parametrize("name", files("pdf/*.pdf"))
def test_pdf_has_the_words_of_pdftotext(shelf: Shelf, name: str) -> None:
    found = likeness(shelf.text(path(name)), tool("pdftotext", str(path(name)), "-").decode())
    assert found.kept >= 0.97 and found.made <= 0.03 and found.order >= 0.85, found


@pytest.mark.parametrize("name", files("html/*.html"))
def test_html_has_the_words_of_another_program(shelf: Shelf, name: str) -> None:
    # html2text of Debian 12 does not know tags of HTML 5 and writes their scripts and styles; pandoc does.
    theirs = tool("pandoc", "--from=html", "--to=plain", "--wrap=none", str(path(name))).decode()
    found = likeness(shelf.text(path(name)), theirs)
    assert found.kept >= 0.97 and found.made <= 0.03 and found.order >= 0.9, found


@pytest.mark.parametrize("name", [name for name in files("docx/*.docx") if "landscape" not in name])
def test_docx_has_the_words_of_pandoc(shelf: Shelf, name: str) -> None:
    theirs = tool("pandoc", "--to=plain", "--wrap=none", "--columns=10000", str(path(name))).decode()
    found = likeness(shelf.text(path(name)), theirs)
    assert found.kept >= 0.97 and found.made <= 0.05 and found.order >= 0.9, found


def chapters(file: Path) -> list[bytes]:
    """The pages of a book in reading order."""
    with zipfile.ZipFile(file) as book:
        name = next(name for name in book.namelist() if name.endswith(".opf"))
        package = etree.fromstring(book.read(name))
        pages = {item.get("id"): item.get("href") for item in package.iter("{*}item")}
        folder = name.rpartition("/")[0] + "/" if "/" in name else ""
        spine = [str(pages[item.get("idref")]).partition("#")[0] for item in package.iter("{*}itemref")]
        return [book.read(folder + page) for page in dict.fromkeys(spine)]


@pytest.mark.parametrize("name", files("epub/*.epub"))
def test_epub_has_the_words_of_its_pages_in_order(shelf: Shelf, name: str) -> None:
    # pandoc itself refuses these books, whose spine names places inside pages.
    form = ["--from=html", "--to=plain", "--wrap=none"]
    theirs = "\n".join(tool("pandoc", *form, stdin=page).decode() for page in chapters(path(name)))
    found = likeness(shelf.text(path(name)), theirs)
    assert found.kept >= 0.97 and found.made <= 0.05 and found.order >= 0.9, found


@pytest.mark.parametrize("name", files("xlsx/*.xlsx"))
def test_xlsx_has_the_words_of_xlsx2csv(shelf: Shelf, name: str) -> None:
    theirs = tool("xlsx2csv", "--all", "--dateformat", "%Y-%m-%d", str(path(name))).decode()
    found = likeness(rounded(shelf.text(path(name))), rounded(re.sub(r"(?m)^-{8} \d+ - ", "", theirs)))
    assert found.kept >= 0.97 and found.order >= 0.95, found


@pytest.mark.parametrize("name", files("tutor/*.txt"))
def test_text_in_an_old_encoding_is_the_text_in_utf8(shelf: Shelf, name: str) -> None:
    language, _, charset = name.removeprefix("tutor/").removesuffix(".txt").partition(".")
    if charset == "utf-8":
        assert shelf.text(path(name)) == unicodedata.normalize("NFC", path(name).read_text("utf-8"))
        return
    twin = {"zh.big5": "zh_tw", "zh.euc": "zh_cn"}.get(f"{language}.{charset}", language)
    found = likeness(shelf.text(path(name)), path(f"tutor/{twin}.utf-8.txt").read_text("utf-8"))
    if charset in UNTOLD:
        assert found.kept < 0.9  # and no more: then this exception can go
    else:
        assert found.kept >= 0.95 and found.order >= 0.9, found


UNTOLD = frozenset({"cp737", "big5"})
"""Read wrong without a label: an encoding of DOS that nobody guesses, and a file with bytes that no Big5 has."""


def decoded(file: Path) -> str:
    """The Russian guide is in KOI8-R, and does not say so."""
    return file.read_text("koi8-r" if file.name == "install.ru.txt" else "utf-8")


@pytest.mark.parametrize("name", files("text/*.txt"))
def test_plain_text_is_the_same(shelf: Shelf, name: str) -> None:
    assert shelf.text(path(name)) == unicodedata.normalize("NFC", decoded(path(name)))


@pytest.mark.parametrize("name", files("mail/*"))
def test_every_mail_gives_a_text_or_a_code(shelf: Shelf, name: str) -> None:
    try:
        assert shelf.text(path(name)).strip()
    except DocumentError as error:
        assert error.code.startswith("document_")


# Locators, followed back


@dataclass(frozen=True)
class Cited:
    """A random span and where it is said to stand."""

    text: str
    locator: str
    fragment: str
    file: str


def cited(shelf: Shelf, file: Path, count: int, seed: int = 58213) -> Iterator[Cited]:
    """Spans of 60 to 300 characters that begin and end at words."""
    document = shelf.take(file)
    text = shelf.text(file)
    chance = random.Random(seed)
    made = 0
    while made < count:
        start = chance.randrange(len(text))
        start = max(text.rfind(" ", 0, start), text.rfind("\n", 0, start)) + 1
        end = min(len(text), start + chance.randrange(60, 300))
        end = max(text.rfind(" ", start, end), text.rfind("\n", start, end), start)
        if len(words(text[start:end])) < 5:
            continue
        made += 1
        locator = shelf.store.locate(document.document_id, start, end)
        yield Cited(text[start:end], locator.text, locator.fragment, locator.file)


def stands_in(span: str, place: str) -> bool:
    """Whether nine in ten of a span's words are in a place: hyphens at line ends and leaders cost a few, as does a
    program's own number of decimals."""
    mine, other = (Counter(words(rounded(text))) for text in (span, place))
    return (mine & other).total() >= 0.9 * mine.total()


def letters_stand_in(span: str, place: str) -> bool:
    """The same by runs of five letters, for pages whose letters stand apart: programs put blanks elsewhere."""
    mine, other = ("".join(words(text)) for text in (span, place))
    runs = {mine[at : at + 5] for at in range(len(mine) - 4)}
    return sum(run in other for run in runs) >= 0.85 * len(runs)


def follow(
    shelf: Shelf,
    names: list[str],
    back: Callable[[Path, Cited], str | None],
    least: float = 0.995,
    fits: Callable[[str, str], bool] = stands_in,
) -> None:
    """Hold `LOCATORS` random spans to what `back` finds at their locators."""
    missed = []
    for name in names:
        for one in cited(shelf, path(name), -(-LOCATORS // len(names))):
            place = back(path(name), one)
            if place is None or not fits(one.text, place):
                missed.append((name, one, (place or "")[:200]))
    assert len(missed) <= (1 - least) * LOCATORS, f"{len(missed)} of {LOCATORS}: {missed[:3]}"


def _numbers(locator: str) -> range:
    first, _, last = locator.rpartition(" ")[2].partition("-")
    return range(int(first), int(last or first) + 1)


def test_pages(shelf: Shelf) -> None:
    pages: dict[Path, list[str]] = {}

    def back(file: Path, one: Cited) -> str:
        if file not in pages:
            pages[file] = tool("pdftotext", str(file), "-").decode().split("\f")
        found = re.fullmatch(r"pp?\. (\d+)(?:-(\d+))?", one.locator)
        assert found and one.fragment == f"page={found[1]}", one
        return "\n".join(pages[file][int(found[1]) - 1 : int(found[2] or found[1])])

    follow(shelf, files("pdf/*.pdf"), back, fits=lambda *texts: stands_in(*texts) or letters_stand_in(*texts))


HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def _sections(page: bytes | str) -> list[tuple[set[str], str, str]]:
    """(ids at or right before the heading, heading, text until the next heading and its own) of a page, by libxml2."""
    sections: list[tuple[set[str], list[str], list[str]]] = [(set(), [], [])]
    waiting: set[str] = set()

    def walk(element: etree._Element) -> None:
        nonlocal waiting
        stack: list[tuple[etree._Element, bool, bool]] = [(element, False, False)]
        while stack:
            node, done, inside = stack.pop()
            if done:
                if node.tail:
                    sections[-1][2].append(node.tail)
                    sections[-1][1].extend([node.tail] if inside else [])
                sections[-1][2].append(" ")
                continue
            if not isinstance(node.tag, str) or node.tag in ("script", "style", "head", "title"):
                if node.tail:
                    sections[-1][2].append(node.tail)
                continue
            name = node.get("id") or (node.get("name") if node.tag == "a" else None)
            if name:
                waiting = {*waiting, name}
            opens = node.tag in HEADINGS
            if opens:
                sections.append((waiting, [], []))
                waiting = set()
            if inside or opens:
                sections[-1][0].update(waiting)
            if node.text:
                sections[-1][2].append(node.text)
                if inside or opens:
                    sections[-1][1].append(node.text)
                if node.text.strip() and not opens:
                    waiting = waiting if not sections[-1][0] else set()
            stack.append((node, True, inside))
            stack.extend((child, False, inside or opens) for child in reversed(node))

    walk(lxml.html.document_fromstring(page))
    return [(ids, " ".join("".join(heading).split()), "".join(text)) for ids, heading, text in sections]


def _section_of(one: Cited) -> str:
    found = re.search(r'section "(.*)"', one.locator)
    return found[1] if found else ""


def test_sections_and_ids_of_html(shelf: Shelf) -> None:
    pages: dict[Path, list[tuple[set[str], list[str], str]]] = {}

    def back(file: Path, one: Cited) -> str | None:
        if file not in pages:
            pages[file] = [(ids, words(heading)[:20], text) for ids, heading, text in _sections(file.read_bytes())]
        name = words(_section_of(one))[:20]
        at = [
            place
            for place, (ids, heading, _) in enumerate(pages[file])
            if (one.fragment in ids if one.fragment else heading == name)
        ]
        # A span may begin in one section and end in the next.
        return " ".join(text for place in at for _, _, text in pages[file][place : place + 4]) if at else None

    follow(shelf, files("html/*.html"), back)


def test_sections_of_docx(shelf: Shelf) -> None:
    pages: dict[Path, list[tuple[set[str], str, str]]] = {}

    def back(file: Path, one: Cited) -> str | None:
        if file not in pages:
            # Decoded here: pandoc's fragment does not name its charset, and libxml2 would take it for Latin-1.
            pages[file] = _sections(tool("pandoc", "--to=html", "--wrap=none", str(file)).decode())
        name = words(_section_of(one))
        at = [n for n, (_, heading, _) in enumerate(pages[file]) if words(heading)[: len(name)] == name or not name]
        return " ".join(text for place in at for _, _, text in pages[file][place : place + 4]) if at else None

    follow(shelf, ["docx/aptitude.ru.docx", "docx/example.docx", "docx/ffmpeg.docx", "docx/maxima.docx"], back)


def test_chapters_of_epub(shelf: Shelf) -> None:
    books: dict[Path, list[str]] = {}

    def back(file: Path, one: Cited) -> str | None:
        if file not in books:
            pages = [lxml.html.document_fromstring(page) for page in chapters(file)]
            books[file] = [" ".join(words(" ".join(page.itertext()))) for page in pages]
        name = " ".join(words(_section_of(one)) or words(one.locator.removeprefix("chapter")))
        # The page that has the heading, and the one behind it, into which a span may reach.
        found = [n for n, text in enumerate(books[file]) if name in text]
        return " ".join(" ".join(books[file][n : n + 2]) for n in found) if found else None

    follow(shelf, files("epub/*.epub"), back)


def test_slides(shelf: Shelf) -> None:
    def back(file: Path, one: Cited) -> str:
        with zipfile.ZipFile(file) as deck:
            order = etree.fromstring(deck.read("ppt/presentation.xml"))
            targets = {
                relation.get("Id"): relation.get("Target")
                for relation in etree.fromstring(deck.read("ppt/_rels/presentation.xml.rels"))
            }
            ids = [
                next(str(value) for key, value in slide.attrib.items() if str(key).endswith("}id"))
                for slide in order.iter("{*}sldId")
            ]
            shown = [etree.fromstring(deck.read(f"ppt/{targets[ids[n - 1]]}")) for n in _numbers(one.locator)]
        assert one.locator.startswith("slide"), one
        return " ".join(" ".join(str(text.text) for text in slide.iter("{*}t")) for slide in shown)

    follow(shelf, files("pptx/*.pptx"), back)


def test_rows_of_sheets(shelf: Shelf) -> None:
    sheets: dict[tuple[Path, str], list[list[str]]] = {}

    def back(file: Path, one: Cited) -> str:
        found = re.fullmatch(r"sheet (.*?)(?: rows? (\d+)(?:-(\d+))?)?", one.locator)
        assert found, one
        if (file, found[1]) not in sheets:
            table = tool("xlsx2csv", "--sheetname", found[1], "--dateformat", "%Y-%m-%d", str(file)).decode()
            sheets[file, found[1]] = list(csv.reader(io.StringIO(table)))
        rows = sheets[file, found[1]]
        first = int(found[2] or 1)
        # The header comes again now and then, and a span may begin above the first row or end in the next sheet.
        cells = [*rows[first - 1 : int(found[3] or first)], rows[0], [found[1]]]
        return one.text if "\n# " in one.text else " ".join(" ".join(row) for row in cells)

    follow(shelf, ["xlsx/readTest.xlsx", "xlsx/datasets.xlsx", "xlsx/loadExample.xlsx"], back, 0.97)


def test_rows_of_csv(shelf: Shelf) -> None:
    rows: list[list[str]] = list(csv.reader(io.StringIO(path("csv/oui.csv").read_text("utf-8"))))

    def back(file: Path, one: Cited) -> str:
        return " ".join(" ".join(rows[number - 1]) for number in [1, *_numbers(one.locator)])

    follow(shelf, ["csv/oui.csv"], back)


def test_records_of_jsonl(shelf: Shelf) -> None:
    records = path("jsonl/languages.jsonl").read_text("utf-8").splitlines()

    def back(file: Path, one: Cited) -> str:
        return " ".join(records[number - 1] for number in _numbers(one.locator))

    follow(shelf, ["jsonl/languages.jsonl"], back, 1.0)


def test_records_of_json(shelf: Shelf) -> None:
    (records,) = json.loads(path("json/languages.json").read_text("utf-8")).values()

    def back(file: Path, one: Cited) -> str:
        if one.locator.startswith("record"):
            return "\n".join(json.dumps(records[n - 1], ensure_ascii=False) for n in _numbers(one.locator))
        lines = file.read_text("utf-8").splitlines()
        return "\n".join(lines[number - 1] for number in _numbers(one.locator))

    follow(shelf, ["json/languages.json"], back, 1.0)


@pytest.mark.parametrize("pattern", ["text/*.txt", "markdown/*.md"])
def test_lines_of_text(shelf: Shelf, pattern: str) -> None:
    def back(file: Path, one: Cited) -> str:
        lines = decoded(file).split("\n")
        found = re.search(r"lines? (\d+)(?:-(\d+))?", one.locator)
        assert found, one
        return "\n".join(lines[int(found[1]) - 1 : int(found[2] or found[1])])

    follow(shelf, files(pattern), back, 1.0)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JDK's module java.desktop out of its source archive: some thousand files."""
    target = tmp_path_factory.mktemp("sources") / "java.desktop.zip"
    with zipfile.ZipFile(path("archives/openjdk.zip")) as given, zipfile.ZipFile(target, "w", 8) as made:
        for info in given.infolist():
            if info.filename.startswith("java.desktop/"):
                made.writestr(info, given.read(info))
    return target


def test_lines_of_files_in_an_archive_of_thousands(shelf: Shelf, sources: Path) -> None:
    missed = []
    with zipfile.ZipFile(sources) as archive:
        assert len(archive.namelist()) > 1_000
        for one in cited(shelf, sources, LOCATORS):
            found = re.search(r":(\d+)(?:-(\d+))?$", one.locator)
            lines = archive.read(one.file).decode("utf-8", "replace").split("\n")
            place = "\n".join(lines[int(found[1]) - 1 : int(found[2] or found[1])]) if found else "\n".join(lines)
            # A span that begins in one file, or in the line above it, and ends in the next is located by its beginning.
            if not stands_in(one.text, place) and not re.search("==>|<==", one.text):
                missed.append((one, place))
    assert not missed


def test_a_tar_of_a_source_tree(shelf: Shelf) -> None:
    file = path("archives/testsuite.tar.gz")
    text = shelf.text(file)
    with tarfile.open(file) as archive:
        members = [member for member in archive if member.isfile()]
        assert len(members) > 1_000
        read = 0
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            name = member.name.removeprefix("./")
            if f"==> {name} <==" in text:
                read += 1
            elif os.path.splitext(name)[1] == ".py" and member.size:
                assert any(one.path.startswith(name.rpartition("/")[0]) for one in shelf.take(file).skipped), name
        assert read > 1_000
    assert shelf.text(path("archives/testsuite.tar.zst")) == text


def test_an_archive_of_more_files_than_are_read_is_refused(shelf: Shelf) -> None:
    with pytest.raises(DocumentError) as caught:
        shelf.take(path("archives/openjdk.zip"))
    assert caught.value.code == "document_too_large"


def test_there_are_books_pages_and_trees_as_large_as_promised(shelf: Shelf) -> None:
    document = shelf.take(path("pdf/r-reference.pdf"))
    assert sum(mark.kind == "page" for mark in shelf.store.marks(document.document_id)) > 500
    assert path("html/lilypond.html").stat().st_size > 5_000_000
