"""Archives and compressed files: every member is read as the file it is, under its path. Nothing is unpacked by name,
links are not followed, and what comes out is counted while it comes.

ZIP by its directory; tar, gzip, zstd, xz and bzip2 as streams. A compressed tar counts as one archive.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, Self, cast

import zstandard

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest import formats
from longfold_server.ingest.detect import BZIP2, GZIP, TAR, XZ, ZIP, ZSTD
from longfold_server.ingest.formats.container import ENCRYPTED
from longfold_server.ingest.formats.source import Budget, Labels, Source, damaged, encrypted, of_content, too_big
from longfold_server.ingest.formats.writer import Writer
from longfold_server.ingest.index import Kind, Reason

ARCHIVES = frozenset({ZIP, TAR, GZIP, ZSTD, XZ, BZIP2})
MOST_DEPTH = 2
"""An archive inside an archive is read, one inside that is not."""
PIECE = 256 * 1024
DAMAGED = "its data are damaged"
LINK = "it is a link; links are not followed"
TOO_DEEP = "it is an archive inside an archive inside another"
ZSTD_WINDOW = 1 << 27
"""Largest history a zstd frame may ask for, 128 MiB: what `zstd --long` makes and reads without further options."""
ZSTD_FEED = 1024
"""Bytes unpacked in one step: four may make 128 KiB, so a step makes 32 MiB at most."""

FOLDERS = {
    **dict.fromkeys((".git", ".hg", ".svn", ".bzr", "CVS"), "the history of version control"),
    **dict.fromkeys(("node_modules", "bower_components", "site-packages", ".venv", ".tox"), "installed packages"),
    **dict.fromkeys(("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".gradle"), "made by tools"),
    "__MACOSX": "made by macOS",
}
"""Folders that are left out wherever they stand, and what they hold."""
COPIED = frozenset({"vendor", "third_party", "Godeps"})
"""Folders of which source code is left out: in repositories they hold copies of others' code, elsewhere anything."""
_CODE = re.compile(
    r"\.(?:c|cc|cpp|cxx|h|hh|hpp|go|rs|php|rb|py|pyi|[mc]?js|tsx?|jsx|java|kt|scala|cs|swift|mm?|lua|p[lm]|s|asm|proto"
    r"|s?css|sh|bazel|cmake|mod|sum)\Z",
    re.IGNORECASE,
)
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")
_NAMES = {
    ZIP: "a ZIP archive",
    TAR: "a tar archive",
    GZIP: "a gzip file",
    ZSTD: "a Zstandard file",
    XZ: "an XZ file",
    BZIP2: "a bzip2 file",
}


def read(source: Source, writer: Writer) -> Labels:
    """Raises `DocumentError`: damaged, over a limit, wholly encrypted, or an archive too deep inside others."""
    if source.depth >= MOST_DEPTH:
        raise DocumentError(Code.DOCUMENT_UNSUPPORTED, TOO_DEEP)
    what = _NAMES[source.media_type]
    try:
        if source.media_type == ZIP:
            return _zip(source, writer)
        with _opened(source) as stream:
            if source.media_type == TAR or _is_tar(stream.peek(tarfile.BLOCKSIZE)):
                return _tar(source, stream, writer)
            return _single(source, stream, writer)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError):
        raise damaged(what) from None
    except OSError as error:
        if not of_content(error):
            raise
        raise damaged(what) from None


