"""Fetches a URL into a file under limits, by its scheme. Knows no formats.

http and https go through the guard; `s3://`, `gs://` and `file://` lead only to what an operator has named, and no
redirect leads there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from longfold_server.codes import Code
from longfold_server.errors import ConfigError, DocumentError
from longfold_server.ingest.addresses import AddressPolicy
from longfold_server.ingest.credentials import NOBODY, Credentials
from longfold_server.ingest.fetched import Fetched, FetchLimits, Known, Unchanged, nothing
from longfold_server.ingest.files import Files
from longfold_server.ingest.guard import Guard, GuardedTransport, Resolve
from longfold_server.ingest.hosts import Hosts
from longfold_server.ingest.location import locate, scheme_of
from longfold_server.ingest.web import Web

if TYPE_CHECKING:
    from longfold_server.ingest.objects import Objects

DEFAULT_LIMITS = FetchLimits()


def check_url(url: str) -> None:
    """Raises `DocumentError` for what nobody can ever fetch, without asking anybody. Which buckets, folders, ports and
    addresses are permitted is for the one who fetches to say: a worker may be set up otherwise than an API."""
    if scheme_of(url) not in ("file", "s3", "gs"):
        locate(url)


class Fetcher:
    """Fetches documents; one per process, closed with `aclose`. `resolver` replaces the system's name look-up.

    Raises `ConfigError` for named buckets that cannot be used.
    """

    def __init__(
        self,
        limits: FetchLimits = DEFAULT_LIMITS,
        *,
        resolver: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        guard = Guard(AddressPolicy(limits.allow_networks), limits.ports, resolver)
        self._web = Web(limits, transport or GuardedTransport(guard), Hosts(limits.per_host))
        self._files = Files(limits.file_root, limits.max_bytes)
        self._objects = _objects(limits) if limits.buckets else None

    async def aclose(self) -> None:
        await self._web.aclose()

    async def fetch(
        self, url: str, target: Path, credentials: Credentials = NOBODY, known: Known = nothing
    ) -> Fetched | Unchanged:
        """Writes the document at `url` into the file `target`. `known` tells what an earlier fetch of a URL gave; a
        document that is still the same is not sent again.

        Raises `DocumentError`; `target` is then left to the caller.
        """
        match scheme_of(url):
            case "file":
                return await self._files.fetch(url, target, known)
            case "s3" | "gs":
                if self._objects is None:
                    raise DocumentError(
                        Code.DOCUMENT_BLOCKED,
                        "the operator has named no buckets; download the object and upload it",
                    )
                return await self._objects.fetch(url, target, known)
        return await self._web.fetch(locate(url), target, credentials, known)


def _objects(limits: FetchLimits) -> Objects:
    try:
        from longfold_server.ingest.objects import Objects
    except ImportError as error:
        raise ConfigError("LONGFOLD_FETCH_BUCKETS needs obstore: pip install 'longfold-server[s3]'") from error
    return Objects(limits.buckets, limits.max_bytes, limits.total_seconds)


__all__ = ["DEFAULT_LIMITS", "FetchLimits", "Fetched", "Fetcher", "Unchanged"]
