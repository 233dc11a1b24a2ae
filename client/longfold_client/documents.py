"""What a caller may name as a document, made into request form; knows no HTTP and uploads nothing itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from .errors import InvalidArgument
from .types import DocumentInfo, DocumentRef
from .upload import Upload

Document: TypeAlias = "str | os.PathLike[str] | DocumentRef | DocumentInfo | Mapping[str, Any]"
"""A URL or document id, a local file (uploaded first), a DocumentRef, an uploaded DocumentInfo, or DocumentRef's
fields as a dict.
"""

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
DOCUMENT_ID = re.compile(r"doc_[0-9a-f]{64}")
NAME_LENGTH = 120
"""Characters of a document's name in a message: enough to recognise a URL, short enough for a line."""


def prepare(documents: Document | Iterable[Document]) -> list[DocumentRef | Upload]:
    """References ready to send, and local files to upload first, in the given order.

    Raises InvalidArgument that names the document. One document need not be wrapped in a list.
    """
    if isinstance(documents, str | os.PathLike | DocumentRef | DocumentInfo | Mapping):
        documents = [documents]
    try:
        items = list(documents)
    except TypeError:
        raise InvalidArgument(f"documents: a list is needed, not {type(documents).__name__}.") from None
    if not items:
        raise InvalidArgument("documents: give at least one.")
    return [_one(index, item) for index, item in enumerate(items)]


def names(documents: Iterable[DocumentRef | Upload]) -> list[str]:
    """How messages call the documents."""
    return [_short(_name(document)) for document in documents]


def validation_message(error: ValidationError) -> str:
    """A pydantic error as one line, without the input's text."""
    parts = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts[:5]) + (f"; and {len(parts) - 5} more" if len(parts) > 5 else "")


def _one(index: int, item: Document) -> DocumentRef | Upload:
    try:
        if isinstance(item, DocumentRef):
            return item
        if isinstance(item, DocumentInfo):
            return DocumentRef(document_id=item.document_id, title=item.title[:500])
        if isinstance(item, Mapping):
            return DocumentRef.model_validate(dict(item))
        if isinstance(item, str):
            return _reference(item.strip())
        if isinstance(item, os.PathLike):
            return Upload(item)
    except ValidationError as error:
        raise InvalidArgument(f"document {index + 1}: {validation_message(error)}.") from None
    except InvalidArgument as error:
        raise InvalidArgument(f"document {index + 1}: {error}") from None
    raise InvalidArgument(
        f"document {index + 1}: a {type(item).__name__} is no document; give a URL, a pathlib.Path, a DocumentRef "
        "or a dict (for bytes: upload them first and pass the result)."
    )


def _reference(text: str) -> DocumentRef:
    if DOCUMENT_ID.fullmatch(text):
        return DocumentRef(document_id=text)
    if URL.match(text):
        return DocumentRef(url=text)
    raise InvalidArgument(
        f"{_short(text)!r} is not a URL; for a local file pass pathlib.Path(...), "
        "for the text itself a dict with the key 'text'."
    )


def _name(document: DocumentRef | Upload) -> str:
    if document.title:
        return document.title
    if isinstance(document, Upload):
        return "the upload"
    return document.url or (f"{document.document_id[:12]}…" if document.document_id else "the given text")


def _short(text: str) -> str:
    return text if len(text) <= NAME_LENGTH else text[: NAME_LENGTH - 1] + "…"
