"""Every setting of the service, read from `LONGFOLD_*` variables and files of secrets. Plain values; knows no resource
that is made from them."""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from longfold_server.tenants.limits import Rate
from longfold_server.webhooks.signing import key_of

Role = Literal["api", "worker"]

LOOPBACK_NAMES = frozenset({"localhost"})


def is_loopback(host: str) -> bool:
    """Whether binding to `host` can only be reached from this machine."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def in_words(error: ValidationError) -> str:
    """What is wrong with the settings, in one sentence. Never pydantic's own text: it would print the values,
    keys among them."""
    problems = error.errors(include_input=False)
    return "; ".join(f"{_variable(item['loc'])}: {item['msg'].removeprefix('Value error, ')}" for item in problems)


def _variable(location: tuple[int | str, ...]) -> str:
    return f"LONGFOLD_{str(location[0]).upper()}" if location else "settings"


class Settings(BaseSettings):
    """Checked at construction. Lists are given as JSON or separated by commas: `LONGFOLD_ROLES=api,worker`."""

    model_config = SettingsConfigDict(env_prefix="LONGFOLD_", extra="forbid", frozen=True)

    redis_url: str = "redis://127.0.0.1:6379/0"
    """`redis://`, `rediss://` or `unix://`."""
    redis_cluster: bool = False
    """Whether `redis_url` names a node of a Redis Cluster."""
    redis_accept_loss: bool = False
    """Whether a Redis that loses jobs when it restarts (no appendonly), or does not tell, is used."""
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "lf"
    """First part of every key, so that several services can share one Redis."""
    data_dir: Path = Path("data")
    """Folder of the ingested documents; every replica must see the same one, unless there is a `blob_url`."""
    blob_url: Annotated[str, Field(pattern=r"^(s3://[^/]+|file:///)")] | None = None
    """Bucket (or shared folder) that keeps the documents for every replica; `data_dir` is then a cache of it."""
    blob_cache_bytes: Annotated[int, Field(ge=0)] = 20_000_000_000
    """Beyond this the cache forgets what was not used for longest."""

    engine_urls: Annotated[list[str], NoDecode] = ["http://127.0.0.1:8000"]
    engine_model: str = ""
    """Served model name; "" takes the only one that is served."""
    engine_api_key: SecretStr | None = None
    engine_affinity_header: str | None = None
    """Header that carries the document's key, for a load balancer that hashes on it."""
    engine_timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Longest single engine call."""
    engine_patience_seconds: Annotated[float, Field(ge=0)] = 600.0
    """How long a job waits for an engine that is away before it fails as `engine_unavailable`."""
    speculation: Annotated[int, Field(ge=0, le=64)] = 0
    """Chunks read ahead on the guess that the memory stays as it is; only with a profile that has a gate."""

    profile: Literal["qwenlong", "general", "demo"] = "general"
    profile_templates: Path | None = None
    """Folder of prompt templates that replace the profile's wording."""
    tokenizer: Path | None = None
    """The served model's tokenizer.json; a worker needs it."""
    chunk_tokens: Annotated[int, Field(ge=16)] | None = None
    """Overrides the profile's chunk budget."""
    memory_tokens: Annotated[int, Field(ge=16)] | None = None
    """Overrides the profile's memory budget."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    api_keys: Annotated[list[SecretStr], NoDecode] = []
    """Accepted bearer keys. Without any, and without `require_keys`, only a loopback `host` is allowed."""
    require_keys: bool = False
    """Whether every request needs a key although `api_keys` is empty: those that `longfold-server keys` makes."""
    tenant_rate: str | None = None
    """Requests of one key, as 600/minute; this and the next three hold where a key says nothing else."""
    tenant_jobs: Annotated[int, Field(ge=1)] | None = None
    """Unfinished jobs of one tenant."""
    tenant_tokens_per_day: Annotated[int, Field(ge=1)] | None = None
    """Prompt and completion tokens of one tenant's jobs in a day (UTC)."""
    tenant_max_documents: Annotated[int, Field(ge=1)] | None = None
    """Documents of one request; the API takes 100 at most."""
    document_retention_seconds: Annotated[int, Field(ge=1)] = 30 * 24 * 3600
    """How long after its last use a tenant may name a document by its id."""
    cache_salt_secret: SecretStr | None = None
    """Makes the salts that keep tenants apart in the engine's prefix cache; without it every process draws its own,
    and workers do not share a tenant's cache."""
    roles: Annotated[list[Role], NoDecode, Field(min_length=1)] = ["api", "worker"]
    drain_seconds: Annotated[float, Field(ge=0)] = 0.5
    """How long a stopping worker lets calls in flight finish before it drops them and gives its jobs back: short, since
    a dropped call costs one chunk read again, and a job that waits costs everybody who waits for it."""
    drain_listen_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long a stopping API goes on taking requests, with /readyz at 503, so that load balancers notice first."""

    worker_concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
    """Jobs read at once by one process."""
    tenant_running: Annotated[int, Field(ge=0)] = 0
    """Jobs of one tenant worked on at once; 0 for any number."""
    lease_seconds: Annotated[float, Field(gt=0)] = 12.0
    """A job whose worker is silent for this long is given to another. Below 15 s by what the other needs to begin."""
    max_failures: Annotated[int, Field(ge=1)] = 3
    """Unexpected failures after which a job ends as failed."""
    max_stalled_takeovers: Annotated[int, Field(ge=1)] = 10
    """Takeovers in a row without one commit after which a job ends as failed: it kills its workers."""
    job_retention_seconds: Annotated[int, Field(ge=1)] = 7 * 24 * 3600
    """How long a finished job can be read."""

    fetch_allow_networks: Annotated[list[str], NoDecode] = []
    """Networks (CIDR) besides the public ones from which documents may be fetched."""
    fetch_ports: Annotated[list[int], NoDecode] = [80, 443]
    """The only ports that documents may come from and webhooks may go to; an empty list permits none."""
    fetch_max_bytes: Annotated[int, Field(gt=0)] = 200_000_000
    """Largest document, on the wire and decoded."""
    fetch_connect_seconds: Annotated[float, Field(gt=0)] = 5.0
    fetch_read_seconds: Annotated[float, Field(gt=0)] = 30.0
    fetch_timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest fetch of one document, redirects and retries included."""
    fetch_per_host: Annotated[int, Field(ge=1, le=100)] = 4
    """Requests of one process to one host at the same time."""
    fetch_contact: Annotated[str, Field(pattern=r"^[\x21-\x27\x2a-\x7e]{3,200}$")] | None = None
    """A URL or mail address that the User-Agent names, for those whose pages are fetched."""
    fetch_file_root: Path | None = None
    """Folder below which `file://` URLs are read, for every caller; without it none is."""
    fetch_buckets: Annotated[dict[str, dict[str, SecretStr]], NoDecode] = {}
    """Buckets from which `s3://` and `gs://` URLs are read, for every caller, each with its own credentials."""
    upload_max_bytes: Annotated[int, Field(gt=0)] = 200_000_000
    upload_retention_seconds: Annotated[int, Field(ge=1)] = 24 * 3600
    """How long a resumable upload may take, from its first request to its last."""
    inline_max_bytes: Annotated[int, Field(gt=0)] = 10_000_000
    """Largest sum of a request's inline `text` documents, in UTF-8 bytes."""

    webhook_secrets: Annotated[list[SecretStr], NoDecode] = []
    """`whsec_...` secrets that sign webhooks, the newest first; without any, webhooks are refused."""
    webhook_attempts: Annotated[int, Field(ge=1, le=10)] = 10
    """Deliveries tried of one webhook; ten take three days."""
    webhook_allow_http: bool = False
    """Whether a webhook's URL may be plain http."""

    tracing: bool = False
    """Whether OpenTelemetry spans are made; they go where the `OTEL_*` variables say."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, and these over the files of the folder `LONGFOLD_SECRETS_DIR`, where a secret
        leaves no trace in the environment of a child process."""
        files = SecretsSettingsSource(settings_cls, os.environ.get("LONGFOLD_SECRETS_DIR"))
        return init_settings, env_settings, files

    @field_validator(
        "engine_urls", "api_keys", "roles", "fetch_allow_networks", "fetch_ports", "webhook_secrets", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("fetch_buckets", mode="before")
    @classmethod
    def _buckets(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("fetch_allow_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ipaddress.ip_network(network, strict=False)
        return value

    @field_validator("api_keys")
    @classmethod
    def _long_keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(key.get_secret_value()) < 16 for key in value):
            raise ValueError("an API key needs at least 16 characters")
        return value

    @field_validator("tenant_rate")
    @classmethod
    def _rate(cls, value: str | None) -> str | None:
        return None if value is None else str(Rate.parse(value))

    @field_validator("webhook_secrets")
    @classmethod
    def _signing_keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        for secret in value:
            key_of(secret.get_secret_value())
        return value

    @field_validator("roles")
    @classmethod
    def _roles_once(cls, value: list[Role]) -> list[Role]:
        return list(dict.fromkeys(value))

    @model_validator(mode="after")
    def _closed_by_default(self) -> Self:
        if "api" in self.roles and not self.api_keys and not self.require_keys and not is_loopback(self.host):
            raise ValueError(
                "without API keys the service only listens on loopback: set LONGFOLD_API_KEYS or "
                f"LONGFOLD_REQUIRE_KEYS, or host 127.0.0.1 instead of {self.host}"
            )
        return self

    @property
    def json_max_bytes(self) -> int:
        """Largest JSON body. JSON escapes at most double a text that people write, hence the factor."""
        return 2 * self.inline_max_bytes + 1_000_000
