"""A webhook from the request to the receiver, through the whole service."""

from __future__ import annotations

import asyncio

import pytest

from longfold_client import verify_webhook
from longfold_server.ending import end

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = {"question": "q", "documents": [{"text": "The FACT is here."}]}


@pytest.fixture
def options(receiver):
    return {
        "webhook_secrets": [SECRET],
        "webhook_allow_http": True,
        "fetch_allow_networks": ["127.0.0.0/8"],
        "fetch_ports": [receiver.port],
    }


async def test_the_receiver_is_told_of_the_answer(start, receiver, options, until):
    async with start(**options) as service:
        asked = await service.ask("The FACT is blue.", webhook={"url": receiver.url("/hook?key=hidden")})
        done = await service.finished(asked["id"])

        async def told() -> bool:
            return len(receiver.seen) == 1

        await until(told)
        assert "hidden" not in str(done) and "hidden" not in str(await service.events(asked["id"]))
        metrics = (await service.client.get("/metrics")).text
        assert 'longfold_webhooks_total{outcome="sent"} 1.0' in metrics
    [(_, headers, body)] = receiver.seen
    event = verify_webhook(body, headers, SECRET)
    assert (event.type, event.data.id) == ("job.completed", asked["id"])
    assert event.data.result is not None and event.data.result.answer == "The FACT is blue."


@pytest.mark.parametrize(
    "url", ["http://example.com/hook", "https://user:word@example.com/", "https://", "ftp://example.com/", "x"]
)
async def test_urls_that_cannot_be_sent_to_are_refused(start, options, url):
    async with start(**options | {"webhook_allow_http": False}) as service:
        reply = await service.client.post("/answer", json=BODY | {"webhook": {"url": url}})
        assert (reply.status_code, reply.json()["code"]) == (422, "webhook_invalid")
        assert "example.com" not in reply.text


async def test_a_dispatcher_that_ended_is_not_ready(start, options):
    async with start(**options) as service:
        assert (await service.client.get("/readyz")).json()["checks"]["webhooks"] == "ok"
        [task] = [task for task in service.app.state.resources.tasks if task.get_name() == "webhooks"]
        await end(task)
        reply = await service.client.get("/readyz")
        assert reply.status_code == 503 and reply.json()["checks"]["webhooks"] == "ended"


async def test_a_service_that_stops_lets_a_delivery_end(start, receiver, options, until):
    async with start(**options) as service:
        await service.ask("The FACT is blue.", webhook={"url": receiver.url("/slow")})

        async def reached() -> bool:
            return len(receiver.seen) == 1

        await until(reached)
        resources = service.app.state.resources
        asyncio.get_running_loop().call_later(1.0, receiver.held.set)
    assert resources.metrics.registry.get_sample_value("longfold_webhooks_total", {"outcome": "sent"}) == 1.0


async def test_without_a_secret_nothing_is_promised(start):
    async with start() as service:
        reply = await service.client.post("/answer", json=BODY | {"webhook": {"url": "https://example.com/hook"}})
        assert (reply.status_code, reply.json()["code"]) == (422, "webhook_disabled")
