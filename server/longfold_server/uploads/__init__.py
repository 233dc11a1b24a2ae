"""Resumable uploads: files that arrive in parts, over any number of connections and replicas, before they become
documents. Knows no HTTP and no formats."""

from __future__ import annotations

from longfold_server.uploads.parts import FolderParts, UploadParts
from longfold_server.uploads.uploads import Upload, Uploads

__all__ = ["FolderParts", "Upload", "UploadParts", "Uploads"]
