"""Documents that nobody here wrote, from Debian's packages, and independent programs to read them with.

`python benchmarks/real_documents.py` fills a cache outside the repository (about 250 MB; `LONGFOLD_DOCUMENTS_CACHE`, by
default `~/.cache/longfold/documents`) with what `apt-get download` gives, without rights and without installing
anything. apt verifies the packages by its signed index; every document is then held to the hash in
`real_documents.csv`, which is the one of Debian 12. The last few are conversions of these by pandoc, because no package
ships a Word document of a megabyte.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import zstandard

CACHE = Path(
    os.environ.get("LONGFOLD_DOCUMENTS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longfold" / "documents"
)


@dataclass(frozen=True)
class Document:
    """One document of a package."""

    name: str
    """In the cache; a name that ends with / is a folder of documents."""
    package: str
    member: str
    """Path in the package; one that ends with .gz is unpacked where `name` does not."""
    sha256: str
    """Of the document as it lies in the cache; of a folder: of its sorted lines "name sha256\\n"."""


class Unavailable(Exception):
    """A document or a program cannot be had here; the message says why."""


def documents() -> list[Document]:
    """What the table beside this file lists: where each document comes from, and its hash."""
    with Path(__file__).with_suffix(".csv").open(newline="") as table:
        return [Document(**row) for row in csv.DictReader(table)]


TOOLS = {"pdftotext": "poppler-utils", "html2text": "html2text", "pandoc": "pandoc", "xlsx2csv": "xlsx2csv"}
"""Program -> package."""


def path(name: str) -> Path:
    """A document of the cache. Raises `Unavailable` when it is not there."""
    found = CACHE / "documents" / name
    if not found.exists():
        raise Unavailable(f"{name} is not in {CACHE}: run `python benchmarks/real_documents.py`")
    return found


def tool(name: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """What an independent program writes to its standard output; the installed one, else the cache's."""
    root = CACHE / "tools"
    installed = shutil.which(name)
    program = installed or str(root / "usr/bin" / name)
    if not Path(program).exists():
        raise Unavailable(f"{name} is neither installed nor in {CACHE}: run `python benchmarks/real_documents.py`")
    environment = dict(os.environ, LANG="C.UTF-8", SOURCE_DATE_EPOCH="1700000000")
    if not installed:
        libraries = sorted(str(found) for found in (root / "usr/lib").glob("*-linux-gnu*"))
        environment |= {"LD_LIBRARY_PATH": ":".join(libraries), "pandoc_datadir": str(root / "usr/share/pandoc")}
    argv = [sys.executable, program] if name == "xlsx2csv" else [program]
    run = subprocess.run([*argv, *arguments], input=stdin, capture_output=True, env=environment, check=False)
    if run.returncode:
        raise Unavailable(f"{name} {' '.join(arguments)}: {run.stderr.decode(errors='replace')[-500:]}")
    return run.stdout


def fetch() -> None:
    """Fill the cache with what it lacks. Raises `Unavailable` for a document of another hash than the one recorded."""
    folder = CACHE / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    listed = documents()
    for package in sorted({document.package for document in listed}):
        lacking = [one for one in listed if one.package == package and not (folder / one.name).exists()]
        if lacking:
            _take(_package(package), lacking, folder)
    for document in listed:
        found = digest(folder / document.name)
        if found != document.sha256:
            raise Unavailable(f"{document.name} of {document.package} is another one than recorded: SHA-256 {found}")
    _fetch_tools()
    _make(folder)


def digest(found: Path) -> str:
    """SHA-256 of a file, or of a folder's sorted lines "name sha256\\n"."""
    if found.is_dir():
        lines = "".join(f"{one.name} {digest(one)}\n" for one in sorted(found.iterdir()))
        return hashlib.sha256(lines.encode()).hexdigest()
    with found.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package(name: str) -> Path:
    folder = CACHE / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob(f"{name}_*.deb")):
        run = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True, check=False)
        if run.returncode:
            raise Unavailable(f"apt-get download {name}: {run.stderr.strip()[-500:]}")
    return next(folder.glob(f"{name}_*.deb"))


def _contents(package: Path) -> tarfile.TarFile:
    run = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True)
    return tarfile.open(fileobj=io.BytesIO(run.stdout))


def _take(package: Path, documents: list[Document], folder: Path) -> None:
    with _contents(package) as contents:
        for document in documents:
            target = folder / document.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if document.name.endswith("/"):
                target.mkdir(exist_ok=True)
                for member in contents:
                    inside = Path(member.name)
                    if member.isfile() and inside.match(document.member + "*"):
                        (target / inside.name).write_bytes(_bytes(contents, member.name))
                continue
            data = _bytes(contents, f"./{document.member}")
            if document.member.endswith(".gz") and not document.name.endswith(".gz"):
                data = gzip.decompress(data)
            target.write_bytes(data)


def _bytes(contents: tarfile.TarFile, member: str) -> bytes:
    file = contents.extractfile(member)
    if file is None:
        raise Unavailable(f"{member} is no file in its package")
    return file.read()


def _fetch_tools() -> None:
    """The programs that are not installed, unpacked into the cache with the libraries that this machine lacks."""
    wanted = [package for program, package in TOOLS.items() if not shutil.which(program)]
    root = CACHE / "tools"
    if all((root / "usr/bin" / program).exists() or shutil.which(program) for program in TOOLS):
        return
    argv = ["apt-get", "--simulate", "--no-install-recommends", "install", *wanted]
    plan = subprocess.run(argv, capture_output=True, text=True, check=False)
    if plan.returncode:
        raise Unavailable(f"{' '.join(argv)}: {plan.stderr.strip()[-500:]}")
    for package in re.findall(r"^Inst (\S+)", plan.stdout, re.MULTILINE):
        subprocess.run(["dpkg-deb", "--extract", str(_package(package)), str(root)], check=True)


def _make(folder: Path) -> None:
    """Conversions and packings of the documents above, each by a program that is not ours."""
    conversions = {
        "docx/ffmpeg.docx": "html/ffmpeg-all.html",
        "docx/maxima.docx": "html/maxima.html",
        "docx/aptitude.ru.docx": "html/aptitude.ru.html",
        "pptx/ffmpeg.pptx": "html/ffmpeg-all.html",
        "pptx/aptitude.ja.pptx": "html/aptitude.ja.html",
        "epub/ffmpeg.epub": "html/ffmpeg-all.html",
        "markdown/ffmpeg.md": "html/ffmpeg-all.html",
        "markdown/aptitude.ru.md": "html/aptitude.ru.html",
    }
    for name, source in conversions.items():
        target = folder / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            form = ["--to=gfm"] if name.endswith(".md") else []
            tool("pandoc", "--from=html", *form, f"--output={target}", str(folder / source))
    records = folder / "jsonl/languages.jsonl"
    if not records.exists():
        records.parent.mkdir(exist_ok=True)
        (rows,) = json.loads((folder / "json/languages.json").read_text()).values()
        records.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    sources = folder / "archives/testsuite.tar.gz"
    if not sources.exists():
        package = _package("libpython3.11-testsuite")
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True).stdout
        sources.write_bytes(gzip.compress(tar, mtime=0))
        (folder / "archives/testsuite.tar.zst").write_bytes(zstandard.compress(tar))


def main() -> int:
    try:
        fetch()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    print(CACHE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
