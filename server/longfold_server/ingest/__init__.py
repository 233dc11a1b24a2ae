"""Ingestion: a URL, a text or an upload becomes canonical text on disk, addressed by its content. Knows no jobs,
chunks or models."""

from __future__ import annotations

from longfold_server.ingest.documents import DocumentStore, StoredDocument
from longfold_server.ingest.fetch import Fetcher, FetchLimits

__all__ = ["DocumentStore", "FetchLimits", "Fetcher", "StoredDocument"]
