"""Secrets and signatures of webhooks (Standard Webhooks 1.0, symmetric). Knows no HTTP and no jobs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64
"""Of a secret, as the specification asks."""


def key_of(secret: str) -> bytes:
    """The key that a `whsec_` text stands for. Raises `ValueError`, which never repeats the text."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"a webhook secret is {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in Base64")
    return key


def secret_of(key: bytes) -> str:
    """The text form of a key."""
    return PREFIX + base64.b64encode(key).decode("ascii")


def new_secret() -> str:
    """A fresh secret for `LONGFOLD_WEBHOOK_SECRETS`."""
    return secret_of(secrets.token_bytes(32))


class Signer:
    """Signs with every secret of the service, the newest first, so that receivers can change theirs without a gap.

    Each tenant has secrets of its own, derived from the service's: a tenant who verifies its webhooks could otherwise
    sign messages to another one's receiver. Without tenants the service's secrets are used as they are.
    """

    def __init__(self, service_secrets: Sequence[str]) -> None:
        self._keys = [key_of(secret) for secret in service_secrets]

    def secrets(self, tenant: str = "") -> list[str]:
        """What the tenant's receivers verify with; one of them suffices."""
        return [secret_of(key) for key in self._keys_of(tenant)]

    def sign(self, tenant: str, message: str, timestamp: int, body: bytes) -> str:
        """The `webhook-signature` header."""
        signed = f"{message}.{timestamp}.".encode("ascii") + body
        macs = (hmac.digest(key, signed, hashlib.sha256) for key in self._keys_of(tenant))
        return " ".join(f"v1,{base64.b64encode(mac).decode('ascii')}" for mac in macs)

    def _keys_of(self, tenant: str) -> list[bytes]:
        if not tenant:
            return self._keys
        label = b"longfold webhooks of " + tenant.encode("utf-8", "surrogatepass")
        return [hmac.digest(key, label, hashlib.sha256) for key in self._keys]
