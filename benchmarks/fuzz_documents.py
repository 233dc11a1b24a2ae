"""Mutated documents through the whole of ingestion: detection, the parser process, the index, the store. Knows what may
come out, and nothing of how.

`python benchmarks/fuzz_documents.py` breaks pieces of the real documents of `real_documents.py` and the small ones of
`samples.py`, 20,000 times; input N of a format depends on the seed, the format and N alone, so `--only pdf --first 1234
--inputs 1` is the same one again. What must never happen:

crash   the parser process ended without a reply
hang    one document took longer than its limits, or than `LONGEST` seconds
escape  a file stands where none may, or a parser process has a child or an open socket
wrong   an error without a code, a text that is not canonical, an index that does not fit its text
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import os
import random
import re
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pypdfium2
import real_documents
import zstandard
from report import Row, report
from samples import SAMPLES, packed, taped

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import DocumentStore
from longfold_server.ingest import index as indexes
from longfold_server.ingest.canonical import canonical
from longfold_server.ingest.sandbox import Sandbox

LONGEST = 120.0
"""Seconds of one input of at most some hundred kilobytes: generous, for a machine with other work."""
PARSER = "longfold_server.ingest.parser_process"
"""The module that a parser process runs."""
PIECE = 40_000
"""Bytes of a large text that one input is made of."""
PDF_PAGES = 4
TELLING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
)
"""Bytes that parsers stumble over."""
NUMBERS = (b"0", b"-1", b"1", b"255", b"65536", b"2147483647", b"4294967296", b"99999999999999999999", b"1e999", b"NaN")
_NUMBER = re.compile(rb"\d+")
VALUES = (
    *NUMBERS,
    b"",
    b"../../a",
    b"http://127.0.0.1/",
    b"file:///etc/passwd",
    b"&#x10FFFF;",
    b"x" * 5_000,
    b"#",
    b"rId1",
)
"""Of attributes."""
_ATTRIBUTE = re.compile(rb'[\s][\w:]+="([^"<&]*)"')
_LEAF = re.compile(rb"(<([\w:]+)(?:\s[^<>]*)?(?:/>|>[^<>]*</\2>))")
_STREAM = re.compile(rb"/FlateDecode[^>]*>>\s*stream\r?\n(.*?)endstream", re.DOTALL)


def mutate(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """One to eight changes; `other` is what pieces are taken from."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        if not broken:
            break
        at = chance.randrange(len(broken))
        length = min(chance.choice((1, 4, 16, 200, 5_000)), len(broken) - at)
        match chance.randrange(9):
            case 0:
                broken[at] ^= 1 << chance.randrange(8)
            case 1:
                broken[at : at + length] = chance.choice(TELLING)
            case 2:
                del broken[at : at + length]
            case 3:
                broken[at:at] = broken[at : at + length] * chance.choice((1, 2, 50))
            case 4:
                broken[at:at] = chance.randbytes(length)
            case 5:
                del broken[at:]
            case 6:
                start = chance.randrange(max(1, len(other)))
                broken[at : at + length] = other[start : start + chance.choice((4, 50, 2_000))]
            case 7:
                if found := _NUMBER.search(broken, at):
                    broken[found.start() : found.end()] = chance.choice(NUMBERS)
            case _:
                end = chance.randrange(len(broken))
                piece = broken[at : at + length]
                del broken[at : at + length]
                broken[end:end] = piece
    return bytes(broken)


def reworded(data: bytes, chance: random.Random) -> bytes:
    """XML that is still well formed: other values of attributes, elements with nothing inside doubled or gone."""
    for _ in range(chance.choice((1, 3, 10))):
        found = list(chance.choice((_ATTRIBUTE, _LEAF)).finditer(data))
        if not found:
            continue
        one = chance.choice(found)
        new = chance.choice(VALUES) if one.re is _ATTRIBUTE else chance.choice((b"", one[1] * 2, one[1] * 500))
        data = data[: one.start(1)] + new + data[one.end(1) :]
    return data


