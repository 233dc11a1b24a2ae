"""Questions to the real stack over documents as people have them: PDF, web pages, Word files and zipped sources, each
by URL and as an upload, among them one that cannot be read. Every citation is followed back into the file itself by
programs that have nothing of ours."""

from __future__ import annotations

import bisect
import colorsys
import inspect
import io
import keyword
import subprocess
import textwrap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import lxml.html
import pypdfium2
import pytest
from samples import docx_parts, packed, paragraph, pdf
from tests.e2e.conftest import Documents, RunningStack, prose

from longfold_client import Client

HEADINGS = {"history": "History", "rooms": "The rooms", "visitors": "For visitors", "staff": "The staff"}
"""Anchor -> heading of the four sections of a document. The fact stands in the third."""
ANCHOR = "visitors"
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


@dataclass(frozen=True, slots=True)
class Fact:
    """What one document of the set says and no other does."""

    kind: str
    """ "pdf", "html", "docx" or "zip"."""
    way: str
    """ "url" or "upload"."""
    name: str
    code: str

    @property
    def sentence(self) -> str:
        return f"The access code of {self.name} is {self.code}."

    @property
    def question(self) -> str:
        return f"What is the access code of {self.name}?"


FACTS = (
    Fact("pdf", "url", "Norbel", "4821"),
    Fact("docx", "upload", "Tarvik", "7306"),
    Fact("html", "url", "Ostrava Mill", "5519"),
    Fact("zip", "upload", "Kelby", "2284"),
    Fact("pdf", "upload", "Mill Lane Bakery", "9047"),
    Fact("docx", "url", "Sorrel", "6651"),
    Fact("html", "upload", "Blue Lantern", "3318"),
    Fact("zip", "url", "Harwick", "1182"),
)
MEDIA_TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
    "zip": "application/zip",
}


def sections(seed: int, sentence: str) -> dict[str, list[str]]:
    """Anchor -> paragraphs of ordinary prose; `sentence` stands inside one of the third section."""
    paragraphs = [" ".join(part.split()) for part in prose(seed, 40_000)]
    chosen = [part for part in paragraphs if part.isascii() and len(part) < 400][: 3 * len(HEADINGS)]
    found = {anchor: chosen[3 * at : 3 * at + 3] for at, anchor in enumerate(HEADINGS)}
    before, within, after = found[ANCHOR]
    found[ANCHOR] = [before, f"{within} {sentence} {after}"]
    return found


def book(seed: int, sentence: str) -> tuple[bytes, str]:
    """A page for each section and a scanned one."""
    pages = [
        "\n".join([HEADINGS[anchor], *textwrap.wrap(" ".join(parts), 80)])
        for anchor, parts in sections(seed, sentence).items()
    ]
    return pdf(*pages, None), "p. 3"


def report(seed: int, sentence: str) -> tuple[bytes, str]:
    body = "".join(
        paragraph(HEADINGS[anchor], "Heading1") + "".join(paragraph(escape(part)) for part in parts)
        for anchor, parts in sections(seed, sentence).items()
    )
    return packed(docx_parts(body)), f'section "{HEADINGS[ANCHOR]}"'


def page(seed: int, sentence: str) -> tuple[bytes, str]:
    body = "".join(
        f'<h2 id="{anchor}">{HEADINGS[anchor]}</h2>' + "".join(f"<p>{escape(part)}</p>\n" for part in parts)
        for anchor, parts in sections(seed, sentence).items()
    )
    contents = "".join(f'<a href="#{anchor}">{heading}</a> ' for anchor, heading in HEADINGS.items())
    head = f"<!DOCTYPE html><html><head><title>Page {seed}</title></head>"
    return f"{head}<body><nav>{contents}</nav>{body}</body></html>".encode(), f'section "{HEADINGS[ANCHOR]}"'


def tree(seed: int, sentence: str) -> tuple[bytes, str]:
    """Sources, one of them with the fact in a comment, a text and a picture."""
    sources = {module.__name__: inspect.getsource(module).splitlines() for module in (bisect, colorsys, keyword)}
    line = len(sources["colorsys"]) // 2 + seed
    sources["colorsys"].insert(line - 1, f"# {sentence}")
    files: dict[str, str | bytes] = {f"colours/src/{name}.py": "\n".join(lines) for name, lines in sources.items()}
    files["colours/README.md"] = "# Colours\n\n" + "\n\n".join(prose(seed, 1_000))
    files["colours/logo.png"] = b"\x89PNG\r\n\x1a\n\0\0"
    return packed(files), f"colours/src/colorsys.py:{line}"


MAKE: dict[str, Callable[[int, str], tuple[bytes, str]]] = {"pdf": book, "docx": report, "html": page, "zip": tree}
"""What makes a file with a sentence in it, and tells where that stands."""


def pdf_at(data: bytes, locator: str) -> str:
    opened = pypdfium2.PdfDocument(data)
    try:
        return str(opened[int(locator.removeprefix("p. ")) - 1].get_textpage().get_text_range())
    finally:
        opened.close()


