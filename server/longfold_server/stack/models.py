"""Which model the stack serves or meets: its folder, name, profile and tokenizer file. Starts nothing and knows no
flags of vLLM."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from longfold_server.stack.errors import BadConfiguration, StackError

POLICY = Path(__file__).resolve().parent.parent / "policy"
"""The demo policy that ships with the package."""
POLICY_NAME = "longfold-demo"


@dataclass(frozen=True, slots=True)
class Model:
    """A model and what the service must know about it."""

    source: str
    """Folder or hub name."""
    name: str
    """Served name."""
    profile: str
    tokenizer: Path


def folder_of(source: str) -> Path:
    """The folder that a model's source names, if it names one. Raises `BadConfiguration`."""
    try:
        return Path(source).expanduser()
    except RuntimeError:  # `~somebody`, of whom this machine knows nothing
        raise BadConfiguration(f"no model folder at {source}") from None


def is_policy(source: str) -> bool:
    """Whether this is the demo policy's folder."""
    return folder_of(source).resolve() == POLICY


def file_of(source: str, name: str) -> Path | None:
    """A file of a model folder, or of a hub model that is in the local Hugging Face cache."""
    folder = folder_of(source)
    if folder.is_dir():
        file = folder / name
        return file if file.is_file() else None
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    import huggingface_hub
    import huggingface_hub.errors

    try:
        cached = huggingface_hub.try_to_load_from_cache(source, name)
    except huggingface_hub.errors.HFValidationError:
        return None  # not a hub name
    # Besides a path and None there is a marker object for "known not to exist".
    return Path(cached) if isinstance(cached, str) else None


def resolve(source: str | None, profile: str | None, tokenizer: Path | None, *, name: str | None = None) -> Model:
    """Everything about a model; `source` None is the demo policy, `name` is what a running engine calls it, and then
    its folder may be on another machine. Raises `BadConfiguration`."""
    if source is None:
        source = str(POLICY)
        if not (POLICY / "config.json").is_file():
            raise BadConfiguration(f"this installation has no demo policy in {POLICY}; pass --model")
    folder = folder_of(source)
    if not folder.is_dir() and (folder.is_absolute() or source.startswith((".", "~"))):
        if name is None:
            raise BadConfiguration(f"no model folder at {source}")
        if tokenizer is None:
            raise BadConfiguration(
                f"the engine serves {source}, a folder that is not on this machine: pass --tokenizer PATH"
            )
    if tokenizer is None:
        tokenizer = file_of(source, "tokenizer.json")
        if tokenizer is None:
            raise BadConfiguration(
                f"no tokenizer.json of {source} on this machine: pass --tokenizer PATH, "
                f"or fetch it into the Hugging Face cache first (`hf download {source} tokenizer.json`)"
            )
    tokenizer = tokenizer.expanduser().resolve()
    if not tokenizer.is_file():
        raise BadConfiguration(f"no tokenizer file at {tokenizer}")
    demo = is_policy(source)
    if name is None:
        name = POLICY_NAME if demo else folder.resolve().name if folder.is_dir() else source
    return Model(source, name, profile or ("demo" if demo else "general"), tokenizer)


async def served(url: str, api_key: str | None) -> tuple[str, str]:
    """Name and source of the first model a running vLLM serves. Raises `StackError` when it does not answer."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        # No proxy of the environment, as for every call that follows.
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            reply = await client.get(f"{url.rstrip('/')}/v1/models", headers=headers)
            reply.raise_for_status()
            entry: dict[str, Any] = reply.json()["data"][0]
            return str(entry["id"]), str(entry.get("root") or entry["id"])
    except httpx.HTTPStatusError as error:
        hint = "; set LONGFOLD_ENGINE_API_KEY" if error.response.status_code == 401 else ""
        raise StackError(
            f"the engine at {url} refuses /v1/models with status {error.response.status_code}{hint}"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StackError(f"no vLLM answers at {url}: {error or type(error).__name__}") from None
    except (ValueError, LookupError, TypeError):
        raise StackError(f"what answers at {url} is not an OpenAI-compatible engine that serves a model") from None
