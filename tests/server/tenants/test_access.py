"""Who is let in, how often, and what the replies tell about it."""

from __future__ import annotations

import asyncio
import json
import logging
import re

import pytest
from pydantic import SecretStr

from longfold_agent.engines.scripted import ScriptedEngine, prompt_text
from longfold_client.types import Problem
from longfold_server.auth import REMEMBERED_SECONDS, Access
from longfold_server.logs import JSONFormatter
from longfold_server.problems import RequestProblem
from longfold_server.tenants.limits import Rate, TenantLimits
from longfold_server.tenants.usage import Usage

GOOD = {"question": "What?", "documents": [{"text": "some text"}]}
QUESTION = "What is the last fact?"


def told(reply, code):
    found = Problem.model_validate_json(reply.content)
    assert (reply.status_code, found.code) == (found.status, code), reply.text
    return found


@pytest.fixture
async def api(start):
    async with start(roles=["api"], require_keys=True) as service:
        yield service


async def test_only_the_whole_key_opens(api, make):
    headers, key = await make()
    text = headers["Authorization"].removeprefix("Bearer ")
    assert (await api.client.post("/answer", json=GOOD, headers=headers)).status_code == 202
    wrong = [text[:-1], text + "x", text.replace(key.id, "0" * 12), text.upper(), key.id, key.digest, ""]
    wrong.append(text[:-1] + ("a" if text[-1] != "a" else "b"))
    for value in wrong:
        for form in (f"Bearer {value}", f"Basic {value}", value):
            reply = await api.client.post("/answer", json=GOOD, headers={"Authorization": form.strip()})
            told(reply, "unauthorized")
            assert reply.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_told_so_and_only_to_its_holder(api, make, keys):
    headers, key = await make()
    await keys.revoke(key.id)
    found = told(await api.client.get("/answer/x", headers=headers), "key_revoked")
    assert found.status == 403 and key.id in found.detail
    guess = headers["Authorization"][:-1] + ("a" if headers["Authorization"][-1] != "a" else "b")
    told(await api.client.get("/answer/x", headers={"Authorization": guess}), "unauthorized")


async def test_a_replica_notices_a_revocation_within_its_memory(redis, keys):
    now = 100.0
    access = Access([], keys, Usage(redis), TenantLimits(), required=True, clock=lambda: now)
    text, key = await keys.create("one")
    assert (await access.caller(text)).key_id == key.id
    await keys.revoke(key.id)
    now += REMEMBERED_SECONDS - 0.1
    assert (await access.caller(text)).tenant == key.tenant
    now += 0.2
    with pytest.raises(RequestProblem) as caught:
        await access.caller(text)
    assert caught.value.problem.code == "key_revoked"


async def test_static_keys_are_tenants_of_their_own(redis, keys):
    defaults = TenantLimits(jobs=3)
    static = [SecretStr("one-key-of-enough-length"), SecretStr("two-key-of-enough-length")]
    access = Access(static, keys, Usage(redis), defaults, required=False)
    one, two = [await access.caller(key.get_secret_value()) for key in static]
    assert one.tenant != two.tenant and one.limits is defaults
    stored, key = await keys.create("three", limits=TenantLimits(jobs=9))
    assert (await access.caller(stored)).limits.jobs == 9 and key.tenant not in (one.tenant, two.tenant)
    with pytest.raises(RequestProblem):
        await access.caller(None)


async def test_the_rate_is_kept_and_told(api, make):
    headers, _ = await make(rate=Rate(3, 60))
    other, _ = await make()
    job = (await api.client.post("/answer", json=GOOD, headers=headers)).json()["id"]
    second = await api.client.get(f"/answer/{job}", headers=headers)
    third = await api.client.get("/answer/unknown", headers=headers)
    assert (second.status_code, third.status_code) == (200, 404)
    assert second.headers["ratelimit-policy"] == '"requests";q=3;w=60'
    for reply, left in ((second, 1), (third, 0)):
        r, t = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', reply.headers["ratelimit"]).groups()
        assert int(r) == left and 1 <= int(t) <= 60
    refused = await api.client.get(f"/answer/{job}", headers=headers)
    found = told(refused, "rate_limited")
    assert refused.status_code == 429 and found.retry_after == int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"requests";r=0;')
    assert (await api.client.delete(f"/answer/{job}", headers=headers)).json()["status"] == "cancelled"
    free = await api.client.get("/answer/unknown", headers=other)
    assert free.status_code == 404 and "ratelimit" not in free.headers


