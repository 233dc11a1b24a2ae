"""What a key allows its holder: plain values. Knows no store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
MOST_REQUESTS = 100_000
"""Every counted request is remembered for its window: about a megabyte of the store for this many."""

_RATE = re.compile(rf"([1-9][0-9]{{0,5}})/({'|'.join(UNITS)})")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` requests in any stretch of `seconds`."""

    count: int
    seconds: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_REQUESTS or self.seconds < 1:
            raise ValueError(f"a rate counts 1 to {MOST_REQUESTS:,} requests")

    @classmethod
    def parse(cls, text: str) -> Self:
        """`600/minute`, with second, minute, hour or day. Raises `ValueError`."""
        found = _RATE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"a rate is written as 600/minute, with {', '.join(UNITS)}")
        return cls(int(found[1]), UNITS[found[2]])

    def __str__(self) -> str:
        unit = next((name for name, seconds in UNITS.items() if seconds == self.seconds), f"{self.seconds} seconds")
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """None is no limit; of a stored key, the service's default."""

    rate: Rate | None = None
    """Requests of one key."""
    jobs: int | None = None
    """Unfinished jobs of the tenant."""
    tokens_per_day: int | None = None
    """Prompt and completion tokens of the tenant's jobs in one UTC day."""
    max_documents: int | None = None
    """Documents of one request."""
    upload_bytes: int | None = None
    """Bytes of one upload, and of one request's inline texts."""

    def __post_init__(self) -> None:
        for name in ("jobs", "tokens_per_day", "max_documents", "upload_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1")

    def over(self, defaults: TenantLimits) -> TenantLimits:
        """These limits, and the defaults where these say nothing."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return TenantLimits(
            **{name: getattr(defaults, name) if value is None else value for name, value in own.items()}
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, saved: str) -> TenantLimits:
        """Fields of a newer version are passed over."""
        values: Mapping[str, object] = json.loads(saved)
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name in known and value is not None}
        if isinstance(rate := given.get("rate"), dict):
            given["rate"] = Rate(**rate)
        return cls(**given)  # type: ignore[arg-type]
