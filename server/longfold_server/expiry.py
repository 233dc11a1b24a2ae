"""Removes what nobody uses any more: texts whose last use is too long ago, uploads that were not finished, and notes of
what was fetched. Knows no job and no route.

A text is in use while a tenant may name it by its id (`Owners`) or a job reads it; both say so again and again. One is
removed when neither has done so for the retention and it was not stored within it either.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any

from longfold_server.drain import Drain
from longfold_server.errors import DocumentsUnavailable, StoreUnavailable
from longfold_server.ingest import DocumentStore
from longfold_server.jobs.connection import boundary
from longfold_server.metrics import Metrics
from longfold_server.tenants.owners import Owners
from longfold_server.uploads import Uploads

EVERY_SECONDS = 3600.0
"""Looking through a large bucket takes minutes, and nobody waits for an hour more or less."""

log = logging.getLogger(__name__)


class Expiry:
    """The removals of one process; of all that share a Redis, one looks through what they share."""

    def __init__(
        self, documents: DocumentStore, uploads: Uploads, owners: Owners, redis: Any, prefix: str, metrics: Metrics
    ) -> None:
        self._documents = documents
        self._uploads = uploads
        self._owners = owners
        self._redis = redis
        self._turn = f"{prefix}:expiry"
        self._metrics = metrics

    async def run(self, drain: Drain) -> None:
        """Removes every hour until the drain begins."""
        pause = random.uniform(0.0, EVERY_SECONDS)  # replicas that start together need not look together
        while not drain.begun:
            with suppress(TimeoutError):
                await asyncio.wait_for(drain.wait(), pause)
                return
            pause = EVERY_SECONDS
            try:
                await asyncio.to_thread(self._documents.forget_notes, self._owners.retention_seconds)
                if await self._our_turn():
                    await self.remove()
            except (StoreUnavailable, DocumentsUnavailable, OSError) as error:
                log.warning("expiry_failed", extra={"error": type(error).__name__})

    async def remove(self) -> tuple[int, int]:
        """(texts, uploads) that were removed. Raises `StoreUnavailable`, `DocumentsUnavailable`."""
        retention, texts = self._owners.retention_seconds, 0
        old = self._documents.old(retention)
        while (document := await asyncio.to_thread(next, old, None)) is not None:
            if not await self._owners.used(document):
                texts += await asyncio.to_thread(self._documents.remove, document, retention)
        uploads = await asyncio.to_thread(self._uploads.expire)
        self._metrics.removed.labels(kind="text").inc(texts)
        self._metrics.removed.labels(kind="upload").inc(uploads)
        if texts or uploads:
            log.info("expired", extra={"texts": texts, "uploads": uploads})
        return texts, uploads

    async def _our_turn(self) -> bool:
        with boundary():
            return bool(await self._redis.set(self._turn, 1, nx=True, ex=int(EVERY_SECONDS * 0.9)))