async def test_a_service_may_limit_keys_that_say_nothing(start, make):
    async with start(roles=["api"], require_keys=True, tenant_rate="1/hour", tenant_max_documents=1) as service:
        plain, _ = await make()
        larger, _ = await make(rate=Rate(2, 60))
        body = {"question": "What?", "documents": [{"text": "a"}, {"text": "b"}]}
        told(await service.client.post("/answer", json=body, headers=plain), "request_too_large")
        told(await service.client.get("/answer/x", headers=plain), "rate_limited")
        told(await service.client.get("/answer/x", headers=larger), "job_not_found")
        told(await service.client.get("/answer/x", headers=larger), "job_not_found")
        told(await service.client.get("/answer/x", headers=larger), "rate_limited")


async def test_two_replicas_count_together(start, make):
    async with start(roles=["api"], require_keys=True) as one, start(roles=["api"], require_keys=True) as two:
        headers, _ = await make(rate=Rate(10, 600))
        replies = await asyncio.gather(
            *(service.client.get("/answer/x", headers=headers) for service in (one, two) for _ in range(15))
        )
    assert sorted(reply.status_code for reply in replies) == [404] * 10 + [429] * 20


async def test_jobs_at_once(api, make):
    headers, _ = await make("team", jobs=2)
    same = {"Idempotency-Key": "first"}
    first = (await api.client.post("/answer", json=GOOD, headers=headers | same)).json()["id"]
    assert (await api.client.post("/answer", json=GOOD, headers=headers)).status_code == 202
    refused = await api.client.post("/answer", json=GOOD, headers=headers)
    told(refused, "too_many_jobs")
    assert int(refused.headers["retry-after"]) >= 1
    again = await api.client.post("/answer", json=GOOD, headers=headers | same)
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert (await api.client.post("/answer", json=GOOD, headers=(await make())[0])).status_code == 202
    await api.client.delete(f"/answer/{first}", headers=headers)
    assert (await api.client.post("/answer", json=GOOD, headers=headers)).status_code == 202


async def test_tokens_of_a_day(start, make, redis):
    async with start(require_keys=True) as service:
        headers, _ = await make("team", tokens_per_day=20_000)
        body = {"question": QUESTION, "documents": [{"text": "The FACT is here."}], "mode": "direct"}
        same = headers | {"Idempotency-Key": "first", "Prefer": "wait=30"}
        done = await service.client.post("/answer", json=body, headers=same)
        assert done.json()["status"] == "completed", done.text
        used = done.json()["result"]["usage"]
        spent = int(await redis.hget("lf:{tenant:team}:tokens", "spent"))
        assert spent == used["prompt_tokens"] + used["completion_tokens"] > 0
        await redis.hset("lf:{tenant:team}:tokens", "spent", 20_000)
        second, _ = await make("team", tokens_per_day=20_000)
        refused = await service.client.post("/answer", json=body, headers=second)
        found = told(refused, "tokens_spent")
        assert 0 < found.retry_after <= 86_400 and int(refused.headers["retry-after"]) == found.retry_after
        again = await service.client.post("/answer", json=body, headers=same)
        assert again.json()["id"] == done.json()["id"]
        assert (await service.client.post("/answer", json=body, headers=(await make())[0])).status_code == 202


async def test_no_job_may_use_more_than_the_day_has_left(start, make, text_with):
    async with start(require_keys=True) as service:
        headers, _ = await make("team", tokens_per_day=12_000)
        body = {"question": QUESTION, "documents": [{"text": text_with(60, {1: "FACT one."})}], "mode": "fold"}
        made = await service.client.post("/answer", json=body, headers=headers | {"Prefer": "wait=30"})
        result = made.json()["result"]
        assert (result["partial"], result["stop"]) == (True, "tokens") and 0 < result["read_fraction"] < 1
        assert result["usage"]["prompt_tokens"] + result["usage"]["completion_tokens"] <= 12_000


async def test_tokens_of_a_cancelled_job_count(start, make, redis, text_with, until):
    async def slow(request):
        await asyncio.sleep(0.05)
        return "KEEP"

    async with start(ScriptedEngine(slow), require_keys=True, lease_seconds=30.0) as service:
        headers, _ = await make("team")
        body = {"question": QUESTION, "documents": [{"text": text_with(400, {})}], "mode": "fold"}
        where = (await service.client.post("/answer", json=body, headers=headers)).headers["location"]

        async def reading():
            return (await service.client.get(where, headers=headers)).json()["progress"]["chunks_read"] >= 3

        await until(reading)
        await service.client.delete(where, headers=headers)

        async def counted():
            return int(await redis.hget("lf:{tenant:team}:tokens", "spent") or 0) > 0

        await until(counted)
        usage, spent = service.engine.usage, int(await redis.hget("lf:{tenant:team}:tokens", "spent"))
        assert spent == usage.prompt_tokens + usage.completion_tokens


