"""Makes a document's errors name their document, and a full disk none. The exceptions themselves are in
`longfold_server.errors`."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from longfold_server.codes import Code
from longfold_server.errors import DocumentError, DocumentsUnavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where nothing more can be written."""

log = logging.getLogger(__name__)


def unknown_id() -> DocumentError:
    """Nobody may learn whether another tenant has a document, so one that is not the caller's is told like none."""
    return DocumentError(Code.DOCUMENT_UNKNOWN_ID, "no document with this document_id is stored here; upload it again")


@contextmanager
def naming(source: str, document_index: int | None) -> Iterator[None]:
    """Re-raise a `DocumentError` from inside with the document's index and source in front of its detail."""
    try:
        yield
    except DocumentError as error:
        name = "the document" if document_index is None else f"documents[{document_index}]"
        where = f" ({source})" if source else ""
        raise DocumentError(error.code, f"{name}{where}: {error.detail}", document_index) from error.__cause__


@contextmanager
def room() -> Iterator[None]:
    """Raises `DocumentsUnavailable` for a full disk: it is no fault of what is written, and passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        log.error("disk_full", extra={"error": errno.errorcode[error.errno]})
        raise DocumentsUnavailable("the disk for documents is full") from error
