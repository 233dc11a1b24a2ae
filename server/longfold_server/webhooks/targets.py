"""Which webhooks a request may ask for. Knows no network: where a URL leads is checked when it is called."""

from __future__ import annotations

from longfold_client.types import Webhook
from longfold_server.codes import Code
from longfold_server.errors import DocumentError, Refused
from longfold_server.ingest.location import locate
from longfold_server.settings import Settings


def target_of(asked: Webhook | None, settings: Settings) -> str:
    """The URL to tell of the job's end, "" for none. Raises `Refused`."""
    if asked is None:
        return ""
    if not settings.webhook_secrets:
        raise Refused(Code.WEBHOOK_DISABLED, "this service signs no webhooks; its operator can set a secret for them")
    schemes = ("https", "http") if settings.webhook_allow_http else ("https",)
    try:
        location = locate(asked.url)
    except DocumentError:
        location = None
    if location is None or location.url.scheme not in schemes:
        raise Refused(Code.WEBHOOK_INVALID, "webhook.url is an https URL with a host and without credentials")
    return asked.url
