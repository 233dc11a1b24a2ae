"""Real vLLM, greedy: a job whose worker was killed twice ends like one that nothing disturbed, byte for byte."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.e2e.conftest import Documents, RunningStack, planted

from longfold_client import Client, Retry
from longfold_client.types import Job, JobStatus, Mode, StepView

QUESTION = "What is the access code of Norwick Library?"
CHARACTERS = 360_000
"""Some 450 chunks: long enough to be killed twice."""
KILL_AT = (20, 150)
"""Chunks read when the worker is killed."""
PATIENT = Retry(attempts=120, reconnects=120, longest=1.0)


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()


def read(client: Client, job: Job) -> list[tuple[object, ...]]:
    def fields(step: StepView) -> tuple[object, ...]:
        return step.id, step.update, step.start, step.end, step.tokens, step.memory, step.plan, step.reason

    return [fields(step) for step in client.steps(job)]


@pytest.mark.slow
def test_a_worker_killed_twice_changes_no_byte(stack: RunningStack, documents: Documents) -> None:
    facts = {
        0.02: "The access code of Norwick Library is 7306.",
        0.2: "The access code of Norwick Castle is 5519.",
        0.5: "The access code of Norwick Library was changed from 7306 to 2284.",
    }
    document = documents.put(planted(31, CHARACTERS, facts))
    with Client(stack.url, retry=PATIENT) as client:
        undisturbed = client.wait(client.submit(QUESTION, [document], mode=Mode.FOLD), timeout=900)
        job = client.submit(QUESTION, [document], mode=Mode.FOLD)
        killed_at = []
        for chunks in KILL_AT:
            assert eventually(lambda chunks=chunks: client.get(job).progress.chunks_read >= chunks, 300)
            server = stack.component("server")
            os.kill(server["pid"], signal.SIGKILL)
            assert eventually(lambda before=server: stack.component("server")["restarts"] > before["restarts"], 90)
            killed_at.append(client.get(job).progress.chunks_read)
        disturbed = client.wait(job, timeout=900)
        steps, steps_undisturbed = read(client, job), read(client, undisturbed)
    assert undisturbed.status is disturbed.status is JobStatus.COMPLETED
    assert undisturbed.result is not None and disturbed.result is not None
    assert all(chunks < len(steps) for chunks in killed_at), "the job was over before its worker was killed"
    assert steps == steps_undisturbed
    assert disturbed.result.answer == undisturbed.result.answer
    assert disturbed.result.memory == undisturbed.result.memory != ""
    assert disturbed.result.citations == undisturbed.result.citations