def _zip(source: Source, writer: Writer) -> Labels:
    members = _Members(source, writer)
    with zipfile.ZipFile(source.path) as archive:
        listed = archive.infolist()
        files = [info for info in listed if not _is_folder(info)]
        if files and all(info.flag_bits & ENCRYPTED for info in files):
            raise encrypted()
        for info in listed:
            name = members.admit(_zip_name(info), _is_folder(info))
            if name is None:
                continue
            if info.flag_bits & ENCRYPTED:
                writer.skip(name, Reason.ENCRYPTED, "it is protected by a password")
            elif stat.S_ISLNK(info.external_attr >> 16):
                writer.skip(name, Reason.LINK, LINK)
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                writer.skip(name, Reason.UNSUPPORTED, f"its compression (method {info.compress_type}) is not read")
            else:
                _zip_member(archive, info, members, name, source)
    members.close()
    return Labels()


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, members: _Members, name: str, source: Source) -> None:
    packed = min(info.compress_size, source.path.stat().st_size)
    try:
        with archive.open(info) as stream:
            members.read(name, _Counted(stream, source.budget, lambda: packed))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        members.writer.skip(name, Reason.UNDECODABLE, DAMAGED)
    except OSError as error:
        if not of_content(error):
            raise
        members.writer.skip(name, Reason.UNDECODABLE, DAMAGED)


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """zipfile's own stumbles over an empty name."""
    return info.filename.endswith("/")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Many programs write UTF-8 without saying so; zipfile then reads the name in code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar(source: Source, stream: _Counted, writer: Writer) -> Labels:
    members = _Members(source, writer)
    with tarfile.open(
        fileobj=cast(BinaryIO, stream), mode="r|", bufsize=PIECE, encoding="utf-8", errors="replace", tarinfo=_Header
    ) as archive:
        for info in archive:
            name = members.admit(info.name, info.isdir())
            if name is None:
                continue
            if info.issym() or info.islnk():
                writer.skip(name, Reason.LINK, LINK)
            elif not info.isreg() or info.issparse():
                writer.skip(name, Reason.UNSUPPORTED, "it is no plain file")
            elif (packed := archive.extractfile(info)) is not None:
                members.read(name, packed)
    members.close()
    return Labels()


class _Header(tarfile.TarInfo):
    """tarfile takes any header that it cannot read for the end of the archive, unless it is the first, and a negative
    size for a way back."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError:
            if buf.strip(b"\0"):
                raise damaged("a tar archive") from None
            raise  # the end: zeros, or nothing
        if header.size < 0:
            raise damaged("a tar archive")
        return header


def _single(source: Source, stream: _Counted, writer: Writer) -> Labels:
    """A compressed file that is no archive: what is in it is the document."""
    name = source.name
    for ending in (".gz", ".zst", ".xz", ".bz2"):
        name = name.removesuffix(ending)
    path = _scratch(source)
    _spool(stream, path)
    try:
        content = formats.opened(path, name, source)
        if source.depth and content.media_type not in ARCHIVES:
            _begin(writer, writer.prefix.removesuffix("/"))
        return formats.read(content, writer)
    finally:
        path.unlink(missing_ok=True)


class _Members:
    """The members of one archive, read into the document one after the other."""

    def __init__(self, source: Source, writer: Writer) -> None:
        self._source = source
        self.writer = writer
        self._path = _scratch(source)
        self._left_out: Counter[tuple[str, str]] = Counter()

    def admit(self, stored: str, folder: bool) -> str | None:
        """Counts a member. Its path as it is shown; None for a folder, and for one that is left out for its path."""
        budget = self._source.budget
        budget.members -= 1
        if budget.members < 0:
            raise DocumentError(
                Code.DOCUMENT_TOO_LARGE, "it holds more files than this server reads of one document; upload its parts"
            )
        if folder:
            return None
        name = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", stored.replace("\\", "/")).removeprefix("./")
        folders = name.split("/")[:-1]
        if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
            self.writer.skip(name, Reason.UNSAFE_PATH, "its path leads out of the archive")
            return None
        for place, inside in enumerate(folders, 1):
            why = FOLDERS.get(inside)
            if inside in COPIED and _CODE.search(name):
                why = "copies of others' code"
            if why is not None:
                self._left_out["/".join(folders[:place]) + "/", why] += 1
                return None
        if PurePosixPath(name).name == ".DS_Store":
            self._left_out[".DS_Store", FOLDERS["__MACOSX"]] += 1
            return None
        return name

    def read(self, name: str, packed: Readable) -> None:
        """A member's content into the document. Only what ends the whole document is raised."""
        if not _spool(packed, self._path):
            return  # an empty file is read when it is passed
        writer = self.writer
        with writer.part(name):
            member = formats.opened(self._path, PurePosixPath(name).name, self._source)
            if member.media_type in ARCHIVES and member.depth >= MOST_DEPTH:
                return writer.skip(name, Reason.TOO_DEEP, TOO_DEEP)
            if member.media_type not in ARCHIVES:
                _begin(writer, writer.prefix + name)
            with writer.within(name):
                formats.read(member, writer)

    def close(self) -> None:
        """Tells what was left out."""
        self._path.unlink(missing_ok=True)
        for (path, why), count in self._left_out.items():
            files = f"{count:,} files" if count > 1 else "1 file"
            self.writer.skip(path, Reason.VENDORED, f"{files}: {why}")


