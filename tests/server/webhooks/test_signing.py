"""Signatures, against the specification's vector and its reference library."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from longfold_server.webhooks.signing import Signer, key_of, new_secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def headers(signer: Signer, body: bytes, tenant: str = "") -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signer.sign(tenant, "msg_1", now, body),
    }


def test_the_specifications_vector() -> None:
    signed = Signer([SECRET]).sign("", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_secrets_change_both_verify() -> None:
    old, new, body = new_secret(), new_secret(), '{"answer": "größer"}'.encode()
    sent = headers(Signer([new, old]), body)
    for secret in (old, new):
        assert Webhook(secret).verify(body, sent) == {"answer": "größer"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, sent)


def test_a_tenant_cannot_sign_for_another() -> None:
    signer, body = Signer([SECRET]), b"{}"
    [ours], [theirs] = signer.secrets("ours"), signer.secrets("theirs")
    assert len({ours, theirs, SECRET}) == 3
    sent = headers(signer, body, "ours")
    Webhook(ours).verify(body, sent)
    for other in (theirs, SECRET):
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(body, sent)


def test_without_tenants_the_secret_is_used_as_it_is() -> None:
    assert Signer([SECRET]).secrets() == [SECRET]


@pytest.mark.parametrize("text", ["", "secret", "whsec_", "whsec_short", "whsec_no base64 at all!", SECRET[6:]])
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret is whsec_") as refused:
        key_of(text)
    assert len(text) < 7 or text[6:] not in str(refused.value)
