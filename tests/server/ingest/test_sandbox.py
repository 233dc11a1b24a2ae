from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from samples import packed, xlsx
from tests.server.stack.conftest import eventually

from longfold_server.errors import ConfigError, DocumentError
from longfold_server.ingest.detect import XLSX
from longfold_server.ingest.formats.source import BINARY
from longfold_server.ingest.sandbox import Sandbox
from longfold_server.ingest.text import Encoding

UTF8 = Encoding("utf-8")


async def test_jobs_share_a_warm_child(tmp_path: Path) -> None:
    sandbox = Sandbox()
    (tmp_path / "a").write_text("<title>T</title><h1>H</h1>text")
    pages = await asyncio.gather(
        *(sandbox.parse("text/html", tmp_path / "a", UTF8, tmp_path / f"{n}", tmp_path / f"{n}.i") for n in range(5))
    )
    assert {(page.title, page.heading) for page in pages} == {("T", "H")}
    assert {(tmp_path / f"{n}").read_text() for n in range(5)} == {"# H\n\ntext\n"}
    await sandbox.aclose()


async def test_memory_beyond_the_limit_is_a_typed_error_and_the_next_job_works(tmp_path: Path) -> None:
    sandbox = Sandbox(memory_bytes=200 << 20)
    with zipfile.ZipFile(io.BytesIO(xlsx([["a"]]))) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    # The strings that cells share are held in memory.
    relation = b'<Relationship Id="s" Type="t/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
    relations = "xl/_rels/workbook.xml.rels"
    parts[relations] = parts[relations].replace(b"</Relationships>", relation)
    long = "a" * 1_000_000 + "\U00020000"
    parts["xl/sharedStrings.xml"] = f"<sst>{f'<si><t>{long}</t></si>' * 50}</sst>".encode()
    (tmp_path / "big").write_bytes(packed(parts, zipfile.ZIP_STORED))
    (tmp_path / "small").write_text("<p>fine")
    with pytest.raises(DocumentError) as caught:
        await sandbox.parse(XLSX, tmp_path / "big", BINARY, tmp_path / "out", tmp_path / "index")
    assert caught.value.code == "document_undecodable" and "memory" in caught.value.detail
    await sandbox.parse("text/html", tmp_path / "small", UTF8, tmp_path / "out", tmp_path / "index")
    assert (tmp_path / "out").read_text() == "fine\n"
    await sandbox.aclose()


async def test_time_beyond_the_limit_kills_the_child(tmp_path: Path) -> None:
    sandbox = Sandbox(base_seconds=0.05, seconds_per_megabyte=0)
    (tmp_path / "big").write_text("<p>text</p>" * 800_000)
    with pytest.raises(DocumentError) as caught:
        await sandbox.parse("text/html", tmp_path / "big", UTF8, tmp_path / "out", tmp_path / "index")
    assert caught.value.code == "document_undecodable"
    assert "time" in caught.value.detail
    await sandbox.aclose()


async def test_a_cancelled_job_ends_its_child(tmp_path: Path) -> None:
    sandbox = Sandbox()
    (tmp_path / "big").write_text("<p>text</p>" * 800_000)
    job = asyncio.create_task(sandbox.parse("text/html", tmp_path / "big", UTF8, tmp_path / "out", tmp_path / "index"))
    await asyncio.sleep(0.5)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    (tmp_path / "small").write_text("<p>fine")
    await sandbox.parse("text/html", tmp_path / "small", UTF8, tmp_path / "out2", tmp_path / "index")
    assert (tmp_path / "out2").read_text() == "fine\n"
    await sandbox.aclose()


async def test_a_child_that_died_while_it_had_nothing_to_do_costs_no_document(tmp_path: Path) -> None:
    sandbox = Sandbox()
    (tmp_path / "a").write_text("<p>fine")
    await sandbox.parse("text/html", tmp_path / "a", UTF8, tmp_path / "out", tmp_path / "index")
    [idle] = sandbox._idle
    idle._process.kill()
    await idle._process.wait()
    await sandbox.parse("text/html", tmp_path / "a", UTF8, tmp_path / "out", tmp_path / "index")
    await sandbox.aclose()


async def test_a_file_beyond_the_limit_is_too_large(tmp_path: Path) -> None:
    sandbox = Sandbox(file_bytes=100_000)
    (tmp_path / "big").write_text("<p>text</p>" * 100_000)
    with pytest.raises(DocumentError) as caught:
        await sandbox.parse("text/html", tmp_path / "big", UTF8, tmp_path / "out", tmp_path / "index")
    assert caught.value.code == "document_too_large"
    await sandbox.aclose()


async def test_a_full_disk_is_no_fault_of_the_document(tmp_path: Path) -> None:
    sandbox = Sandbox()
    (tmp_path / "page").write_text("<p>text</p>" * 10_000)
    # Whatever is written to this device meets a full disk.
    (tmp_path / "out").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        await sandbox.parse("text/html", tmp_path / "page", UTF8, tmp_path / "out", tmp_path / "index")
    await sandbox.aclose()


async def test_what_a_parser_raises_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    sandbox = Sandbox()
    (tmp_path / "cut").write_bytes(b"%PDF-1.4\nnothing more")
    with pytest.raises(DocumentError) as caught:
        await sandbox.parse("application/pdf", tmp_path / "cut", BINARY, tmp_path / "out", tmp_path / "index")
    assert caught.value.code == "document_undecodable" and "PDF" in caught.value.detail
    assert set(os.listdir(tmp_path)) == {"cut", "out", "index"}
    await sandbox.aclose()


async def test_where_a_parser_cannot_be_confined_nothing_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox()
    (tmp_path / "a").write_text("<p>x")
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'vax'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="vax"):
        await sandbox.parse("text/html", tmp_path / "a", UTF8, tmp_path / "out", tmp_path / "index")
    await sandbox.aclose()


def test_a_parser_ends_with_its_service_however_that_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    service = subprocess.Popen([sys.executable, "-c", SERVICE, str(tmp_path)], env=environment)
    assert eventually((tmp_path / "out").exists), "the parser has begun"
    [parser] = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent(pid) == service.pid]
    service.kill()
    service.wait()
    try:
        assert eventually(lambda: parent(parser) is None)
    finally:
        if parent(parser) is not None:
            os.kill(parser, signal.SIGKILL)


def parent(pid: int) -> int | None:
    """None for a process that has ended."""
    try:
        state, found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(found)


SERVICE = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from longfold_server.ingest.sandbox import Sandbox
    from longfold_server.ingest.text import Encoding

    folder = Path(sys.argv[1])
    job = Sandbox().parse("text/html", folder / "endless", Encoding("utf-8"), folder / "out", folder / "index")
    asyncio.run(job)
    """
)
"""A service whose parser waits for a file that never comes."""
