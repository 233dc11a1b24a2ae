"""Empties the outbox: takes the webhooks that are due, sends them, and says when to try again. Knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from longfold_server.drain import Drain
from longfold_server.ending import end
from longfold_server.errors import JobNotFound, StoreUnavailable
from longfold_server.jobs.protocols import Store
from longfold_server.metrics import Metrics
from longfold_server.webhooks.event import body_of, message_id
from longfold_server.webhooks.sender import FINAL, SECONDS, Delivery, Outcome, Sender
from longfold_server.webhooks.signing import Signer

PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each further attempt; the specification's example, three days together."""
JITTER = 0.1
"""Share by which a pause may be longer, so that what failed together does not come back together."""
LOOK_SECONDS = 1.0
"""Between two looks into an outbox without due entries."""
LEASE_SECONDS = 4 * SECONDS
"""How long a taken entry is nobody else's; it is sent again when this process dies meanwhile."""
AT_ONCE = 64
"""Deliveries at once, as many as the network takes: slow receivers must not hold up the others."""
TENANT_AT_ONCE = AT_ONCE // 4
"""Of these, one tenant's: however slow its receivers, the others' webhooks find room."""
TENANT_PAUSE_SECONDS = 5.0
"""For a webhook beyond that, as long as before a first repetition: long enough that many of them leave time between
their looks for the others."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Delivers at least once, with one `webhook-id` per job; there is one attempt more than there are `pauses`."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        signer: Signer,
        metrics: Metrics,
        drain: Drain,
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._store = store
        self._sender = sender
        self._signer = signer
        self._metrics = metrics
        self._drain = drain
        self._pauses = tuple(pauses)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: Counter[str] = Counter()
        """Deliveries under way, by tenant."""

    async def run(self) -> None:
        """Works until the drain begins, then returns as the deliveries in flight end. Cancelling it drops them: their
        leases end, and they are sent again."""
        try:
            while not self._drain.begun:
                if len(self._tasks) >= AT_ONCE:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                elif not await self._take():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._drain.wait(), LOOK_SECONDS)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await end(*self._tasks)

    async def _take(self) -> bool:
        """Begins the next delivery that is due."""
        try:
            due = await self._store.due_webhook(LEASE_SECONDS)
        except StoreUnavailable:
            return False
        except Exception:  # its lease hides for a while what cannot be taken, and there are other webhooks
            log.exception("webhook_take_broke")
            return False
        if due is None:
            return False
        task = asyncio.create_task(self._deliver(*due))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook_task_broke", exc_info=error)

    async def _deliver(self, job: str, attempt: int) -> None:
        """One attempt; `attempt` were made before."""
        began = time.time()
        try:
            delivery = await self._send(job)
            if delivery is None:
                return await self._store.webhook_postponed(job, attempt, TENANT_PAUSE_SECONDS)
            await self._record(job, attempt, delivery, time.time() - began)
        except JobNotFound:
            log.warning("webhook_expired", extra={"job": job})
            with suppress(StoreUnavailable):
                await self._store.webhook_sent(job)  # its retention has ended: there is nothing to tell any more
        except StoreUnavailable:
            log.warning("webhook_not_recorded", extra={"job": job})  # its lease ends, and it is sent again

    async def _send(self, job: str) -> Delivery | None:
        """None where the job's tenant has all its deliveries under way. Raises `JobNotFound` and `StoreUnavailable`.
        Whatever else goes wrong is a failed delivery: it counts, or it would be tried again for as long as the job is
        kept."""
        try:
            url, tenant = await self._store.webhook(job)
            if self._sending[tenant] >= TENANT_AT_ONCE:
                return None
            self._sending[tenant] += 1
            try:
                body = body_of(await self._store.get(job))
                message, timestamp = message_id(job), int(time.time())
                headers = {
                    "webhook-id": message,
                    "webhook-timestamp": str(timestamp),
                    "webhook-signature": self._signer.sign(tenant, message, timestamp, body),
                }
                return await self._sender.send(url, headers, body)
            finally:
                self._sending -= Counter({tenant: 1})  # forgets tenants that have none
        except (JobNotFound, StoreUnavailable):
            raise
        except Exception:  # a record that this version cannot read, say
            log.exception("webhook_broke", extra={"job": job})
            return Delivery(Outcome.FAILED)

    async def _record(self, job: str, attempt: int, delivery: Delivery, seconds: float) -> None:
        pause = None
        if delivery.outcome not in FINAL and attempt < len(self._pauses):
            pause = max(delivery.retry_after, self._pauses[attempt] * (1 + JITTER * random.random()))
        told = "given_up" if delivery.outcome is Outcome.FAILED and pause is None else delivery.outcome.value
        self._metrics.webhooks.labels(outcome=told).inc()
        fields = {"job": job, "attempt": attempt + 1, "status": delivery.status, "seconds": round(seconds, 3)}
        if delivery.outcome is Outcome.SENT:
            log.info("webhook_sent", extra=fields)
            await self._store.webhook_sent(job)
        else:
            again = None if pause is None else round(pause)
            log.warning("webhook_failed", extra=fields | {"outcome": told, "retry_seconds": again})
            await self._store.webhook_failed(job, attempt, pause)
