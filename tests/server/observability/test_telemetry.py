"""Spans: which there are, how they hang together over replicas, and what they never hold."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import longfold_server
from longfold_agent.engines.scripted import ScriptedEngine
from longfold_agent.errors import EngineRejected
from longfold_server.errors import ConfigError
from longfold_server.telemetry import Spans, make_spans, traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = int(PARENT.split("-")[1], 16)


class Recorded:
    """Spans that were made, of any number of applications."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()

    def new(self) -> Spans:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        return Spans(provider)

    def named(self, name: str):
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    @property
    def all(self):
        return self._exporter.get_finished_spans()


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


async def test_a_jobs_spans_hang_on_the_callers_trace(start, text_with, recorded):
    async with start(spans=recorded.new(), engine_model="folder") as service:
        body = {"question": "q", "documents": [{"text": text_with(4, {1: "FACT one is red."})}], "mode": "fold"}
        reply = await service.client.post("/answer", json=body, headers={"traceparent": PARENT})
        done = await service.finished(reply.json()["id"])
    [asked], [job] = recorded.named("POST /answer"), recorded.named("longfold.job")
    assert {span.context.trace_id for span in recorded.all} == {TRACE}
    assert f"{asked.parent.span_id:016x}" == "b7ad6b7169203331" and asked.kind is SpanKind.SERVER
    assert job.parent.span_id == asked.context.span_id and job.kind is SpanKind.CONSUMER
    assert dict(job.attributes) == {"longfold.job.id": done["id"], "longfold.job.takeover": False}
    [ingest] = recorded.named("longfold.ingest")
    assert ingest.parent.span_id == job.context.span_id and ingest.attributes["longfold.documents"] == 1
    steps = recorded.named("longfold.step")
    assert [step.attributes["longfold.step.update"] for step in steps].count("rewrite") == 1
    assert all(step.parent.span_id == job.context.span_id for step in steps)
    calls = recorded.named("chat folder")
    assert len(calls) == done["result"]["usage"]["calls"]
    assert {call.parent.span_id for call in calls} == {job.context.span_id} | {step.context.span_id for step in steps}
    inputs = sum(call.attributes["gen_ai.usage.input_tokens"] for call in calls)
    assert inputs == done["result"]["usage"]["prompt_tokens"]


async def test_engine_calls_carry_the_genai_names(start, recorded):
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    async with start(spans=recorded.new(), engine_model="folder") as service:
        await service.finished((await service.ask("The sky has FACT of blue."))["id"])
    call = recorded.named("chat folder")[-1]
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    assert set(call.attributes) <= known and call.kind is SpanKind.CLIENT
    assert call.attributes["gen_ai.operation.name"] == "chat"
    assert call.attributes["gen_ai.request.model"] == "folder" and call.attributes["gen_ai.request.max_tokens"] > 0
    assert call.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert call.attributes["gen_ai.usage.output_tokens"] > 0


async def test_a_takeover_goes_on_in_the_same_trace(start, text_with, recorded):
    text = text_with(4, {1: "FACT one is red."})
    stuck = asyncio.Event()

    class Stuck(ScriptedEngine):
        async def complete(self, requests):
            stuck.set()
            await asyncio.sleep(60)
            raise AssertionError("it was dropped")

    async with start(spans=recorded.new(), roles=["api"]) as api:
        async with start(Stuck(), spans=recorded.new(), roles=["worker"]):
            job = (await api.ask(text, mode="fold"))["id"]
            await asyncio.wait_for(stuck.wait(), 20)
        async with start(spans=recorded.new(), roles=["worker"]):
            assert (await api.finished(job))["status"] == "completed"
    [asked], jobs = recorded.named("POST /answer"), recorded.named("longfold.job")
    assert len(jobs) == 2 and {span.parent.span_id for span in jobs} == {asked.context.span_id}
    assert {span.context.trace_id for span in recorded.all} == {asked.context.trace_id}


async def test_an_error_is_told_by_its_type_and_nothing_is_captured(start, text_with, recorded):
    def refuses(request):
        raise EngineRejected("refused: the marker-text was too much")

    text = text_with(3, {1: "FACT marker-text is it."})
    async with start(ScriptedEngine(refuses), spans=recorded.new()) as service:
        assert (await service.finished((await service.ask(text, mode="fold"))["id"]))["status"] == "failed"
    async with start(spans=recorded.new()) as service:
        await service.finished((await service.ask(text, mode="fold"))["id"])
    failed = recorded.named("longfold.job")[0]
    assert failed.attributes["error.type"] == "EngineRejected" and failed.status.status_code is StatusCode.ERROR
    told = "\n".join(span.to_json() for span in recorded.all)
    assert "marker-text" not in told and "What is the last fact" not in told
    assert not any(span.events for span in recorded.all)


async def test_without_tracing_the_callers_trace_is_kept_for_workers_that_trace(start, recorded):
    async with start(roles=["api"]) as api, start(spans=recorded.new(), roles=["worker"]):
        body = {"question": "q", "documents": [{"text": "The sky has FACT of blue."}]}
        reply = await api.client.post("/answer", json=body, headers={"traceparent": PARENT})
        await api.finished(reply.json()["id"])
    [job] = recorded.named("longfold.job")
    assert job.context.trace_id == TRACE


@pytest.mark.parametrize(
    ("text", "kept"),
    [(PARENT, PARENT), ("", ""), (PARENT + "x", ""), ("00-" + "0" * 32 + PARENT[35:], ""), ("x" * 10_000, "")],
)
def test_only_a_traceparent_is_kept(text: str, kept: str) -> None:
    assert traceparent(text) == kept
    with Spans().span("s", parent=text) as span:
        assert span.traceparent == kept


def test_the_service_does_without_opentelemetry() -> None:
    root = Path(longfold_server.__file__).parent
    naming = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"^\s*(from|import) opentelemetry", path.read_text(), re.MULTILINE)
    ]
    assert naming == ["telemetry.py"]
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from longfold_server.app import create_app; from longfold_server.settings import Settings\n"
        "create_app(Settings()); print('made')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "made"


def test_without_the_extra_tracing_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"pip install 'longfold-server\[otel\]'"):
        make_spans(True)


def test_spans_go_by_otlp_to_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        collecting = threading.Thread(target=server.handle_request)
        collecting.start()
        spans = make_spans(True)
        with spans.span("a span"):
            pass
        spans.close()
        collecting.join()
    [(path, body)] = seen
    assert path == "/v1/traces" and b"a span" in body and b"service.name" in body and b"longfold" in body
