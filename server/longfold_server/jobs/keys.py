"""Names of the Redis keys. Two kinds of hash slots, and every script touches one of them.

A job's keys share the slot of their tag: `lf:{job_...}:job` (hash) and `lf:{job_...}:events` (stream; also the name of
the channel on which its changes are announced). The queue's keys share the slot of `{queue}`, whatever the prefix. So
the store runs on one primary as well as on a Redis Cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

QUEUE = ("open", "ready", "waiting", "later", "leases", "running", "turn", "outbox", "attempts")
"""The queue's keys, in the order of the KEYS of its scripts; `scripts/queue.lua` says what each holds."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix."""

    prefix: str = "lf"

    def job(self, job: str) -> str:
        return f"{self.prefix}:{{{job}}}:job"

    def events(self, job: str) -> str:
        return f"{self.prefix}:{{{job}}}:events"

    def of(self, job: str) -> list[str]:
        """The KEYS of every script of a job, in their fixed order."""
        return [self.job(job), self.events(job)]

    def queue(self, name: str) -> str:
        """One key of the queue."""
        return f"{self.prefix}:{{queue}}:{name}"

    @property
    def queues(self) -> list[str]:
        """The KEYS of every script of the queue, in their fixed order."""
        return [self.queue(name) for name in QUEUE]

    @property
    def signals(self) -> str:
        """Channel to the workers: `ready`, `cancel <job>`."""
        return f"{self.prefix}:signals"
