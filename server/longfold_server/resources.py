"""What an application holds while it runs. Made in the lifespan, passed down; knows no route."""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from longfold_agent import load_profile
from longfold_agent.errors import AgentError
from longfold_agent.protocols import Engine, Profile, Tokens
from longfold_server.answering.parts import Parts
from longfold_server.auth import Access
from longfold_server.drain import Drain
from longfold_server.errors import ConfigError
from longfold_server.expiry import Expiry
from longfold_server.ingest import DocumentStore, FetchLimits
from longfold_server.ingest.addresses import AddressPolicy
from longfold_server.ingest.blobs import Blobs
from longfold_server.ingest.cache import Cache
from longfold_server.ingest.fetched import USER_AGENT
from longfold_server.ingest.guard import Guard, GuardedTransport
from longfold_server.jobs.bell import Bell
from longfold_server.jobs.protocols import Store
from longfold_server.jobs.store import JobStore
from longfold_server.metrics import Metrics
from longfold_server.previews import Previews
from longfold_server.settings import Settings
from longfold_server.telemetry import Spans
from longfold_server.tenants.keys import KeyStore
from longfold_server.tenants.limits import Rate, TenantLimits
from longfold_server.tenants.owners import Owners
from longfold_server.tenants.salt import Salts
from longfold_server.tenants.tenancy import Tenancy
from longfold_server.tenants.usage import Usage
from longfold_server.turns import Turns
from longfold_server.uploads import FolderParts, UploadParts, Uploads
from longfold_server.webhooks.dispatcher import PAUSES, Dispatcher
from longfold_server.webhooks.sender import Sender
from longfold_server.webhooks.signing import Signer
from longfold_server.worker import Worker

CHUNK_THREADS = 4
"""Threads that cut chunks: tokenizers release the interpreter lock, and an engine is slower than any of them."""


FETCHES = 8


@dataclass(slots=True)
class Resources:
    """One running application."""

    settings: Settings
    metrics: Metrics
    drain: Drain
    access: Access
    tenancy: Tenancy
    redis: Any
    store: Store
    bell: Bell
    documents: DocumentStore
    uploads: Uploads
    previews: Previews
    engine: Engine | None = None
    worker: Worker | None = None
    dispatcher: Dispatcher | None = None
    spans: Spans = field(default_factory=Spans)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    fetching: Turns = field(default_factory=lambda: Turns(FETCHES))
    """Turns of `POST /documents/fetch`, whose requests stay open while they fetch."""


def of(request: Request) -> Resources:
    """The application's resources."""
    found = request.app.state.resources
    assert isinstance(found, Resources)
    return found


def make_documents(settings: Settings) -> DocumentStore:
    """The document store of the data folder, or of the bucket. Raises `ConfigError`."""
    contact = settings.fetch_contact
    limits = FetchLimits(
        allow_networks=tuple(settings.fetch_allow_networks),
        ports=tuple(settings.fetch_ports),
        max_bytes=settings.fetch_max_bytes,
        connect_seconds=settings.fetch_connect_seconds,
        read_seconds=settings.fetch_read_seconds,
        total_seconds=settings.fetch_timeout_seconds,
        per_host=settings.fetch_per_host,
        user_agent=USER_AGENT if contact is None else f"{USER_AGENT.removesuffix(')')}; +{contact})",
        file_root=settings.fetch_file_root,
        buckets={
            name: {key: value.get_secret_value() for key, value in options.items()}
            for name, options in settings.fetch_buckets.items()
        },
    )
    try:
        blobs = None if settings.blob_url is None else _bucket(settings, settings.blob_url)
        return DocumentStore(settings.data_dir, limits=limits, upload_max_bytes=settings.upload_max_bytes, blobs=blobs)
    except OSError as error:
        raise _no_folder(settings, error) from error


def _no_folder(settings: Settings, error: OSError) -> ConfigError:
    return ConfigError(f"LONGFOLD_DATA_DIR {settings.data_dir} cannot be used: {error.strerror}")


def _bucket(settings: Settings, url: str) -> Blobs:
    try:
        from longfold_server.ingest.bucket import Bucket, open_store
    except ImportError as error:
        raise ConfigError("LONGFOLD_BLOB_URL needs obstore: pip install 'longfold-server[s3]'") from error
    return Bucket(open_store(url), Cache(settings.data_dir, settings.blob_cache_bytes))


