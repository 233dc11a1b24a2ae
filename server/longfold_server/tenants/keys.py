"""API keys in Redis: made, listed, revoked, found. Knows no HTTP.

A key reads `lf_<id>_<secret>`. Its id may be shown anywhere; of the whole key only the SHA-256 is stored: the secret
holds 256 random bits, so no slow hash is needed. `lf:{keys}:key:<id>` is one key's hash, `lf:{keys}:ids` the set of all
ids.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from longfold_server.errors import KeyNotFound
from longfold_server.jobs.connection import boundary
from longfold_server.tenants.limits import TenantLimits

KEY = re.compile(r"lf_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Part of Redis keys, so without braces, colons and blanks."""
RESERVED = "static-"
"""Tenants of the keys in LONGFOLD_API_KEYS."""
LONGEST_NAME = 100


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def static_tenant(key: str) -> str:
    """The tenant of a key in LONGFOLD_API_KEYS."""
    return f"{RESERVED}{digest(key)[:16]}"


@dataclass(frozen=True, slots=True)
class Key:
    """One key as it is stored."""

    id: str
    name: str
    """For people: who has it, or what for."""
    tenant: str
    digest: str
    limits: TenantLimits
    created: datetime
    revoked: datetime | None = None

    @classmethod
    def from_hash(cls, key_id: str, values: Mapping[str, str]) -> Self:
        return cls(
            id=key_id,
            name=values["name"],
            tenant=values["tenant"],
            digest=values["digest"],
            limits=TenantLimits.from_json(values["limits"]),
            created=_moment(values["created"]),
            revoked=_moment(values["revoked"]) if "revoked" in values else None,
        )


class KeyStore:
    """The keys of one service. Every method raises `StoreUnavailable` when Redis is away."""

    def __init__(self, redis: Any, prefix: str = "lf") -> None:
        self._redis = redis
        self._prefix = f"{prefix}:{{keys}}"

    async def create(self, name: str, tenant: str | None = None, limits: TenantLimits | None = None) -> tuple[str, Key]:
        """A new key: its text, which nobody can ask for again, and its record. Without `tenant` it gets one of its own.

        Raises `ValueError` for a name or tenant that cannot be used.
        """
        key_id = secrets.token_hex(6)
        tenant = f"key-{key_id}" if tenant is None else tenant
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise ValueError(f"a key's name has 1 to {LONGEST_NAME} printable characters")
        if TENANT.fullmatch(tenant) is None or tenant.startswith(RESERVED):
            raise ValueError(
                "a tenant's name has up to 64 lower-case letters, digits, dots, dashes and underscores, "
                f"and does not begin with {RESERVED!r}"
            )
        text = f"lf_{key_id}_{secrets.token_urlsafe(32)}"
        fields = {
            "name": name.strip(),
            "tenant": tenant,
            "digest": digest(text),
            "limits": (limits or TenantLimits()).to_json(),
            "created": f"{time.time():.3f}",
        }
        with boundary():
            await self._redis.hset(self._key(key_id), mapping=fields)
            await self._redis.sadd(self._ids, key_id)
        return text, Key.from_hash(key_id, fields)

    async def find(self, key_id: str) -> Key | None:
        """The key of an id, revoked or not."""
        with boundary():
            values = await self._redis.hgetall(self._key(key_id))
        return Key.from_hash(key_id, values) if values else None

    async def all(self) -> list[Key]:
        """Every key, oldest first."""
        with boundary():
            ids = await self._redis.smembers(self._ids)
        found = [await self.find(key_id) for key_id in ids]
        return sorted((key for key in found if key is not None), key=lambda key: (key.created, key.id))

    async def revoke(self, key_id: str) -> Key:
        """Ends a key for good; safe to repeat. Its record stays, so that its holder is told why. Raises
        `KeyNotFound`."""
        key = await self.find(key_id)
        if key is None:
            raise KeyNotFound(key_id)
        with boundary():
            await self._redis.hsetnx(self._key(key_id), "revoked", f"{time.time():.3f}")
        return await self.find(key_id) or key

    @property
    def _ids(self) -> str:
        return f"{self._prefix}:ids"

    def _key(self, key_id: str) -> str:
        return f"{self._prefix}:key:{key_id}"


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
