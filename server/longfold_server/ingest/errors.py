"""Makes a document's errors name their document. The exception itself is `longfold_server.errors.DocumentError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from longfold_server.codes import Code
from longfold_server.errors import DocumentError


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
