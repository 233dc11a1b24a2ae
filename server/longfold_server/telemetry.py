"""OpenTelemetry spans, with the GenAI semantic names for engine calls. The only module that knows OpenTelemetry; with
tracing off every span is a no-op and nothing is imported.

Content is never captured: no question, text, memory, prompt, reply or exception message; ids, counts, kinds and times
only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from longfold_agent.protocols import Request
from longfold_agent.types import Completion, Usage
from longfold_server import __version__
from longfold_server.errors import ConfigError

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "CONSUMER"]
Attribute = str | bool | int | float | Sequence[str]

PROVIDER = "vllm"
"""`gen_ai.provider.name`; the conventions list none for it."""
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(text: str) -> str:
    """A W3C `traceparent` as it is, "" for anything else: it comes from a caller and is stored."""
    return text if _TRACEPARENT.fullmatch(text) else ""


class Span:
    """A span under way, or nothing."""

    def __init__(self, span: Any = None, traceparent: str = "") -> None:
        self._span = span
        self.traceparent = traceparent
        """What a span of another process hangs on."""

    def set(self, attributes: Mapping[str, Attribute]) -> None:
        """Adds what is known only now."""
        if self._span is not None:
            self._span.set_attributes(attributes)


class Spans:
    """The spans of one application, made by `provider`, an OpenTelemetry TracerProvider; none without."""

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer("longfold", __version__)

    def close(self) -> None:
        """Sends what is left. Blocks for as long as the exporter waits."""
        if self._provider is not None:
            self._provider.shutdown()

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, Attribute] | None = None, *, kind: Kind = "INTERNAL", parent: str = ""
    ) -> Iterator[Span]:
        """A span around a block, below the one that is under way, or below `parent`, a traceparent of elsewhere.

        An exception that leaves the block is told by its type.
        """
        if self._tracer is None:
            yield Span(traceparent=traceparent(parent))
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carried = TraceContextTextMapPropagator()
        with self._tracer.start_as_current_span(
            name,
            context=carried.extract({"traceparent": parent}) if parent else None,
            kind=SpanKind[kind],
            attributes=attributes,
            record_exception=False,  # its message may quote a document
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            carried.inject(carrier)
            try:
                yield Span(span, carrier.get("traceparent", ""))
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                if isinstance(error, Exception):  # a cancelled task is no error of its own
                    span.set_status(Status(StatusCode.ERROR))
                raise

    @contextmanager
    def call(self, model: str, requests: Sequence[Request]) -> Iterator[Span]:
        """The span of an engine call with all its retries (GenAI conventions, inference span)."""
        first = requests[0]
        operation = "text_completion" if first.prompt.text is not None else "chat"
        attributes: dict[str, Attribute] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.max_tokens": first.sampling.max_tokens,
            "gen_ai.request.temperature": first.sampling.temperature,
        }
        if model:
            attributes["gen_ai.request.model"] = model
        with self.span(f"{operation} {model}".rstrip(), attributes, kind="CLIENT") as span:
            yield span


def completed(completions: Sequence[Completion]) -> dict[str, Attribute]:
    """Attributes of the replies of a call."""
    usage = sum((completion.usage for completion in completions), Usage())
    return {
        "gen_ai.response.finish_reasons": [completion.finish_reason for completion in completions],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
    }


def make_spans(tracing: bool) -> Spans:
    """Spans that go by OTLP over HTTP to where the `OTEL_*` variables say; none without `tracing`.

    Raises `ConfigError` when OpenTelemetry is not installed.
    """
    if not tracing:
        return Spans()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError("LONGFOLD_TRACING needs OpenTelemetry: pip install 'longfold-server[otel]'") from error
    told = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        told["service.name"] = "longfold"
    provider = TracerProvider(resource=Resource.create(told), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)
