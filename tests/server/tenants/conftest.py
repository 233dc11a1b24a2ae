"""Services whose callers hold keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from longfold_server.tenants.keys import Key, KeyStore
from longfold_server.tenants.limits import TenantLimits

Make = Callable[..., Awaitable[tuple[dict[str, str], Key]]]


@pytest.fixture
def keys(redis: Any) -> KeyStore:
    return KeyStore(redis)


@pytest.fixture
def make(keys: KeyStore) -> Make:
    """Makes a key: the header that shows it, and its record."""

    async def making(tenant: str | None = None, **limits: Any) -> tuple[dict[str, str], Key]:
        text, key = await keys.create("test", tenant, TenantLimits(**limits))
        return {"Authorization": f"Bearer {text}"}, key

    return making
