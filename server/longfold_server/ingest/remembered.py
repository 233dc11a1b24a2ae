"""What was made of files that came before, so that the same bytes are not sent or parsed twice: a cache, by URL and by
hash. Knows no network and no texts.

An entry is a small JSON file; losing it costs time only. Entries are kept apart by scope (a tenant), or the speed of an
answer would tell one tenant what another has read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longfold_server import __version__
from longfold_server.ingest.transfer import Validators

REVISION = f"{__version__}-4"
"""Raise it when a parser makes something else of the same bytes: older entries then count as absent."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a received file was made into."""

    document_id: str
    title: str
    """Found in the file, or made from its name or first line; a caller's own title is not kept."""
    media_type: str
    encoding: str | None
    bytes: int


class Remembered:
    """The entries of one folder. Every call is blocking file work on one small file; failures count as absence."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def by_url(self, scope: str, url: str) -> tuple[Validators, Made] | None:
        """What the document at a URL was made into, and what its server said to tell it by."""
        found = self._read(_key("url", scope, url))
        if found is None:
            return None
        return Validators(found["etag"], found["last_modified"]), Made(**found["made"])

    def keep_url(self, scope: str, url: str, validators: Validators, made: Made) -> None:
        """Nothing is kept of a document without validators."""
        if validators:
            self._write(_key("url", scope, url), {**asdict(validators), "made": asdict(made)})

    def by_hash(self, scope: str, sha256: str, content_type: str, name: str) -> Made | None:
        """What these very bytes were made into, received under this type and name."""
        found = self._read(_key("file", scope, sha256, content_type, name))
        return None if found is None else Made(**found["made"])

    def keep_hash(self, scope: str, sha256: str, content_type: str, name: str, made: Made) -> None:
        """See `by_hash`."""
        self._write(_key("file", scope, sha256, content_type, name), {"made": asdict(made)})

    def expire(self, older_seconds: float) -> None:
        """Forgets what was not asked for lately."""
        oldest = time.time() - older_seconds
        for path in self._root.glob("*/*.json"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _read(self, key: str) -> dict[str, Any] | None:
        path = self._path(key)
        try:
            found = json.loads(path.read_bytes())
            os.utime(path)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _write(self, key: str, value: dict[str, object]) -> None:
        path = self._path(key)
        temporary = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(value))
            os.replace(temporary, path)
        except OSError:  # a full disk is told by who stores texts
            temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / f"{key[2:]}.json"


def _key(*parts: str) -> str:
    """URLs may hold secrets, so that only hashes stand on the disk."""
    return hashlib.sha256(json.dumps([REVISION, *parts]).encode("utf-8", "surrogatepass")).hexdigest()
