"""longfold's SDK: ask a question over documents far larger than any context window.

    from longfold_client import Client

    with Client() as client:
        result = client.answer("Who signed the treaty?", documents=["https://example.com/history.html"])
        print(result.answer)

Names load on first use (PEP 562), so that importing the package costs milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .client import AsyncClient, Client
    from .errors import (
        APIError,
        ConnectionFailed,
        Invalid,
        InvalidArgument,
        JobCancelled,
        JobFailed,
        LongfoldError,
        NotFound,
        ProtocolError,
        RateLimited,
        ServerFault,
        Unauthorized,
        Unavailable,
        WaitTimeout,
        WebhookInvalid,
    )
    from .retry import Retry
    from .types import (
        AnswerResult,
        Citation,
        DocumentInfo,
        DocumentPreview,
        DocumentRef,
        DocumentText,
        Event,
        EventType,
        Job,
        JobStatus,
        Limits,
        ManifestEntry,
        Mode,
        OnDocumentError,
        Problem,
        Progress,
        Route,
        SkippedPart,
        StepView,
        Webhook,
        WebhookEvent,
    )
    from .webhooks import verify_webhook

_HOMES = {
    "client": ("AsyncClient", "Client"),
    "errors": (
        "APIError",
        "ConnectionFailed",
        "Invalid",
        "InvalidArgument",
        "JobCancelled",
        "JobFailed",
        "LongfoldError",
        "NotFound",
        "ProtocolError",
        "RateLimited",
        "ServerFault",
        "Unauthorized",
        "Unavailable",
        "WaitTimeout",
        "WebhookInvalid",
    ),
    "retry": ("Retry",),
    "types": (
        "AnswerResult",
        "Citation",
        "DocumentInfo",
        "DocumentPreview",
        "DocumentRef",
        "DocumentText",
        "Event",
        "EventType",
        "Job",
        "JobStatus",
        "Limits",
        "ManifestEntry",
        "Mode",
        "OnDocumentError",
        "Problem",
        "Progress",
        "Route",
        "SkippedPart",
        "StepView",
        "Webhook",
        "WebhookEvent",
    ),
    "webhooks": ("verify_webhook",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "APIError",
    "AnswerResult",
    "AsyncClient",
    "Citation",
    "Client",
    "ConnectionFailed",
    "DocumentInfo",
    "DocumentPreview",
    "DocumentRef",
    "DocumentText",
    "Event",
    "EventType",
    "Invalid",
    "InvalidArgument",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobStatus",
    "Limits",
    "LongfoldError",
    "ManifestEntry",
    "Mode",
    "NotFound",
    "OnDocumentError",
    "Problem",
    "Progress",
    "ProtocolError",
    "RateLimited",
    "Retry",
    "Route",
    "ServerFault",
    "SkippedPart",
    "StepView",
    "Unauthorized",
    "Unavailable",
    "WaitTimeout",
    "Webhook",
    "WebhookEvent",
    "WebhookInvalid",
    "__version__",
    "verify_webhook",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
