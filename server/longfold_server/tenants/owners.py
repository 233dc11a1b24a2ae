"""Which tenant may name which document by its id, what it was called there, and which documents anybody still uses.
Knows no texts.

A document's id is the hash of its text and the text is stored once, whoever brought it; so knowing an id proves
nothing. A tenant may use the ids of documents that it brought itself: one small expiring key per tenant and document,
which holds the facts of the file that it brought. Another expiring key per document, of no tenant, says that its text
must stay.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from longfold_client.types import DocumentInfo
from longfold_server.jobs.connection import boundary


class Owners:
    """The records in one Redis. Every method raises `StoreUnavailable` when it is away.

    A service without keys has one tenant, "", to whom everything belongs.
    """

    def __init__(self, redis: Any, prefix: str = "lf", *, retention_seconds: int) -> None:
        self._redis = redis
        self._prefix = prefix
        self.retention_seconds = retention_seconds

    async def add(self, tenant: str, document: DocumentInfo) -> None:
        """The tenant brought this document."""
        await self.use(document.document_id)
        told = document.model_dump_json(exclude_defaults=True)
        with boundary():
            await self._redis.set(self._key(tenant, document.document_id), told, ex=self.retention_seconds)

    async def owns(self, tenant: str, document_id: str) -> bool:
        """Whether the tenant brought it, and used it last within the retention; it counts from now again."""
        with boundary():
            known = bool(await self._redis.expire(self._key(tenant, document_id), self.retention_seconds))
        if known or not tenant:
            await self.use(document_id)
        return known or not tenant

    async def facts(self, tenant: str, document_id: str) -> DocumentInfo | None:
        """What the tenant brought under this id; None where nobody has noted it."""
        with boundary():
            told = await self._redis.get(self._key(tenant, document_id))
        try:
            return None if told is None else DocumentInfo.model_validate_json(told)
        except ValidationError:  # noted by another version
            return None

    async def use(self, document_id: str) -> None:
        """The text must stay for as long as the retention lasts."""
        with boundary():
            await self._redis.set(self._used(document_id), 1, ex=self.retention_seconds)

    async def used(self, document_id: str) -> bool:
        """Whether anybody has used it within the retention."""
        with boundary():
            return bool(await self._redis.exists(self._used(document_id)))

    def _key(self, tenant: str, document_id: str) -> str:
        return f"{self._prefix}:{{tenant:{tenant}}}:document:{document_id}"

    def _used(self, document_id: str) -> str:
        return f"{self._prefix}:{{{document_id}}}:used"
