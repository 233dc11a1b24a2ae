"""Checks webhooks: that the service signed them, lately, and what they say. Knows no web framework; stdlib until a
message is good."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .errors import InvalidArgument, WebhookInvalid

if TYPE_CHECKING:
    from .types import WebhookEvent

TOLERANCE = 300.0
"""Seconds by which clocks may differ and messages may be late; older ones may be replays."""
PREFIX = "whsec_"


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: str | Sequence[str], *, tolerance: float = TOLERANCE
) -> WebhookEvent:
    """The event of a webhook (Standard Webhooks 1.0).

    `body`: the bytes as they were received, never parsed and written again. `headers`: the request's, in any case.
    `secret`: `whsec_...`, or several of which one must fit. The same message may arrive more than once:
    `headers["webhook-id"]` tells. Raises WebhookInvalid, InvalidArgument for a secret that is none.
    """
    keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    given = {name.lower(): value for name, value in headers.items()}
    message, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    signatures = given.get("webhook-signature", "").split()
    if not (message and timestamp and signatures):
        raise WebhookInvalid("the headers webhook-id, webhook-timestamp and webhook-signature are needed.")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(time.time() - int(timestamp[:20])) > tolerance:
        raise WebhookInvalid(f"the webhook's time is more than {tolerance:g} s away from now.")
    # Some frameworks give bytes that are no text as surrogates; what is written must stay as distinct as what came.
    signed = f"{message}.{timestamp}.".encode(errors="surrogatepass") + body
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    # Every pair is compared, whichever matches first.
    matches = [
        hmac.compare_digest(one, other.encode(errors="surrogatepass")) for one in expected for other in signatures
    ]
    if not any(matches):
        raise WebhookInvalid("the webhook's signature does not fit the secret.")
    return _event(body)


def _event(body: bytes) -> WebhookEvent:
    from pydantic import ValidationError

    from .types import WebhookEvent

    try:
        return WebhookEvent.model_validate_json(body)
    except ValidationError as error:
        raise WebhookInvalid("the webhook is signed, but its body is not an event this version knows.") from error


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not key:
        raise InvalidArgument(f"secret: a text that begins with {PREFIX}, as the service's operator gave it.")
    return key
