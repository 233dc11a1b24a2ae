"""One job's tokens on their way to its tenant's day. Knows no job and no engine."""

from __future__ import annotations

import logging
from collections.abc import Callable

from longfold_server.errors import StoreUnavailable
from longfold_server.tenants.usage import Usage

log = logging.getLogger(__name__)


class Meter:
    """Counts what one worker's calls for a job have used; `used` tells the sum so far."""

    def __init__(self, usage: Usage, tenant: str, used: Callable[[], int]) -> None:
        self._usage = usage
        self._tenant = tenant
        self._used = used
        self._told = 0

    async def tell(self) -> None:
        """Counts what has been used since the last time; when the store is away, the next time."""
        new = self._used() - self._told
        if new <= 0:
            return
        self._told += new  # first, since another task may tell meanwhile
        try:
            await self._usage.spend(self._tenant, new)
        except StoreUnavailable:
            self._told -= new
            log.warning("tokens_not_counted", extra={"tokens": new})
