"""The server as a process: SIGTERM ends event streams with a goodbye, a wrong setting is one sentence, an idle
connection is kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from longfold_server.app import create_app
from longfold_server.errors import ConfigError
from longfold_server.jobs.connection import connect
from longfold_server.jobs.records import Source, StoredRequest, new_job_id
from longfold_server.jobs.store import JobStore
from longfold_server.logs import JSONFormatter
from longfold_server.serve import make_server
from longfold_server.settings import Settings

SERVE = """
import sys
from longfold_server.serve import serve
from longfold_server.settings import Settings
sys.exit(serve(Settings()))
"""
BOUND = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE: root then writes where it may and not everywhere
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


async def test_sigterm_lets_streams_say_goodbye(redis_url, tmp_path, unused_tcp_port):
    client = connect(redis_url)
    store, job = JobStore(client), new_job_id()
    await store.create(job, "body", StoredRequest("What?", (Source(url="http://example.org"),)))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LONGFOLD_REDIS_URL": redis_url,
        "LONGFOLD_ROLES": "api",
        "LONGFOLD_DATA_DIR": str(tmp_path / "data"),
        "LONGFOLD_PORT": str(unused_tcp_port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, env=environment, stderr=asyncio.subprocess.PIPE
    )
    base = f"http://127.0.0.1:{unused_tcp_port}"
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as web:
        for _ in range(600):
            try:
                if (await web.get("/readyz")).status_code == 200:
                    break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        lines = []
        async with web.stream("GET", f"/answer/{job}/events") as reply:
            async for line in reply.aiter_lines():
                lines.append(line)
                if line == "event: created":
                    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    await client.aclose()
    assert "event: created" in lines and "event: reconnect" in lines
    print(errors.decode())
    assert b"Traceback" not in errors and process.returncode is not None


def test_idle_connections_outlive_those_of_load_balancers():
    settings = Settings(roles=["api"])
    server = make_server(create_app(settings), settings)
    assert server.config.timeout_keep_alive > 60  # nginx and AWS close theirs after that


def test_an_interrupt_while_redis_is_silent_leaves_no_trace(tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "r.sock"))
        silent.listen()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LONGFOLD_REDIS_URL": f"unix://{tmp_path}/r.sock",
            "LONGFOLD_ROLES": "api",
        }
        # A shell's background jobs ignore the signal, and so would what they start.
        heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        process = subprocess.Popen([sys.executable, "-c", heeds + SERVE], env=environment, stderr=subprocess.PIPE)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        connection.close()
    assert process.returncode == 128 + signal.SIGINT and b"Traceback" not in errors


@pytest.mark.parametrize("name", ["tmp", "uploads"])
def test_a_data_folder_that_is_read_only_is_noticed_at_the_start(redis_url, tmp_path, name):
    for folder in ("blobs", "tmp", "uploads"):
        (tmp_path / folder).mkdir()
    (tmp_path / name).chmod(0o555)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LONGFOLD_REDIS_URL": redis_url,
        "LONGFOLD_REDIS_ACCEPT_LOSS": "true",
        "LONGFOLD_ROLES": "api",
        "LONGFOLD_DATA_DIR": str(tmp_path),
        "LONGFOLD_PORT": "0",
    }
    command = [sys.executable, "-c", BOUND, "-c", SERVE]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, timeout=60, check=False)
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]
    [why] = [line["why"] for line in told if line["event"] == "cannot_start"]
    assert "LONGFOLD_DATA_DIR" in why and "Permission denied" in why and done.returncode


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"data_dir": "file"}, "LONGFOLD_DATA_DIR"),
        ({"fetch_buckets": {"x://y": {}}}, "LONGFOLD_FETCH_BUCKETS"),
        ({"engine_urls": []}, "LONGFOLD_ENGINE_URLS"),
        ({"engine_urls": ["localhost:8000"]}, "LONGFOLD_ENGINE_URLS"),
        ({"engine_api_key": "“quoted”"}, "LONGFOLD_ENGINE_API_KEY"),
    ],
)
async def test_a_service_that_cannot_start_logs_why(
    redis_url, tmp_path, monkeypatch, caplog, words, profile, fields, named
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    app = create_app(Settings(redis_url=redis_url, **fields), tokens=words, profile=profile)
    with pytest.raises(ConfigError):
        async with app.router.lifespan_context(app):
            pass
    [line] = [json.loads(JSONFormatter().format(one)) for one in caplog.records if one.levelname == "ERROR"]
    assert line["event"] == "cannot_start" and named in line["why"]