def _begin(writer: Writer, path: str) -> None:
    """A member's heading in the text; its own lines are counted behind it."""
    writer.end_line()
    if writer.characters:
        writer.write("\n")
    writer.mark(Kind.FILE, path)
    writer.write(f"==> {path} <==\n\n")


class Readable(Protocol):
    """Unpacked bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, none only at the end."""


class _Counted:
    """A stream of unpacked bytes that counts them. `packed` tells how many have gone in."""

    def __init__(self, stream: Readable, budget: Budget, packed: Callable[[], int]) -> None:
        self._stream = stream
        self._budget = budget
        self._packed = packed
        self._made = 0
        self._head = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end; they are read again."""
        while len(self._head) < size and (data := self._take(size)):
            self._head += data
        return self._head[:size]

    def read(self, size: int = -1, /) -> bytes:
        """At most `PIECE` bytes. Raises `DocumentError` (`document_too_large`)."""
        size = PIECE if size < 0 else min(size, PIECE)
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._budget.take(len(data))
        self._made += len(data)
        if self._made > self._budget.ratio_floor and self._made > self._budget.ratio * self._packed():
            raise too_big()
        return data


@contextmanager
def _opened(source: Source) -> Iterator[_Counted]:
    """The unpacked bytes of a compressed file, or a tar's own."""
    with source.path.open("rb") as raw:
        yield _Counted(_UNPACKED[source.media_type](raw), source.budget, raw.tell)


class _Zstd:
    """zstandard's own stream ends quietly where the file is cut off, and gives no bound of what one step makes."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._rest = b""
        self._ready = io.BytesIO()

    def read(self, size: int = -1, /) -> bytes:
        """Raises `EOFError` inside a frame, `ZstdError`."""
        while not (data := self._ready.read(size)):
            packed = self._rest or self._raw.read(ZSTD_FEED)
            if not packed:
                if self._frame is not None:
                    raise EOFError
                return b""
            frame = self._frame or self._unpacker.decompressobj()
            self._ready = io.BytesIO(frame.decompress(packed))
            self._frame, self._rest = (None, frame.unused_data) if frame.eof else (frame, b"")
        return data


_UNPACKED: dict[str, Callable[[BinaryIO], Readable]] = {
    TAR: lambda raw: raw,
    GZIP: lambda raw: gzip.GzipFile(fileobj=raw),
    ZSTD: _Zstd,
    XZ: lzma.LZMAFile,
    BZIP2: bz2.BZ2File,
}


def _is_tar(head: bytes) -> bool:
    """By the checksum of the first header, which the oldest tars have too."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def _scratch(source: Source) -> Path:
    """Where the members of an archive are put, one at a time; those of another inside it have another place."""
    return source.scratch / f"unpacked-{source.depth}"


def _spool(packed: Readable, path: Path) -> int:
    """Everything into a file; how many bytes."""
    with path.open("wb") as file:
        while data := packed.read(PIECE):
            file.write(data)
        return file.tell()
