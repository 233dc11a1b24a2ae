"""What fetching is allowed and what it gives, whatever the scheme. Plain values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from longfold_server import __version__
from longfold_server.ingest.transfer import Validators

USER_AGENT = f"longfold/{__version__} (document fetcher)"
"""Says who asks; an operator adds where to complain."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one fetch may reach and cost."""

    allow_networks: tuple[str, ...] = ()
    """Networks (CIDR) besides the public internet."""
    ports: tuple[int, ...] = (80, 443)
    """The permitted ones."""
    max_bytes: int = 200_000_000
    """On the wire and decoded, each."""
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    """Longest silence, and longest wait for the response's headers."""
    total_seconds: float = 300.0
    """Everything together: redirects, retries, body."""
    slow_after_seconds: float = 20.0
    """From when on a body must arrive at `slow_bytes_per_second` on average; frees a worker from a dripping server."""
    slow_bytes_per_second: int = 1024
    redirects: int = 5
    backoff_seconds: tuple[float, ...] = (0.2, 0.8)
    """Before the second and third try: long enough for a restarting server, short beside the time limit."""
    per_host: int = 4
    """Requests to one host at the same time."""
    user_agent: str = USER_AGENT
    file_root: Path | None = None
    """Folder below which `file://` URLs are read; None reads none."""
    buckets: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    """`s3://bucket/prefix` or `gs://bucket/prefix` -> its configuration with the credentials, as obstore takes them."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as it was received, decoded from its Content-Encoding."""

    bytes: int
    sha256: str
    content_type: str
    """The server's header, unchecked; "" without one."""
    location: str
    """URL at which it was found after redirects."""
    validators: Validators
    """By which it can be asked for again."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The document at `location` is as it was known."""

    location: str


Known: TypeAlias = "Callable[[str], Awaitable[Validators]]"
"""What is known of a document that was fetched from a URL before."""


async def nothing(url: str) -> Validators:
    """What somebody knows who has fetched nothing before."""
    return Validators()
