"""The parts of uploads in an object store, for replicas that share no folder: `uploads/OWNER/ID/NAME`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from longfold_server.ingest.bucket import reaching
from longfold_server.uploads.parts import PIECE, PLACE, UploadParts

PREFIX = "uploads"


class BucketParts:
    """The `UploadParts` of a bucket; `local` lends it temporary files."""

    def __init__(self, store: ObjectStore, local: UploadParts) -> None:
        self._store = store
        self._local = local

    def temporary(self) -> AbstractContextManager[Path]:
        """See `UploadParts`."""
        return self._local.temporary()

    def keep(self, place: str, name: str, file: Path) -> bool:
        """See `UploadParts`."""
        with reaching():
            try:
                # A conditional write is one request; one in several would not be conditional.
                obstore.put(self._store, f"{PREFIX}/{place}/{name}", file, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def sizes(self, place: str) -> dict[str, int]:
        """See `UploadParts`."""
        with reaching():
            pages = obstore.list(self._store, f"{PREFIX}/{place}")
            return {found["path"].rpartition("/")[2]: found["size"] for page in pages for found in page}

    def read(self, place: str, name: str) -> Iterator[bytes]:
        """See `UploadParts`."""
        with reaching():
            for piece in obstore.get(self._store, f"{PREFIX}/{place}/{name}").stream(PIECE):
                yield bytes(piece)

    def remove(self, place: str, names: list[str] | None = None) -> None:
        """See `UploadParts`."""
        for name in list(self.sizes(place)) if names is None else names:
            with reaching():
                try:
                    obstore.delete(self._store, f"{PREFIX}/{place}/{name}")
                except FileNotFoundError:
                    continue

    def places(self, owner: str) -> list[str]:
        """See `UploadParts`."""
        with reaching():
            found = obstore.list_with_delimiter(self._store, f"{PREFIX}/{owner}")["common_prefixes"]
        return [path.removeprefix(f"{PREFIX}/") for path in found]

    def old(self, seconds: float) -> Iterator[str]:
        """See `UploadParts`."""
        oldest, seen = datetime.now(UTC) - timedelta(seconds=seconds), set()
        with reaching():
            for page in obstore.list(self._store, PREFIX):
                for found in page:
                    place = found["path"].removeprefix(f"{PREFIX}/").rpartition("/")[0]
                    if found["last_modified"] < oldest and place not in seen and PLACE.match(place):
                        seen.add(place)
                        yield place
