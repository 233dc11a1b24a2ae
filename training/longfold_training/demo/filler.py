"""Text without facts: original prose, the standard library's documentation and a small grammar. Knows no entities that
are asked about."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random

from longfold_training.demo.grammar import capital, expand, sentence
from longfold_training.demo.rules import QUESTIONS
from longfold_training.demo.sentences import noise
from longfold_training.demo.words import Split, attribute

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”']?\s+(?=[\"“'A-Z])")
_SKIPPED = (
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "pydoc_data",
    "turtledemo",
    "encodings",
    "__pycache__",
)
"""Standard-library folders not read: tests, and `pydoc_data`, whose topics are kept as documents for evaluation."""

_SHARES: dict[Split, dict[str, float]] = {
    "train": {"prose": 0.5, "library": 0.25, "grammar": 0.25},
    "heldout": {"prose": 0.65, "library": 0.35},
}
"""How often a run comes from each source; the filler grammar is never used as held-out text."""


@cache
def prose(split: Split) -> tuple[tuple[str, ...], ...]:
    """Paragraphs of the original prose, each as its sentences; files named `heldout*` are the held-out split."""
    folder = files("longfold_training").joinpath("data", "prose")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".txt"))
    chosen = [name for name in names if name.startswith("heldout") == (split == "heldout")]
    return _paragraphs(folder.joinpath(name).read_text(encoding="utf-8") for name in chosen)


@cache
def library(split: Split) -> tuple[tuple[str, ...], ...]:
    """Docstring paragraphs of this Python's standard library; held out: every tenth module by name."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts: list[str] = []
    for number, path in enumerate(sorted(root.rglob("*.py"))):
        inside = path.relative_to(root).parts
        if any(part in _SKIPPED for part in inside) or (number % 10 == 0) != (split == "heldout"):
            continue
        texts.extend(_docstrings(path))
    return _paragraphs(texts)


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) > 60:
                yield text


def _paragraphs(texts: Iterator[str] | Sequence[str]) -> tuple[tuple[str, ...], ...]:
    found = []
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            joined = paragraph.strip()
            if joined.count("\n") and not re.search(r"\n(\s{2,}|>>>|[-*|])", joined):
                joined = " ".join(joined.split("\n"))
            sentences = tuple(part for part in _SENTENCE_END.split(joined[:4000]) if 0 < len(part) <= 600)
            if sentences:
                found.append(sentences)
    return tuple(found)


_GRAMMAR = (
    "{clause}", "{clause}", "{clause}", "{intro} {clause}", "{intro} {clause}{outro}", "{clause}{outro}",
    "{person} {vp}", "{person} {vp}{outro}", "{firm} {vp}{outro}", "{pseudo} {vp}", "{place_name} {vp}",
    "{agent} {past} {int} {noun}s and {int} {noun}s", "\"{clause},\" {said} {agent}",
    "the {noun} of {person} {past}", "the {noun} in {place_name} is {adj}", "{agent} {past} {code} and {code}",
    "{person} and {person} {past} the {noun}", "the {noun} {code} was {adj}",
    "{int} {noun}s, {int} {noun}s and a {adj} {noun}", "on {date}, {clause}", "it cost {money}",
    "about {measure} later, {clause}", "see {document}, {document} and {code}", "{person}, {person}, {person}",
    "the {noun} was {measure} {adj}", "number {int}: {clause}", "{year} was a {adj} {noun}",
    "what did {agent} {verb}?", "why was the {noun} {adj}?", "{agent} {moved} the {noun} {to} {phrase}",
    "the {noun} {be} {phrase}", "{np0} {be} {phrase}",
)  # fmt: skip
_LINES = (
    "{noun} {int}", "# {noun} and {noun}", "- {clause}", "- {adj} {noun}", "* {noun}: {phrase}", "{int}. {clause}",
    "{noun}: {number}", "{noun} = {number}", "CHAPTER {int}", "Chapter {int}", "{person}, {year}", "{date}",
    "{noun}_{noun}({noun}, {int})", "if {noun} > {int}: return {noun}", ">>> {noun}.{noun}({digit})",
    "{code}  {noun}  {money}", "{adj} {noun}: {code}", "{firm}, {place_name}", "def {noun}({noun}, {noun}={int}):",
    "    return {noun}[{digit}]", "| {noun} | {int} |", "Tel. {number}", "{noun}, {noun} and {noun}", "====", "---",
    "Table {int}. {noun} by {noun}", "http://{noun}.example/{noun}/{int}", "{int}) {phrase}",
    "from {person} to {person}",
)  # fmt: skip


def invented(rng: Random) -> tuple[str, bool]:
    """One sentence or line of the filler grammar, and whether it stands on a line of its own."""
    if rng.random() < 0.08:
        return capital(" ".join(noise(rng, 4, 14))) + ".", False
    if rng.random() < 0.8:
        template = rng.choice(_GRAMMAR).replace("{np0}", f"the {attribute(rng, 'train').phrase}")
        return sentence(rng, expand(rng, template, {"V": "it", "X": "it"})), False
    return expand(rng, rng.choice(_LINES), {}), True


def run(rng: Random, split: Split) -> list[tuple[str, bool]]:
    """A few consecutive sentences of one source, each with whether it stands on a line of its own."""
    source = rng.choices(tuple(_SHARES[split]), tuple(_SHARES[split].values()))[0]
    paragraphs = prose(split) if source == "prose" else library(split) if source == "library" else ()
    if not paragraphs:
        return [invented(rng) for _ in range(rng.randint(1, 3))]
    paragraph = rng.choice(paragraphs)
    start = rng.randrange(len(paragraph))
    taken = paragraph[start : start + rng.randint(1, 5)]
    return [(text, "\n" in text) for text in taken]


def questions(rng: Random, entity: str, phrase: str) -> str:
    """A question about a fact as part of a text: it states nothing."""
    return expand(rng, rng.choice(QUESTIONS), {"A": phrase, "E": entity, "cur": "current"})
