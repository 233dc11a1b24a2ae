"""Where the service is and how to sign in, from arguments or the environment; knows no HTTP library."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import InvalidArgument

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where `longfold up` listens."""


def base_url(argument: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The argument, LONGFOLD_URL, or DEFAULT_URL, without a final slash. Raises InvalidArgument."""
    url = (argument or environment.get("LONGFOLD_URL") or DEFAULT_URL).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")  # as the system's resolver will
        usable = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(mark in url for mark in "?#") or not url.isprintable():
        raise InvalidArgument(
            f"{url[:200]!r} is no server address; it looks like {DEFAULT_URL} or https://longfold.example.com."
        )
    return url


def api_key(argument: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The argument or LONGFOLD_API_KEY, None where neither says anything. Raises InvalidArgument, never showing the
    key.
    """
    key = (argument if argument is not None else environment.get("LONGFOLD_API_KEY", "")).strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidArgument("the API key holds characters that no key has; was it copied whole, without quotes?")
    return key


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine; proxies of the environment are no use there."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