def docx_at(data: bytes, locator: str) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        root = ElementTree.fromstring(parts.read("word/document.xml"))
    under: dict[str, list[str]] = {}
    heading = ""
    for each in root.iter(f"{WORD}p"):
        text = "".join(part.text or "" for part in each.iter(f"{WORD}t"))
        if each.find(f"{WORD}pPr/{WORD}pStyle[@{WORD}val='Heading1']") is not None:
            heading = text
        else:
            under.setdefault(heading, []).append(text)
    return " ".join(under[locator.removeprefix("section ").strip('"')])


def html_at(data: bytes, locator: str) -> str:
    [heading] = [each for each in lxml.html.fromstring(data).iter("h2") if f'section "{each.text}"' == locator]
    return section_text(heading)


def section_text(heading: lxml.html.HtmlElement) -> str:
    found = []
    for each in heading.itersiblings():
        if each.tag == heading.tag:
            break
        found.append(each.text_content())
    return " ".join(found)


def zip_at(data: bytes, locator: str) -> str:
    path, _, line = locator.rpartition(":")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(path).decode().splitlines()[int(line) - 1]


FOLLOW: dict[str, Callable[[bytes, str], str]] = {"pdf": pdf_at, "docx": docx_at, "html": html_at, "zip": zip_at}
"""What finds the text at a locator in a file."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """The set as a request names it: first the document that cannot be read, then those of `FACTS`."""

    documents: list[dict[str, str]]
    files: list[Path]
    locators: list[str]
    """Where each fact was put."""


@pytest.fixture(scope="module")
def mixed(stack: RunningStack, documents: Documents, tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    folder = tmp_path_factory.mktemp("mixed")
    locked = pdf(FACTS[0].sentence.replace(FACTS[0].code, "1111"), password="secret")
    named = [{"url": documents.put(locked, MEDIA_TYPES["pdf"], "locked.pdf")}]
    files, locators = [], []
    with Client(stack.url) as client:
        for seed, fact in enumerate(FACTS):
            data, locator = MAKE[fact.kind](seed, fact.sentence)
            files.append(folder / f"{seed}.{fact.kind}")
            locators.append(locator)
            files[-1].write_bytes(data)
            if fact.way == "url":
                named.append({"url": documents.put(data, MEDIA_TYPES[fact.kind], files[-1].name)})
            else:
                named.append({"document_id": client.upload(files[-1]).document_id})
    return Mixed(named, files, locators)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("number", range(len(FACTS)), ids=[f"{fact.kind}-{fact.way}" for fact in FACTS])
def test_a_citation_opens_at_the_place(client: Client, mixed: Mixed, number: int) -> None:
    fact, data, named = FACTS[number], mixed.files[number].read_bytes(), mixed.documents[number + 1]
    result = client.answer(fact.question, mixed.documents, on_document_error="skip")
    assert result.answer == fact.code
    assert result.read_fraction == 1.0 and not result.partial

    [citation] = result.citations
    url = named.get("url")
    assert (citation.document, citation.url) == (number + 1, url)
    assert citation.document_id == named.get("document_id", citation.document_id)
    assert client.text(citation.document_id, citation.start, citation.end).text == citation.quote
    assert fact.sentence in flat(citation.quote)

    assert citation.locator == mixed.locators[number]
    place = flat(FOLLOW[fact.kind](data, citation.locator))
    assert flat(citation.quote) in place and fact.sentence in place

    if url is None or fact.kind in ("docx", "zip"):
        assert citation.link is None
    elif fact.kind == "pdf":
        assert citation.link == f"{url}#page={citation.locator.removeprefix('p. ')}"
    else:
        assert citation.link is not None
        opened, _, fragment = citation.link.partition("#")
        anchor, _, text = fragment.partition(":~:text=")
        assert opened == url
        assert unquote(text) == fact.sentence
        assert fact.sentence in flat(section_text(lxml.html.fromstring(data).get_element_by_id(anchor)))

    manifest = result.manifest
    assert [entry.status for entry in manifest] == ["skipped"] + ["read"] * len(FACTS)
    assert manifest[0].url == mixed.documents[0]["url"]
    assert manifest[0].error is not None and manifest[0].error.code == "document_encrypted"
    assert all(entry.characters_read == entry.characters > 2_000 for entry in manifest[1:])
    left_out = {"pdf": ["scanned_page"], "zip": ["binary"]}
    assert [[part.reason for part in entry.skipped] for entry in manifest[1:]] == [
        left_out.get(each.kind, []) for each in FACTS
    ]
    assert [document.media_type for document in result.documents] == [MEDIA_TYPES[each.kind] for each in FACTS]


def test_the_command_line_takes_files_and_urls_in_one_question(stack: RunningStack, mixed: Mixed) -> None:
    """As in the README, with an option for the document that cannot be read."""
    words = stack.command("ask", FACTS[0].question, "--file", str(mixed.files[1]), "--url", mixed.documents[1]["url"])
    words += ["--file", str(mixed.files[3]), "--url", mixed.documents[0]["url"], "--on-document-error", "skip"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == FACTS[0].code
    [cited] = [at for at, line in enumerate(lines) if line.startswith("[")]
    assert lines[cited].startswith("[1] ") and lines[cited].endswith(", p. 3")
    assert lines[cited + 1].strip() == f"{mixed.documents[1]['url']}#page=3"
    assert FACTS[0].sentence in flat(lines[cited + 2])
    assert [line for line in lines if line.startswith("Document 4, ") and "was skipped" in line]