async def test_tokens_of_an_answer_that_is_cancelled_while_it_is_written_count(start, make, redis, reader, until):
    class Endless(ScriptedEngine):
        async def stream(self, request):
            async for delta in super().stream(request):
                if delta.completion is not None:
                    await asyncio.sleep(3600)
                yield delta

    def wordy(request):
        return reader(request) if engine.calls == 1 else " ".join(f"word{n}" for n in range(200))

    engine = Endless(wordy, latency=0.5)
    async with start(engine, require_keys=True, lease_seconds=30.0) as service:
        headers, _ = await make("team")
        where = (await service.client.post("/answer", json=GOOD, headers=headers)).headers["location"]

        async def written():
            events = service.app.state.resources.store.events(where.rpartition("/")[2], 0, 200)
            return sum(len(event.data["text"].split()) for event in await events if event.kind == "delta") > 100

        await until(written)
        split = engine.usage.completion_tokens
        await service.client.delete(where, headers=headers)

        async def counted():
            return int(await redis.hget("lf:{tenant:team}:tokens", "spent") or 0) > 0

        await until(counted)
        prompts = sum(len(prompt_text(request.prompt).split()) for request in engine.requests)
        spent = int(await redis.hget("lf:{tenant:team}:tokens", "spent"))
    assert 100 < spent - prompts - split <= 200


async def test_sizes(api, make):
    headers, _ = await make(max_documents=2, upload_bytes=1_000)
    small = {"question": "What?", "documents": [{"text": "a"}, {"text": "b"}]}
    assert (await api.client.post("/answer", json=small, headers=headers)).status_code == 202
    many = small | {"documents": [{"text": "a"}] * 3}
    told(await api.client.post("/answer", json=many, headers=headers), "request_too_large")
    large = small | {"documents": [{"text": "x" * 1_001}]}
    told(await api.client.post("/answer", json=large, headers=headers), "request_too_large")
    told(await api.client.post("/documents", content=b"x" * 1_001, headers=headers), "request_too_large")
    assert (await api.client.post("/documents", content=b"x " * 500, headers=headers)).status_code == 201


async def test_a_higher_priority_is_begun_first(start, make):
    headers, _ = await make()
    async with start(roles=["api"], require_keys=True) as service:
        jobs = {}
        for priority in (0, 5, 9):
            made = await service.client.post("/answer", json=GOOD | {"priority": priority}, headers=headers)
            jobs[priority] = made.json()["id"]
        for wrong in (-1, 10, 1.5, "high"):
            reply = await service.client.post("/answer", json=GOOD | {"priority": wrong}, headers=headers)
            told(reply, "invalid_request")
        async with start(require_keys=True, worker_concurrency=1) as worker:
            begun = {}
            for priority, job in jobs.items():
                reply = await worker.client.get(f"/answer/{job}", headers=headers | {"Prefer": "wait=30"})
                begun[priority] = reply.json()["started_at"]
    assert begun[9] < begun[5] < begun[0]


async def test_keys_are_in_no_log_and_no_reply(api, make, caplog):
    caplog.set_level(logging.DEBUG)
    headers, key = await make(rate=Rate(6, 60))
    text = headers["Authorization"].removeprefix("Bearer ")
    replies = [await api.client.post("/answer", json=GOOD, headers=headers)]
    replies.append(await api.client.post("/answer", json={text: text, "question": text}, headers=headers))
    replies.append(await api.client.get("/answer/x/steps?limit=" + text, headers=headers))
    replies.append(await api.client.get("/answer/x", headers={"Authorization": f"Bearer {text}x"}))
    replies.append(await api.client.post("/answer", json=GOOD, headers=headers | {"Idempotency-Key": text * 9}))
    replies += [await api.client.get("/answer/x", headers=headers) for _ in range(3)]
    assert {reply.status_code for reply in replies} == {202, 401, 404, 422, 429}
    secret = text.removeprefix(f"lf_{key.id}_")
    said = "\n".join(JSONFormatter().format(one) for one in caplog.records if one.name.startswith("longfold"))
    assert secret not in said and key.digest not in said and f'"key": "{key.id}"' in said
    bodies = "\n".join(reply.text + str(reply.headers) for reply in replies)
    assert key.digest not in bodies
    # The name of an unknown field is the caller's own word; its value is not repeated.
    assert secret not in re.sub(r'"loc":\["body","[^"]*"\]', "", bodies)


async def test_the_openapi_document_tells_of_keys_and_limits(api):
    schema = (await api.client.get("/openapi.json")).json()
    [scheme] = schema["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            guarded = path.startswith(("/answer", "/documents", "/uploads")) and method != "options"
            assert bool(operation.get("security")) is guarded
            assert ({"401", "403", "429"} <= set(operation["responses"])) is guarded, path
    assert "priority" in json.dumps(schema["components"]["schemas"]["AnswerRequest"])
