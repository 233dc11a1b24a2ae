"""The engine's cache salt of a tenant: its prefix cache is shared within a tenant only, so that nobody can learn from
answer times what another tenant has read. Knows no engine."""

from __future__ import annotations

import hmac


class Salts:
    """Salts under one secret. Workers with the same secret share their tenants' caches."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, tenant: str) -> str:
        """The tenant's salt; "" for the one tenant of a service without keys, who has nobody to hide from."""
        return hmac.digest(self._secret, tenant.encode(), "sha256").hex() if tenant else ""
