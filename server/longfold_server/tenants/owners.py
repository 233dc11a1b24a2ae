"""Which tenant may name which document by its id. Knows ids only, no texts.

A document's id is the hash of its text and the text is stored once, whoever brought it; so knowing an id proves
nothing. A tenant may use the ids of documents that it brought itself: one small expiring key per tenant and document.
"""

from __future__ import annotations

from typing import Any

from longfold_server.jobs.connection import boundary


class Owners:
    """The records in one Redis. Every method raises `StoreUnavailable` when it is away.

    A service without keys has one tenant, "", to whom everything belongs.
    """

    def __init__(self, redis: Any, prefix: str = "lf", *, retention_seconds: int) -> None:
        self._redis = redis
        self._prefix = prefix
        self._retention = retention_seconds

    async def add(self, tenant: str, document_id: str) -> None:
        """The tenant brought this document."""
        if tenant:
            with boundary():
                await self._redis.set(self._key(tenant, document_id), 1, ex=self._retention)

    async def owns(self, tenant: str, document_id: str) -> bool:
        """Whether the tenant brought it, and used it last within the retention; it counts from now again."""
        if not tenant:
            return True
        with boundary():
            return bool(await self._redis.expire(self._key(tenant, document_id), self._retention))

    def _key(self, tenant: str, document_id: str) -> str:
        return f"{self._prefix}:{{tenant:{tenant}}}:document:{document_id}"
