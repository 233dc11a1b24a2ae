"""Checking webhooks that the specification's reference library has signed, and asking for them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from longfold_client import InvalidArgument, WebhookInvalid, verify_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "AAAA" * 8
JOB = {"id": "job_1", "status": "completed", "question": "q", "created_at": "2026-01-02T03:04:05Z"}
BODY = json.dumps({"type": "job.completed", "timestamp": "2026-01-02T03:04:05Z", "data": JOB, "new": 1}).encode()


def signed(body: bytes = BODY, secret: str = SECRET, age: float = 0.0) -> dict[str, str]:
    at = datetime.fromtimestamp(int(time.time() - age), UTC)
    signature = Webhook(secret).sign("msg_1", at, body.decode())
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}


def test_a_good_message_is_its_event() -> None:
    event = verify_webhook(BODY, signed(), SECRET)
    assert (event.type, event.data.id, event.complete) == ("job.completed", "job_1", True)


def test_one_of_several_secrets_and_of_several_signatures_suffices() -> None:
    headers = signed()
    headers["Webhook-Signature"] = f"v1a,AAAA v1,AAAA {headers['Webhook-Signature']}"
    assert verify_webhook(BODY, headers, [OTHER, SECRET]).data.id == "job_1"


@pytest.mark.parametrize(
    ("changed", "age"),
    [
        ({"Webhook-Id": "msg_2"}, 0),
        ({"Webhook-Id": "msg_1\udcff"}, 0),
        ({"Webhook-Timestamp": "soon"}, 0),
        ({"Webhook-Signature": "v1,AAAA"}, 0),
        ({"Webhook-Signature": "v1,\udcff"}, 0),
        ({"Webhook-Signature": "v2"}, 0),
        ({"Webhook-Signature": ""}, 0),
        ({}, 301),
        ({}, -3600),
    ],
    ids=[
        "id",
        "id of no text",
        "no time",
        "signature",
        "signature of no text",
        "version",
        "no signature",
        "old",
        "from the future",
    ],
)
def test_headers_that_are_not_right(changed: dict[str, str], age: float) -> None:
    with pytest.raises(WebhookInvalid):
        verify_webhook(BODY, signed(age=age) | changed, SECRET)


def test_a_signature_of_another_version_or_secret_or_body_does_not_count() -> None:
    headers = signed()
    for body, secret in ((BODY + b" ", SECRET), (BODY, OTHER), (b"", SECRET)):
        with pytest.raises(WebhookInvalid, match="does not fit"):
            verify_webhook(body, headers, secret)
    headers["Webhook-Signature"] = headers["Webhook-Signature"].replace("v1,", "v2,")
    with pytest.raises(WebhookInvalid, match="does not fit"):
        verify_webhook(BODY, headers, SECRET)


def test_a_signed_body_that_is_no_event() -> None:
    with pytest.raises(WebhookInvalid, match="not an event"):
        verify_webhook(b"{}", signed(b"{}"), SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", SECRET[6:], "whsec_&"])
def test_a_wrong_secret_is_the_callers_mistake(secret: str) -> None:
    with pytest.raises(InvalidArgument, match="whsec_"):
        verify_webhook(BODY, signed(), secret)
