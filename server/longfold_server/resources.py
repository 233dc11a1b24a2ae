"""What an application holds while it runs. Made in the lifespan, passed down; knows no route."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from longfold_agent import load_profile
from longfold_agent.errors import AgentError
from longfold_agent.protocols import Engine, Profile, Tokens
from longfold_server.answering.parts import Parts
from longfold_server.auth import Keys
from longfold_server.drain import Drain
from longfold_server.errors import ConfigError
from longfold_server.ingest import DocumentStore, FetchLimits
from longfold_server.jobs.bell import Bell
from longfold_server.jobs.store import JobStore
from longfold_server.metrics import Metrics
from longfold_server.settings import Settings
from longfold_server.worker import Worker

CHUNK_THREADS = 4
"""Threads that cut chunks: tokenizers release the interpreter lock, and an engine is slower than any of them."""


@dataclass(slots=True)
class Resources:
    """One running application."""

    settings: Settings
    metrics: Metrics
    drain: Drain
    keys: Keys
    redis: Any
    store: JobStore
    bell: Bell
    documents: DocumentStore
    engine: Engine | None = None
    worker: Worker | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


def of(request: Request) -> Resources:
    """The application's resources."""
    found = request.app.state.resources
    assert isinstance(found, Resources)
    return found


def make_documents(settings: Settings) -> DocumentStore:
    """The document store of the data folder."""
    limits = FetchLimits(
        allow_networks=tuple(settings.fetch_allow_networks),
        ports=tuple(settings.fetch_ports),
        max_bytes=settings.fetch_max_bytes,
        connect_seconds=settings.fetch_connect_seconds,
        read_seconds=settings.fetch_read_seconds,
        total_seconds=settings.fetch_timeout_seconds,
    )
    return DocumentStore(settings.data_dir, limits=limits, upload_max_bytes=settings.upload_max_bytes)


def make_store(settings: Settings, redis: Any) -> JobStore:
    """The job store."""
    return JobStore(
        redis,
        prefix=settings.redis_prefix,
        lease_seconds=settings.lease_seconds,
        retention_seconds=settings.job_retention_seconds,
        max_failures=settings.max_failures,
        max_stalled_takeovers=settings.max_stalled_takeovers,
    )


def make_tokens(settings: Settings) -> Tokens:
    """The served model's tokenizer. Raises `ConfigError`."""
    if settings.tokenizer is None:
        raise ConfigError("a worker needs LONGFOLD_TOKENIZER, the path of the served model's tokenizer.json")
    from longfold_agent.tokens import load_tokens

    try:
        return load_tokens(settings.tokenizer)
    except AgentError as error:
        raise ConfigError(f"LONGFOLD_TOKENIZER cannot be used: {error}") from error


def make_profile(settings: Settings, tokens: Tokens) -> Profile:
    """The prompt profile. Raises `ConfigError`."""
    specials = tuple(getattr(tokens, "specials", ()))
    try:
        return load_profile(
            settings.profile,
            settings.profile_templates,
            chunk_tokens=settings.chunk_tokens,
            memory_tokens=settings.memory_tokens,
            specials=specials,
        )
    except (AgentError, ValueError) as error:
        raise ConfigError(f"the prompt profile cannot be used: {error}") from error


def make_engine(settings: Settings) -> Engine:
    """The engine behind `engine_urls`."""
    from longfold_agent.engines.vllm import VLLMEngine

    key = settings.engine_api_key
    return VLLMEngine(
        base_urls=settings.engine_urls,
        model=settings.engine_model,
        api_key="" if key is None else key.get_secret_value(),
        affinity_header=settings.engine_affinity_header or "",
        timeout=settings.engine_timeout_seconds,
    )


def make_worker(
    resources: Resources, engine: Engine, profile: Profile, tokens: Tokens, threads: ThreadPoolExecutor
) -> Worker:
    """The worker of this process."""
    settings = resources.settings
    parts = Parts(
        engine=engine,
        model=settings.engine_model,
        profile=profile,
        tokens=tokens,
        documents=resources.documents,
        store=resources.store,
        metrics=resources.metrics,
        threads=threads,
        engine_patience_seconds=settings.engine_patience_seconds,
    )
    return Worker(
        parts,
        resources.bell,
        resources.drain,
        concurrency=settings.worker_concurrency,
        drain_seconds=settings.drain_seconds,
    )
