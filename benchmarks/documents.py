"""Speed and peak memory of every format: real documents through the whole of ingestion, beside an independent program.

`python benchmarks/documents.py` needs the cache of `real_documents.py`. Every file is ingested in a process of its own,
after a small one of its kind, so that nothing is imported on the clock. Speeds are by processor time of both processes,
the service's and the parser's, that is for one core: this also holds on a machine with much else to do. The wall-clock
times stand in the results. Memory is the highest resident set (VmHWM) of the parser process, and the growth of the
service's own.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pypdfium2
import zstandard
from real_documents import Unavailable, path, tool
from report import Row, report
from samples import MAIL, SAMPLES

from longfold_server.ingest import DocumentStore
from longfold_server.ingest.sandbox import Sandbox

LARGE = 100_000_000
"""Bytes of the inputs whose memory is measured."""
PEAK = "<= 256"
_REPEATED = {
    "docx": ("docx/ffmpeg.docx", "word/document.xml", b"<w:body>", b"<w:sectPr"),
    "xlsx": ("xlsx/readTest.xlsx", "xl/worksheets/sheet1.xml", b"<sheetData>", b"</sheetData>"),
}
"""Format -> a real document, its part that is made long, and what that part's repeated middle stands between."""


@dataclass(frozen=True)
class Cost:
    """What one document took."""

    bytes: int
    characters: int
    pages: int
    cpu_seconds: float
    """Of the parser process and of the service."""
    parser_seconds: float
    wall_seconds: float
    parser_megabytes: float
    """Highest resident set of the parser process; 0 where there is none."""
    service_megabytes: float
    """Growth of the service's highest resident set."""


async def _ingest(store: DocumentStore, file: Path) -> tuple[int, int]:
    async def chunks() -> AsyncIterator[bytes]:
        with file.open("rb") as content:
            while data := content.read(1 << 20):
                yield data

    document = await store.ingest_upload(chunks(), "", file.name)
    pages = sum(mark.kind == "page" for mark in store.marks(document.document_id))
    return document.characters, pages + sum(one.reason == "scanned_page" for one in document.skipped)