def make_uploads(settings: Settings) -> Uploads:
    """The uploads that are not documents yet: where the documents are, so that every replica sees them. Raises
    `ConfigError`."""
    try:
        parts: UploadParts = FolderParts(settings.data_dir / "uploads")
    except OSError as error:
        raise _no_folder(settings, error) from error
    if settings.blob_url is not None:
        from longfold_server.ingest.bucket import open_store
        from longfold_server.uploads.bucket import BucketParts

        parts = BucketParts(open_store(settings.blob_url), parts)
    return Uploads(parts, settings.upload_retention_seconds)


def make_expiry(resources: Resources) -> Expiry:
    """What removes what nobody uses."""
    return Expiry(
        resources.documents,
        resources.uploads,
        resources.tenancy.owners,
        resources.redis,
        resources.settings.redis_prefix,
        resources.metrics,
    )


def make_store(settings: Settings, redis: Any) -> JobStore:
    """The job store."""
    return JobStore(
        redis,
        prefix=settings.redis_prefix,
        lease_seconds=settings.lease_seconds,
        retention_seconds=settings.job_retention_seconds,
        max_failures=settings.max_failures,
        max_stalled_takeovers=settings.max_stalled_takeovers,
        tenant_running=settings.tenant_running,
    )


def make_access(settings: Settings, redis: Any, tenancy: Tenancy) -> Access:
    """Who may use the API, and how much."""
    defaults = TenantLimits(
        rate=None if settings.tenant_rate is None else Rate.parse(settings.tenant_rate),
        jobs=settings.tenant_jobs,
        tokens_per_day=settings.tenant_tokens_per_day,
        max_documents=settings.tenant_max_documents,
    )
    keys = KeyStore(redis, settings.redis_prefix)
    return Access(settings.api_keys, keys, tenancy.usage, defaults, required=settings.require_keys)


def make_tenancy(settings: Settings, redis: Any) -> Tenancy:
    """What is kept per tenant."""
    secret = settings.cache_salt_secret
    return Tenancy(
        Usage(redis, settings.redis_prefix),
        Owners(redis, settings.redis_prefix, retention_seconds=settings.document_retention_seconds),
        Salts(secrets.token_bytes(32) if secret is None else secret.get_secret_value().encode()),
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
            policy=None if settings.tokenizer is None else settings.tokenizer.parent,
        )
    except (AgentError, ValueError) as error:
        raise ConfigError(f"the prompt profile cannot be used: {error}") from error


def make_engine(settings: Settings, metrics: Metrics) -> Engine:
    """The engine behind `engine_urls`. Waiting for it is a job's business (`calls.py`), so a call tries each endpoint
    once. Raises `ConfigError`."""
    from longfold_agent.engines.connection import where
    from longfold_agent.engines.endpoints import Circuit
    from longfold_agent.engines.vllm import VLLMEngine

    def on_circuit(url: str, state: Circuit) -> None:
        metrics.engine_down.labels(endpoint=where(url)).set(state is Circuit.OPEN)

    key = settings.engine_api_key
    try:
        return VLLMEngine(
            base_urls=settings.engine_urls,
            model=settings.engine_model,
            api_key="" if key is None else key.get_secret_value(),
            affinity_header=settings.engine_affinity_header or "",
            timeout=settings.engine_timeout_seconds,
            retry_seconds=0.0,
            on_circuit=on_circuit,
        )
    except ValueError as error:
        raise ConfigError(f"LONGFOLD_ENGINE_URLS or LONGFOLD_ENGINE_API_KEY cannot be used: {error}") from error


def make_sender(settings: Settings) -> Sender:
    """What delivers webhooks: it reaches what documents may be fetched from, and nothing else."""
    guard = Guard(AddressPolicy(settings.fetch_allow_networks), settings.fetch_ports)
    return Sender(GuardedTransport(guard))


def make_dispatcher(resources: Resources, sender: Sender) -> Dispatcher:
    """The deliverer of webhooks of this process."""
    settings = resources.settings
    signer = Signer([secret.get_secret_value() for secret in settings.webhook_secrets])
    pauses = PAUSES[: settings.webhook_attempts - 1]
    return Dispatcher(resources.store, sender, signer, resources.metrics, resources.drain, pauses=pauses)


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
        tenancy=resources.tenancy,
        engine_patience_seconds=settings.engine_patience_seconds,
        speculation=settings.speculation,
        spans=resources.spans,
    )
    return Worker(
        parts,
        resources.bell,
        resources.drain,
        concurrency=settings.worker_concurrency,
        drain_seconds=settings.drain_seconds,
    )
