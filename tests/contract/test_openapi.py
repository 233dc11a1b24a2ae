"""The OpenAPI document keeps its word: requests made from it, right and wrong, never meet a 5xx, an undocumented status
or a reply of another shape."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from replicas import replicas
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
REFUSALS = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429]
# The service of this test has no keys: leaving one out is no mistake here.
CONFIG = schemathesis.Config.from_dict(
    {
        "generation": {"with-security-parameters": False},
        "checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}},
    }
)
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
ASKED = {"question": "What?", "documents": [{"text": "Some text."}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One API over a real Redis; nobody works on its jobs, so they stay as they are."""
    async with replicas(tmp_path_factory.mktemp("openapi"), apis=1, workers=0) as running:
        yield running.urls[0]


def explore(url: str, subtests: pytest.Subtests, examples: int, *, fixed: bool) -> int:
    """Sends `examples` requests of each kind to every operation; how many kinds there were."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        job = client.post("/answer", json=ASKED).json()["id"]
        # An ended one, or its event stream would stay open.
        assert client.delete(f"/answer/{job}").json()["status"] == "cancelled"
    kinds = 0
    with requests.Session() as session:
        session.trust_env = False
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=CONFIG)
        for operation in (found.ok() for found in schema.get_all_operations()):
            known = [None, {"job": job}] if "{job}" in operation.path else [None]
            for mode, path in itertools.product(GenerationMode, known):
                with subtests.test(operation.label, mode=mode.value, job="known" if path else "any"):
                    kinds += _send(operation.as_strategy(mode, path_parameters=path), mode, session, examples, fixed)
    return kinds


def _send(strategy: Any, mode: GenerationMode, session: requests.Session, examples: int, fixed: bool) -> bool:
    """Whether there was anything to send: what takes no input cannot be asked wrongly."""

    @given(strategy)
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=fixed,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Case) -> None:
        case.call_and_validate(session=session, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        if mode is GenerationMode.POSITIVE:
            raise
        return False
    return True


def test_a_few_requests_of_every_kind(url: str, subtests: pytest.Subtests) -> None:
    assert explore(url, subtests, 8, fixed=True) >= 12


@pytest.mark.slow
def test_many_requests_of_every_kind(url: str, subtests: pytest.Subtests) -> None:
    assert explore(url, subtests, 300, fixed=False) >= 12