def broken_zip(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Mostly a change inside a member, packed again with the right checksum: one outside is found at once."""
    if chance.random() < 0.3:
        return mutate(data, chance, other)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    name = chance.choice([name for name in members if not name.endswith((".png", ".jpeg"))])
    match chance.randrange(8):
        case 0:
            del members[name]
        case 1:
            members[chance.choice(("../", "/", "C:", "x/" * 2_000)) + name] = b"x"
        case 2:
            members[name], second = members[chance.choice(list(members))], members[name]
            members["copy" + name] = second
        case 3 | 4 | 5:
            members[name] = reworded(members[name], chance)
        case _:
            members[name] = mutate(members[name], chance, other)
    return packed(members)


def broken_pdf(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Half of the time a change inside a compressed stream."""
    streams = list(_STREAM.finditer(data))
    if streams and chance.random() < 0.5:
        stream = chance.choice(streams)
        try:
            plain = zlib.decompress(stream[1].rstrip(b"\r\n"))
        except zlib.error:
            return mutate(data, chance, other)
        return data[: stream.start(1)] + zlib.compress(mutate(plain, chance, other)) + b"\n" + data[stream.end(1) :]
    return mutate(data, chance, other)


def broken_gzip(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Inside or outside."""
    if chance.random() < 0.3:
        return mutate(data, chance, other)
    return gzip.compress(mutate(gzip.decompress(data), chance, other), 1, mtime=0)


def broken_zstd(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Inside or outside."""
    if chance.random() < 0.3:
        return mutate(data, chance, other)
    return zstandard.compress(mutate(zstandard.decompress(data), chance, other), 1)


BREAKERS: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    **dict.fromkeys(("docx", "pptx", "xlsx", "epub", "zip"), broken_zip),
    "pdf": broken_pdf,
    "gz": broken_gzip,
    "zst": broken_zstd,
}
"""Format -> how it is broken; the others by `mutate` alone."""
TEXTS = frozenset({"txt", "md", "html", "csv", "json", "jsonl"})


def small() -> dict[str, list[bytes]]:
    """Format -> the documents of `samples.py`."""
    return {name.rpartition(".")[2]: [data] for name, data in SAMPLES.items()}


def real() -> dict[str, list[bytes]]:
    """Format -> pieces of real documents, each at most some hundred kilobytes. Raises `real_documents.Unavailable`."""
    found = small()
    folder = real_documents.path("")

    def add(kind: str, *patterns: str) -> None:
        for pattern in patterns:
            found[kind] += [path.read_bytes() for path in sorted(folder.glob(pattern)) if path.stat().st_size < 300_000]

    add("docx", "docx/*")
    add("pptx", "pptx/*")
    add("xlsx", "xlsx/*")
    add("epub", "epub/*")
    add("eml", "mail/*")
    add("txt", "tutor/*")
    for kind, pattern in (
        ("txt", "text/*"),
        ("md", "markdown/*"),
        ("html", "html/*"),
        ("csv", "csv/*"),
        ("json", "json/*"),
    ):
        for path in sorted(folder.glob(pattern)):
            data = path.read_bytes()
            found[kind] += [data[at : at + PIECE] for at in range(0, len(data), max(PIECE, len(data) // 10))]
    found["jsonl"].append(real_documents.path("jsonl/languages.jsonl").read_bytes()[:PIECE])
    for path in sorted(folder.glob("pdf/*")):
        with pypdfium2.PdfDocument(path) as whole:
            for start in range(0, len(whole), max(PDF_PAGES, len(whole) // 4)):
                part = pypdfium2.PdfDocument.new()
                part.import_pages(whole, list(range(start, min(start + PDF_PAGES, len(whole)))))
                target = io.BytesIO()
                part.save(target)
                found["pdf"].append(target.getvalue())
                part.close()
    with zipfile.ZipFile(real_documents.path("archives/openjdk.zip")) as archive:
        chosen = random.Random(0).sample([info for info in archive.infolist() if 0 < info.file_size < PIECE], 60)
        members = [(info.filename, archive.read(info)) for info in chosen]
    for start in range(0, len(members), 10):
        some = dict(members[start : start + 10])
        found["zip"].append(packed(some))
        found["tar"].append(taped((tarfile.TarInfo(name), data) for name, data in some.items()))
        found["gz"].append(gzip.compress(found["tar"][-1], 1, mtime=0))
        found["zst"].append(zstandard.compress(found["tar"][-1], 1))
    return found


class Verdicts:
    """What came of the inputs."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """(format, verdict) -> inputs; a verdict is "text", a code, or one that must never happen."""
        self.bad: list[str] = []
        """Verdict, format and number of what must never happen."""
        self.slowest = 0.0

    def note(self, kind: str, number: int, verdict: str, why: str = "") -> None:
        self.counts[kind, verdict] += 1
        if verdict in ("crash", "hang", "escape", "wrong"):
            self.bad.append(f"{verdict}: {kind} {number} {why}".rstrip())

    def total(self, verdict: str) -> int:
        return sum(count for (_, found), count in self.counts.items() if found == verdict)


def make(kind: str, number: int, seed: int, sources: Mapping[str, Sequence[bytes]]) -> bytes:
    """Input `number` of a format."""
    chance = random.Random(f"{seed}/{kind}/{number}")
    mine = sources[kind]
    # One in twenty is another format's document under this name.
    donor = chance.choice(sources[chance.choice(sorted(sources))])
    data, other = chance.choice(mine), chance.choice((*mine, donor))
    if kind in TEXTS and chance.random() < 0.1:
        data = data.decode("utf-8", "replace").encode(chance.choice(("utf-16", "cp1252", "utf-8-sig")), "replace")
    return BREAKERS.get(kind, mutate)(data, chance, other)


async def judge(store: DocumentStore, kind: str, number: int, data: bytes, verdicts: Verdicts, keep: Path) -> None:
    """Ingest one input and note what came of it; an input that did what must never happen is kept."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    started = time.monotonic()
    why = ""
    try:
        document = await store.ingest_upload(chunks(), "", f"a.{kind}")
        text = await asyncio.to_thread(store.span, document.document_id, 0, document.characters)
        verdict, why = "text", await asyncio.to_thread(_unfit, store, document.document_id, text, document.characters)
        if why:
            verdict = "wrong"
    except DocumentError as error:
        verdict = error.code
        if "more time or memory" in error.detail:
            verdict, why = "crash", error.detail
        elif "more time" in error.detail:
            verdict, why = "hang", error.detail
        elif error.code not in set(Code) or not error.detail:
            verdict, why = "wrong", repr(error)
    except Exception as error:  # the finding that this looks for
        verdict, why = "wrong", repr(error)
    took = time.monotonic() - started
    verdicts.slowest = max(verdicts.slowest, took)
    if took > LONGEST and verdict not in ("crash", "hang"):
        verdict, why = "hang", f"{took:.0f} s"
    if verdict in ("crash", "hang", "wrong"):
        await asyncio.to_thread(_keep, keep / f"{verdict}-{number}.{kind}", data)
    verdicts.note(kind, number, verdict, why)


def _keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _unfit(store: DocumentStore, document_id: str, text: str, characters: int) -> str:
    """Why a text or its index cannot be right; "" where it can."""
    if len(text) != characters or canonical(text) != text:
        return "the text is not canonical"
    if not text.strip():
        return "the text is blank"
    last = 0
    for mark in store.marks(document_id):
        if not last <= mark.start <= characters:
            return f"a mark at {mark.start} of {characters} after one at {last}"
        if mark.start and text[mark.start - 1] != "\n":
            return f"the mark at {mark.start} is not at the beginning of a line"
        last = mark.start
    for start in (0, characters // 3, characters - 1):
        if not isinstance(store.locate(document_id, start, min(characters, start + 50)), indexes.Locator):
            return "no locator"
    return ""


def escaped(folder: Path) -> str:
    """What stands in the working folder, is left of the temporary files, or runs below a parser; "" for nothing."""
    left = [str(path) for path in (folder / "work").rglob("*")]
    left += [str(path) for path in (folder / "data" / "tmp").rglob("*") if path.is_file()]
    for child in psutil.Process().children():
        try:
            if PARSER not in child.cmdline():  # a test run has other children as well
                continue
            left += [f"child of {child.pid}: {one.pid}" for one in child.children()]
            left += [f"socket of {child.pid}: {one}" for one in child.net_connections()]
        except psutil.Error:
            continue
    return ", ".join(left)


async def run(
    sources: Mapping[str, Sequence[bytes]], inputs: int, seed: int, folder: Path, first: int = 0, at_once: int = 2
) -> Verdicts:
    """`inputs` inputs from number `first` on, evenly over the formats; what went wrong is kept in `folder`."""
    verdicts = Verdicts()
    store = DocumentStore(folder / "data", sandbox=Sandbox(size=at_once, base_seconds=LONGEST / 2))
    kinds = sorted(sources)
    (folder / "work").mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder / "work")  # a relative path that a parser writes to shows here
    try:
        numbers = iter(range(inputs))

        async def work() -> None:
            for place in numbers:
                kind, number = kinds[place % len(kinds)], first + place // len(kinds)
                await judge(store, kind, number, make(kind, number, seed, sources), verdicts, folder / "kept")

        await asyncio.gather(*(work() for _ in range(at_once)))
        if why := escaped(folder):
            verdicts.note("all", 0, "escape", why)
    finally:
        os.chdir(before)
        await store.aclose()
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of every format")
    parser.add_argument("--only", help="one format")
    parser.add_argument("--small", action="store_true", help="the samples alone, without real documents")
    options = parser.parse_args()
    sources = small() if options.small else real()
    if options.only:
        sources = {options.only: sources[options.only]}
    folder = Path(tempfile.mkdtemp(prefix="longfold-fuzz-"))
    started = time.monotonic()
    verdicts = asyncio.run(run(sources, options.inputs, options.seed, folder, options.first))
    seconds = time.monotonic() - started
    for line in verdicts.bad:
        print(line)
    rows = [Row("inputs", sum(verdicts.counts.values()), "", ">= 20000" if options.inputs >= 20_000 else "")]
    rows += [Row(f"{what}", verdicts.total(what), "", "<= 0") for what in ("crash", "hang", "escape", "wrong")]
    for kind in sorted(sources):
        total = sum(count for (found, _), count in verdicts.counts.items() if found == kind)
        rows.append(Row(f"{kind}: inputs that gave a text", verdicts.counts[kind, "text"] / max(1, total), "of them"))
    rows.append(Row("slowest input", verdicts.slowest, "s", f"<= {LONGEST:g}"))
    by_code = {f"{kind} {verdict}": count for (kind, verdict), count in sorted(verdicts.counts.items())}
    print(f"what went wrong is kept in {folder / 'kept'}" if verdicts.bad else "")
    return report("fuzz_documents", rows, seed=options.seed, seconds=round(seconds), verdicts=by_code)


if __name__ == "__main__":
    raise SystemExit(main())
