"""Names of the Redis keys.

A job's keys share one hash slot by their tag: `lf:{job_...}:job` (hash) and `lf:{job_...}:events` (stream; also the
name of the channel on which its changes are announced). The queue's keys `lf:queue:ready` and `lf:queue:leases` belong
to no job.

COMMIT and reading touch one slot only. CREATE, CLAIM, BEAT, FINISH, RELEASE and CANCEL change a job and the queue in
one script, because a job that is in the one and not in the other would be lost; so the store needs one primary
(replicas, Sentinel or a managed equivalent behind it), not a Redis Cluster, where those keys live in different slots.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix."""

    prefix: str = "lf"

    def job(self, job: str) -> str:
        return f"{self.prefix}:{{{job}}}:job"

    def events(self, job: str) -> str:
        return f"{self.prefix}:{{{job}}}:events"

    @property
    def ready(self) -> str:
        """Sorted set of the jobs that wait: score = when they may start, in ms."""
        return f"{self.prefix}:queue:ready"

    @property
    def leases(self) -> str:
        """Sorted set of the jobs that are worked on: score = when the lease runs out, in ms."""
        return f"{self.prefix}:queue:leases"

    @property
    def signals(self) -> str:
        """Channel to the workers: `ready`, `cancel <job>`."""
        return f"{self.prefix}:signals"

    def of(self, job: str) -> list[str]:
        """The KEYS of every script, in their fixed order."""
        return [self.job(job), self.events(job), self.ready, self.leases]
