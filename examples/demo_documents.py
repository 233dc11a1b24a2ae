"""Documents for the demo, made of text every Python 3.11 carries, with facts hidden in them. Knows no service.

The language reference that `help()` shows and the docstrings of the standard library become text files and web pages.
Ordinary sentences with invented facts are put behind paragraphs at places drawn from a seed, so that every question
has one known answer, somewhere in more than 200,000 tokens.
"""

from __future__ import annotations

import ast
import html
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics
from random import Random

PAGE_CHARACTERS = 110_000
"""Size of one document; nine or ten of them make the 200,000 tokens."""


@dataclass(frozen=True, slots=True)
class Page:
    """One document as it is served."""

    name: str
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Truth:
    """A question whose answer was planted."""

    kind: str
    """What makes it hard, for people."""
    question: str
    answer: str
    sentences: tuple[str, ...]
    """What was planted, in reading order; near misses are not listed."""


@dataclass(slots=True)
class Section:
    """A heading and its paragraphs; a paragraph keeps its line breaks."""

    heading: str
    paragraphs: list[str]


def make(count_tokens: Callable[[str], int], tokens: int, seed: int) -> tuple[list[Page], list[Truth], int]:
    """Pages of at least `tokens` tokens altogether, the planted truths, and the exact number of tokens."""
    rng = Random(seed)
    documents: list[list[Section]] = [[]]
    total = size = 0
    for section in sections():
        text = plain([section])
        if size + len(text) > PAGE_CHARACTERS and size:
            documents.append([])
            size = 0
        documents[-1].append(section)
        size += len(text)
        total += count_tokens(text)
        if total >= tokens:
            break
    truths = plant(rng, documents)
    pages = []
    for number, document in enumerate(documents):
        # Every second document is a web page, so that both ways of reading are shown.
        if number % 2:
            pages.append(
                Page(f"page-{number + 1}.html", "text/html; charset=utf-8", web(document, number + 1).encode())
            )
        else:
            pages.append(Page(f"text-{number + 1}.txt", "text/plain; charset=utf-8", plain(document).encode()))
    return pages, truths, sum(count_tokens(plain(document)) for document in documents)


def sections() -> Iterator[Section]:
    """The language reference by topic, then the standard library by module."""
    for name, text in sorted(topics.topics.items()):
        yield Section(name, [part.strip("\n") for part in text.split("\n\n") if part.strip()])
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py")):
        paragraphs = list(docstrings(file))
        if sum(map(len, paragraphs)) > 1_000:
            yield Section(f"The module {file.stem}", paragraphs)


def docstrings(file: Path) -> Iterator[str]:
    """Paragraphs of a module's docstrings, in the order of the source."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            if len(text) > 100:
                yield from (part.strip("\n") for part in text.split("\n\n") if part.strip())


def plain(document: list[Section]) -> str:
    """A document as a text file."""
    parts = []
    for section in document:
        parts += [f"{section.heading}\n{'=' * len(section.heading)}", *section.paragraphs]
    return "\n\n".join(parts) + "\n"


def web(document: list[Section], number: int) -> str:
    """A document as a web page."""
    parts = [f"<!doctype html><html><head><meta charset=utf-8><title>Python notes, page {number}</title>"]
    parts.append("<style>body{max-width:60em}</style></head><body>")
    for section in document:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        for paragraph in section.paragraphs:
            tag = "p" if is_prose(paragraph) else "pre"
            parts.append(f"<{tag}>{html.escape(paragraph)}</{tag}>")
    return "\n".join([*parts, "</body></html>\n"])


def is_prose(paragraph: str) -> bool:
    """Whether a sentence can follow this paragraph naturally."""
    lines = paragraph.splitlines()
    return len(paragraph) > 120 and lines[0][:1].isalpha() and paragraph.endswith(".") and "  " not in paragraph


def plant(rng: Random, documents: list[list[Section]]) -> list[Truth]:
    """Hide facts and near misses; the questions with their answers."""
    code, other_code = rng.sample(range(2_000, 9_999), 2)
    first, second, third, fourth = sorted(rng.sample([41_200, 47_500, 52_300, 58_900, 61_400, 66_700], 4))
    port, wrong = rng.sample(["Odense", "Cadiz", "Leith", "Bergen"], 2)
    options = sorted({"Odense", "Cadiz", "Leith", "Bergen"})
    letter = "ABCD"[options.index(port)]
    choices = " ".join(f"{'ABCD'[place]}) {name}" for place, name in enumerate(options))
    last = len(documents) - 1
    # (sentence, document) in reading order; a later value of one thing stands in a later document.
    single = (f"The access code of Norwick Library is {code}.", rng.randint(1, last - 1))
    updates = [
        (f"The budget of project Falcon is {first:,} euros.", 0),
        (f"In spring the budget of project Falcon was raised from {first:,} euros to {second:,} euros.", last // 2),
        (f"Since then the budget of project Falcon has been changed to {third:,} euros.", last),
    ]
    choice = (f"The home port of the Silver Heron is {port}.", rng.randint(0, last))
    near_misses = [
        (f"The access code of Norwick Museum is {other_code}.", rng.randint(0, last)),
        (f"The budget of project Heron is {fourth:,} euros.", last),
        (f"The home port of the Silver Falcon is {wrong}.", rng.randint(0, last)),
        ("The budget of the library was discussed for a long time and nothing was decided.", rng.randint(0, last)),
    ]
    for sentence, number in [single, *updates, choice, *near_misses]:
        hide(rng, sentence, documents[number])
    return [
        Truth("one fact", "What is the access code of Norwick Library?", str(code), (single[0],)),
        Truth(
            "a fact that changed twice, in three documents",
            "What is the budget of project Falcon?",
            f"{third:,} euros",
            tuple(sentence for sentence, _ in updates),
        ),
        Truth(
            "multiple choice",
            f"What is the home port of the Silver Heron? {choices}",
            letter,
            (choice[0],),
        ),
    ]


def hide(rng: Random, sentence: str, document: list[Section]) -> None:
    """Put the sentence, as a line of its own, behind a random paragraph of prose."""
    places = [
        (section, number)
        for section in document
        for number, paragraph in enumerate(section.paragraphs)
        if is_prose(paragraph)
    ]
    section, number = rng.choice(places)
    section.paragraphs[number] += f"\n{sentence}"
