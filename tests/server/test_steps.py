"""Steps and events as they are told: exact from any place, though a step's memory is stored only when it changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_client import AsyncClient
from longfold_server.jobs.unfolding import memory_diff

FACTS = {1: "FACT one is red.", 2: "FACT two is blue.", 7: "FACT three is green."}


@pytest.fixture
async def finished(start, text_with):
    """A service with one completed fold."""
    async with start() as service:
        job = (await service.ask(text_with(10, FACTS), mode="fold"))["id"]
        assert (await service.finished(job))["status"] == "completed"
        yield service, job


async def page(service, job, **params):
    reply = await service.client.get(f"/answer/{job}/steps", params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_memory_grows_with_its_diffs(finished):
    service, job = finished
    steps = (await page(service, job, limit=200))["steps"]
    memory = ""
    for step in steps:
        lines = [line for line in memory.splitlines() if line not in step["diff"]["removed"]] + step["diff"]["added"]
        memory = "\n".join(lines)
        assert step["memory"] == memory
        assert step["update"] == ("rewrite" if step["diff"]["added"] else "keep")
    assert memory == "FACT one is red.\nFACT two is blue.\nFACT three is green."
    assert {step["plan"] for step in steps} == {"", "the next FACT"}


async def test_every_page_equals_its_part_of_the_whole(finished):
    service, job = finished
    whole = (await page(service, job, limit=200))["steps"]
    for limit in (1, 2, 5):
        found, after = [], 0
        while after is not None:
            one = await page(service, job, after=after, limit=limit)
            found += one["steps"]
            assert len(one["steps"]) <= limit
            after = one["next"]
        assert found == whole
    for at, step in enumerate(whole):
        assert (await page(service, job, after=step["seq"]))["steps"] == whole[at + 1 :]


async def test_streamed_steps_equal_the_paged_ones_from_any_number(finished):
    service, job = finished
    whole = {step["seq"]: step for step in (await page(service, job, limit=200))["steps"]}
    for after in (0, 5, 8, 11):
        for kind, fields in await service.events(job, after):
            if kind == "step":
                data = json.loads(fields["data"])["data"]
                progress = data.pop("progress")
                assert data == whole[int(fields["id"])]
                assert progress["plan"] == data["plan"]


async def test_the_final_event_holds_the_job(finished):
    service, job = finished
    kind, fields = (await service.events(job))[-1]
    assert kind == "completed"
    assert json.loads(fields["data"])["data"] == (await service.client.get(f"/answer/{job}")).json()


async def test_an_event_that_only_a_newer_replica_knows_leaves_no_gap(finished, monkeypatch):
    service, job = finished
    store = service.app.state.resources.store
    known = [fields["id"] for _, fields in await service.events(job)]
    read = store.events

    async def newer(*args, **options):
        raws = await read(*args, **options)
        return [replace(raw, kind="paused", data={"new": 1}) if raw.seq == 5 else raw for raw in raws]

    monkeypatch.setattr(store, "events", newer)
    told = await service.events(job)
    assert [fields["id"] for _, fields in told] == known and told[-1][0] == "completed"
    async with AsyncClient(str(service.client.base_url)) as client:
        assert [event.seq async for event in client.events(job)] == [int(seq) for seq in known if seq != "5"]
    one = json.loads(told[4][1]["data"])
    assert (told[4][0], one["seq"], one["type"], one["data"]) == ("paused", 5, "paused", {})


async def test_a_kept_memory_is_not_stored_again(finished):
    service, job = finished
    held = service.app.state.resources
    stored = [event for event in await held.store.events(job, 0, 1000) if event.kind == "step"]
    assert sum("memory" in event.data for event in stored) == len(FACTS)
    assert all("memory" in event.data for event in stored if event.data["update"] == "rewrite")


async def test_thousands_of_steps_are_all_kept(start, text_with):
    async with start(lease_seconds=30) as service:
        job = (await service.ask(text_with(600, {300: "FACT one is red."}), mode="fold"))["id"]
        assert (await service.finished(job, seconds=120))["result"]["answer"] == "FACT one is red."
        found, after = [], 0
        while after is not None:
            one = await page(service, job, after=after, limit=200)
            found += one["steps"]
            after = one["next"]
    assert [step["chunk"] for step in found] == list(range(len(found))) and len(found) >= 600
    assert [bool(step["memory"]) for step in found] == sorted(bool(step["memory"]) for step in found)


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_a_diff_accounts_for_every_line(before, after):
    diff = memory_diff("\n".join(before), "\n".join(after))
    left = [*before]
    for line in diff.removed:
        left.remove(line)
    assert sorted([*left, *diff.added]) == sorted(after)
    assert not set(diff.added) & set(diff.removed)
