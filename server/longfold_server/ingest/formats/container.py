"""A ZIP file whose members are parts of one document (OOXML, EPUB): opened by name, counted as they are read. Knows no
format inside.

Nothing is written to disk under a name that a file gives, and a size that it states is never believed.
"""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import unquote

from lxml import etree

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.formats.source import Source, damaged, encrypted, too_big

LARGEST_WHOLE = 8_000_000
"""Bytes of a part that is parsed into a tree of up to 30 times its size: slides, chapters, relations, styles."""
ENCRYPTED = 0x1
"""Of a member's flags (APPNOTE.TXT 4.4.4)."""
_RELATION = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


class Container:
    """The parts of one file; close it through `opened`."""

    def __init__(self, file: zipfile.ZipFile, source: Source, what: str) -> None:
        self._file = file
        self._budget = source.budget
        self._what = what

    def has(self, name: str) -> bool:
        """Whether there is such a part."""
        return name in self._file.NameToInfo

    def open(self, name: str) -> IO[bytes]:
        """A part as a stream. Raises `DocumentError`, also while it is read."""
        try:
            info = self._file.getinfo(name)
            if info.flag_bits & ENCRYPTED:
                raise encrypted()
            return io.BufferedReader(_Counted(self._file.open(info), self, info.compress_size), 1 << 16)
        except (KeyError, zipfile.BadZipFile, NotImplementedError, struct.error) as error:
            raise damaged(self._what) from error

    def whole(self, name: str) -> bytes:
        """A small part. Raises `DocumentError`."""
        with self.open(name) as part:
            data = part.read(LARGEST_WHOLE + 1)
        if len(data) > LARGEST_WHOLE:
            raise too_big()
        return data

    def tree(self, name: str, mend: bool = False) -> etree._Element:
        """A small part of XML; with `mend` as much of it as can be made out. Raises `DocumentError`."""
        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=mend)
            root: etree._Element | None = etree.fromstring(self.whole(name), parser)
        except etree.XMLSyntaxError as error:
            raise damaged(self._what) from error
        if root is None:  # nothing could be mended
            raise damaged(self._what)
        return root

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Id -> (last word of the type, name of the target part) of what a part relates to (ECMA-376-2, 9.3)."""
        folder, _, base = name.rpartition("/")
        relations = f"{folder}/_rels/{base}.rels".lstrip("/")
        if not self.has(relations):
            return {}
        found = {}
        for relation in self.tree(relations).iter(_RELATION):
            if relation.get("TargetMode") != "External":
                target = unquote(relation.get("Target", ""))
                place = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
                found[relation.get("Id", "")] = (relation.get("Type", "").rpartition("/")[2], place)
        return found

    def elements(self, name: str, tags: list[str], ends_only: bool = False) -> Iterator[tuple[str, etree._Element]]:
        """(event, element) for the start and end of elements named by `tags` in a part of any size; clear each at its
        end. Raises `DocumentError`."""
        with self.open(name) as part:
            events = ("end",) if ends_only else ("start", "end")
            try:
                yield from etree.iterparse(part, events=events, tag=tags, resolve_entities=False, no_network=True)
            except etree.XMLSyntaxError as error:
                raise damaged(self._what) from error

    def took(self, count: int, of_member: int, compressed: int) -> None:
        """Counts what comes out of a member. Raises `DocumentError`."""
        budget = self._budget
        budget.take(count)
        if of_member > budget.ratio_floor and of_member > budget.ratio * compressed:
            raise too_big()

    def broken(self) -> DocumentError:
        """What to raise when a member ends in the middle."""
        return damaged(self._what)


class _Counted(io.RawIOBase):
    """Lets no more out of a member than its container allows."""

    def __init__(self, member: IO[bytes], container: Container, compressed: int) -> None:
        self._member = member
        self._container = container
        self._compressed = compressed
        self._out = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._member.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
            raise self._container.broken() from error
        self._out += len(data)
        self._container.took(len(data), self._out, self._compressed)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._member.close()
        super().close()


@contextmanager
def opened(source: Source, what: str) -> Iterator[Container]:
    """The parts of a file; `what` names its format with an article. Raises `DocumentError`."""
    try:
        file = zipfile.ZipFile(source.path)
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError) as error:
        raise damaged(what) from error
    with file:
        if len(file.filelist) > source.budget.members:
            raise DocumentError(Code.DOCUMENT_TOO_LARGE, f"it has more than {source.budget.members:,} parts; split it")
        yield Container(file, source, what)


def clear(element: etree._Element) -> None:
    """Forget an element that was read, and its elder siblings: memory stays as small as the deepest branch."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]