async def measure(file: Path) -> Cost:
    """Ingest one file, warm. Run in a process of its own."""
    me = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / f"small{file.suffix}"
        small.write_bytes(SAMPLES[f"a{file.suffix}"])
        patient = Sandbox(base_seconds=3_600)  # how long it takes is measured, also on a machine that is busy
        store = DocumentStore(Path(folder) / "data", upload_max_bytes=2_000_000_000, sandbox=patient)
        await _ingest(store, small)
        [parser] = me.children() or [None]
        before, peak = _seconds(me), _peak(me)
        parsing = _seconds(parser) if parser else 0.0
        started = time.perf_counter()
        characters, pages = await _ingest(store, file)
        wall = time.perf_counter() - started
        if me.children() != [parser] and parser:
            raise RuntimeError("the parser process was replaced on the clock")
        parsing = _seconds(parser) - parsing if parser else 0.0
        cost = Cost(
            await asyncio.to_thread(os.path.getsize, file),
            characters,
            pages,
            _seconds(me) - before + parsing,
            parsing,
            wall,
            _peak(parser) if parser else 0.0,
            _peak(me) - peak,
        )
        await store.aclose()
    return cost


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def cost_of(file: Path) -> Cost:
    """`measure` in a process of its own."""
    run = subprocess.run([sys.executable, __file__, "--one", str(file)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{file.name}: {run.stderr[-1_000:]}")
    return Cost(**json.loads(run.stdout))


def tool_seconds(*arguments: str) -> float:
    """Processor time of an independent program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    tool(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def speeds(folder: Path, costs: dict[str, Cost]) -> list[Row]:
    """The rows that the formats' numbers are held to."""
    rows = []
    for name in ("cplusplus", "r-reference", "install.ja"):
        file = path(f"pdf/{name}.pdf")
        cost = costs[f"speed {file.name}"] = cost_of(file)
        rows.append(Row(f"PDF, {file.name} ({cost.pages:,} pages)", cost.pages / cost.cpu_seconds, "pages/s", ">= 200"))
        seconds = tool_seconds("pdftotext", str(file), "-")
        rows.append(Row(f"  pdftotext, {file.name}", cost.pages / seconds, "pages/s"))
    for name in ("maxima", "lilypond", "ffmpeg-all"):
        file = path(f"html/{name}.html")
        cost = costs[f"speed {file.name}"] = cost_of(file)
        rows.append(Row(f"HTML, {file.name}", cost.bytes / 1e6 / cost.cpu_seconds, "MB/s", ">= 5"))
        seconds = tool_seconds("html2text", "-utf8", str(file))
        rows.append(Row(f"  html2text, {file.name}", cost.bytes / 1e6 / seconds, "MB/s"))
    for name in ("ffmpeg", "maxima"):
        file = path(f"docx/{name}.docx")
        cost = costs[f"speed {file.name}"] = cost_of(file)
        with zipfile.ZipFile(file) as parts:
            inside = parts.getinfo("word/document.xml").file_size / 1e6
        rows.append(Row(f"DOCX, {file.name}, by its text part", inside / cost.cpu_seconds, "MB/s", ">= 5"))
        rows.append(Row(f"  by the text that comes out, {file.name}", cost.characters / 1e6 / cost.cpu_seconds, "MB/s"))
        rows.append(Row(f"  by the packed file, {file.name}", cost.bytes / 1e6 / cost.cpu_seconds, "MB/s"))
    seconds = tool_seconds("pandoc", "--from=docx", "--to=plain", str(path("docx/ffmpeg.docx")))
    rows.append(
        Row("  pandoc, ffmpeg.docx, by the packed file", costs["speed ffmpeg.docx"].bytes / 1e6 / seconds, "MB/s")
    )
    for name, sources in (("English", ["en"]), ("many scripts", ["en", "fr", "ja", "ko", "el", "vi", "zh_CN"])):
        text = b"".join(path(f"text/install.{language}.txt").read_bytes() for language in sources)
        file = folder / "speed.txt"
        file.write_bytes(text * (LARGE // len(text)))
        cost = costs[f"speed text, {name}"] = cost_of(file)
        rows.append(Row(f"text, {name}", cost.bytes / 1e6 / cost.cpu_seconds, "MB/s", ">= 50"))
    return rows


def _again(data: bytes) -> bytes:
    return data * (LARGE // len(data) + 1)


def _long_part(kind: str) -> bytes:
    """A real Office file with one part repeated to `LARGE`, stored without compression."""
    name, part, opening, closing = _REPEATED[kind]
    target = io.BytesIO()
    with zipfile.ZipFile(path(name)) as given, zipfile.ZipFile(target, "w") as made:
        for info in given.infolist():
            data = given.read(info)
            if info.filename == part:
                head, _, rest = data.partition(opening)
                middle, _, tail = rest.rpartition(closing)
                data = head + opening + _again(middle) + closing + tail
            made.writestr(info.filename, data)
    return target.getvalue()


def _copied(name: str, part: str, copy: str, entries: list[tuple[str, bytes, str]]) -> bytes:
    """A real container with copies of one part up to `LARGE`, stored without compression. `copy` names a copy by its
    number; `entries` are (part with a list, what ends the list, a copy's entry)."""
    with zipfile.ZipFile(path(name)) as given:
        inside = {info.filename: given.read(info) for info in given.infolist()}
    numbers = range(1_000, 1_000 + LARGE // len(inside[part]) + 1)
    for listing, end, entry in entries:
        rows = "".join(entry.format(number) for number in numbers).encode()
        head, found, tail = inside[listing].partition(end)
        inside[listing] = head + rows + found + tail
    return _zip(inside | {copy.format(number): inside[part] for number in numbers})


def _long_deck() -> bytes:
    """Many long slides: one part of 100 MB is refused."""
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/slide"
    relation = f'<Relationship Id="copy{{0}}" Type="{kind}" Target="slides/copy{{0}}.xml"/>'
    return _copied(
        "pptx/ffmpeg.pptx",
        "ppt/slides/slide2.xml",
        "ppt/slides/copy{}.xml",
        [
            ("ppt/_rels/presentation.xml.rels", b"</Relationships>", relation),
            ("ppt/presentation.xml", b"</p:sldIdLst>", '<p:sldId id="{0}" r:id="copy{0}"/>'),
        ],
    )


def _long_book() -> bytes:
    """Many chapters: one part of 100 MB is refused."""
    with zipfile.ZipFile(path("epub/ffmpeg.epub")) as given:
        longest = max((info for info in given.infolist() if info.filename.endswith("html")), key=lambda i: i.file_size)
        package = next(name for name in given.namelist() if name.endswith(".opf"))
    copy = longest.filename.rpartition("/")[0] + "/copy{0}.xhtml"
    reference = copy.removeprefix(package.rpartition("/")[0] + "/")
    return _copied(
        "epub/ffmpeg.epub",
        longest.filename,
        copy,
        [
            (package, b"</manifest>", f'<item id="copy{{0}}" media-type="application/xhtml+xml" href="{reference}"/>'),
            (package, b"</spine>", '<itemref idref="copy{0}"/>'),
        ],
    )


def _long_pdf() -> bytes:
    """The same book again and again, as pages of their own."""
    target = io.BytesIO()
    made = pypdfium2.PdfDocument.new()
    with pypdfium2.PdfDocument(path("pdf/cplusplus.pdf")) as book:
        for _ in range(LARGE // path("pdf/cplusplus.pdf").stat().st_size + 2):  # it is saved a little shorter
            made.import_pages(book)
    made.save(target)
    made.close()
    return target.getvalue()


def _sources(packing: Callable[[dict[str, bytes]], bytes]) -> bytes:
    members: dict[str, bytes] = {}
    size = 0
    with zipfile.ZipFile(path("archives/openjdk.zip")) as archive:
        for info in archive.infolist():
            if len(members) < 9_000 and size < LARGE:
                members[info.filename] = archive.read(info)
                size += info.file_size
    return packing(members)


def _zip(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return target.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            made.addfile(header, io.BytesIO(data))
    return target.getvalue()


def _mail() -> bytes:
    head, boundary, tail = MAIL.rpartition(b"--b--")
    attached = base64.encodebytes(_again(path("text/install.en.txt").read_bytes())[: LARGE * 57 // 76])
    part = b"--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=guide.txt\r\n"
    return head + part + b"Content-Transfer-Encoding: base64\r\n\r\n" + attached + b"\r\n" + boundary + tail


LONG: dict[str, Callable[[], bytes]] = {
    "txt": lambda: _again(path("text/install.en.txt").read_bytes()),
    "md": lambda: _again(path("markdown/ffmpeg.md").read_bytes()),
    "html": lambda: _again(path("html/lilypond.html").read_bytes()),
    "pdf": _long_pdf,
    "docx": lambda: _long_part("docx"),
    "pptx": _long_deck,
    "xlsx": lambda: _long_part("xlsx"),
    "epub": _long_book,
    "csv": lambda: _again(path("csv/oui.csv").read_bytes()),
    "json": lambda: b"[" + _again(path("json/languages.json").read_bytes() + b",") + b"0]",
    "jsonl": lambda: _again(path("jsonl/languages.jsonl").read_bytes()),
    "eml": _mail,
    "zip": lambda: _sources(_zip),
    "tar": lambda: _sources(_tar),
    "gz": lambda: gzip.compress(_again(path("text/install.en.txt").read_bytes()), 1),
    "zst": lambda: zstandard.compress(_sources(_tar), 1),
}
"""Format -> how its input of 100 MB is made of real documents (gz, zst: 100 MB unpacked)."""


def peaks(folder: Path, costs: dict[str, Cost], kinds: list[str]) -> list[Row]:
    """Peak memory at 100 MB of every format."""
    rows = []
    for kind in kinds:
        file = folder / f"large.{kind}"
        file.write_bytes(LONG[kind]())
        size = file.stat().st_size
        if size < LARGE and kind not in ("gz", "zst"):
            raise RuntimeError(f"{kind}: the input has {size:,} bytes only")
        cost = costs[f"100 MB {kind}"] = cost_of(file)
        file.unlink()
        speed = max(cost.bytes, LARGE) / 1e6 / cost.cpu_seconds
        rows.append(Row(f"{kind}, 100 MB: peak of the parser process", cost.parser_megabytes, "MB", PEAK))
        rows.append(Row(f"{kind}, 100 MB: growth of the service", cost.service_megabytes, "MB", PEAK))
        rows.append(Row(f"{kind}, 100 MB: speed", speed, "MB/s"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--one", type=Path, help="print what one file costs, and nothing else")
    parser.add_argument("--only", nargs="+", choices=["speed", *LONG], help="the speeds, or the memory of some formats")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(asyncio.run(measure(options.one)))))
        return 0
    costs: dict[str, Cost] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            chosen = options.only or ["speed", *LONG]
            rows = speeds(Path(folder), costs) if "speed" in chosen else []
            rows += peaks(Path(folder), costs, [kind for kind in chosen if kind != "speed"])
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return report("documents", rows, costs={name: asdict(cost) for name, cost in costs.items()})


if __name__ == "__main__":
    raise SystemExit(main())
