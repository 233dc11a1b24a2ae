"""What a parser is given and what it gives back beside the text. Knows no format."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from pathlib import Path

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.index import Reason
from longfold_server.ingest.text import Encoding

BINARY = Encoding("")
"""Of a file that is no text."""


@dataclass(slots=True)
class Budget:
    """What unpacking may still make, over all members of all archives of one document. Sizes that an archive states
    are never believed: bytes are taken as they come."""

    bytes: int = 2_000_000_000
    members: int = 10_000
    ratio: int = 200
    """Most bytes that may come out of one that went in; a member below `ratio_floor` is not asked."""
    ratio_floor: int = 10_000_000

    @classmethod
    def of(cls, size: int) -> Budget:
        """For a document of so many bytes: many members, each below `ratio_floor`, are a bomb as well."""
        budget = cls()
        budget.bytes = min(budget.bytes, 5 * budget.ratio_floor + budget.ratio * size)
        return budget

    def take(self, count: int) -> None:
        """Raises `DocumentError` (`document_too_large`) when there is not so much left."""
        self.bytes -= count
        if self.bytes < 0:
            raise too_big()


@dataclass(frozen=True, slots=True)
class Source:
    """One file to parse."""

    path: Path
    media_type: str
    encoding: Encoding
    name: str = ""
    """File name, where it came with one."""
    scratch: Path = Path()
    """A folder for what is unpacked; gone after the job."""
    depth: int = 0
    """How many archives it stands in."""
    budget: Budget = field(default_factory=Budget)

    def inside(self, path: Path, name: str, media_type: str, encoding: Encoding) -> Source:
        """A member of this file."""
        return replace(self, path=path, name=name, media_type=media_type, encoding=encoding, depth=self.depth + 1)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a document calls itself."""

    title: str = ""
    heading: str = ""
    """Its first heading."""


def too_big() -> DocumentError:
    return DocumentError(
        Code.DOCUMENT_TOO_LARGE, "it unpacks to more than this server reads of one document; upload its parts instead"
    )


def of_content(error: OSError) -> bool:
    """Whether it tells of what was read: gzip, bzip2 and lxml raise it without a number, and who is told to seek before
    the beginning with one. A full disk has another."""
    return error.errno in (None, errno.EINVAL)


def damaged(what: str) -> DocumentError:
    """`what` names the format with its article: "a PDF"."""
    return DocumentError(
        Code.DOCUMENT_UNDECODABLE, f"it looks like {what} but is damaged or cut off; get a whole copy and try again"
    )


def encrypted() -> DocumentError:
    return DocumentError(
        Code.DOCUMENT_ENCRYPTED, "it is protected by a password; save a copy without one and upload that"
    )


_REASONS = {
    Code.DOCUMENT_EMPTY: Reason.EMPTY,
    Code.DOCUMENT_UNSUPPORTED: Reason.BINARY,
    Code.DOCUMENT_ENCRYPTED: Reason.ENCRYPTED,
}


def reason_of(error: DocumentError) -> Reason:
    """Why a part of a document is left out that could not be read. Raises the error where it ends the whole document:
    a bomb is none of its parts' affair."""
    if error.code == Code.DOCUMENT_TOO_LARGE:
        raise error
    return _REASONS.get(Code(error.code), Reason.UNDECODABLE)
