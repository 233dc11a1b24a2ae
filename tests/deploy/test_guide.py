"""docs/deployment.md says what the files and the code say: tables, paths, settings, metrics, the wrapped alerts."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import yaml

from longfold_server.codes import Code
from longfold_server.metrics import Metrics
from longfold_server.settings import Settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "deployment.md").read_text()
MADE_LATER = {"deploy/secrets", "deploy/models"}


def sizing(*arguments):
    argv = [sys.executable, str(ROOT / "deploy" / "sizing.py"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def cells(table):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]


def test_the_sizing_table_is_what_the_script_prints():
    assert sizing().strip() in GUIDE


def test_the_figures_of_the_model_are_the_known_ones():
    """30.5 billion parameters in 16 bits, 96 KiB of cache a token: as its model card and vLLM say."""
    h200 = next(row for row in cells(sizing()) if row[0].startswith("H200") and row[0].endswith("16 / 16"))
    assert (h200[1], h200[2], h200[3]) == ("57 GiB", "68 GiB", "96 KiB")


def test_a_longer_reply_costs_chunks_and_one_that_never_fits_gives_none():
    usual, longer = cells(sizing()), cells(sizing("--output", "8000"))
    assert all(float(more[7]) < float(few[7]) for few, more in zip(usual, longer, strict=True))
    assert {row[4] for row in cells(sizing("--output", "40000000"))} == {"0"}


def test_the_window_is_the_one_in_the_manifests():
    [window] = set(re.findall(r"--max-model-len[= ](\d+)", GUIDE))
    assert f"--max-model-len={window}" in (ROOT / "deploy/kubernetes/components/engine/vllm.yaml").read_text()


def test_paths_exist():
    named = set(re.findall(r"\b(?:deploy|docs|benchmarks)/[\w./-]*\w", GUIDE)) | set(
        re.findall(r"\]\(([\w./-]+)\)", GUIDE)
    )
    assert len(named) > 10
    for path in named:
        if not any(path.startswith(folder) for folder in MADE_LATER):
            # Names of workloads, as `deploy/vllm`, look the same.
            if re.fullmatch(r"deploy/(vllm|engine-router|longfold-(api|worker))", path):
                continue
            assert (ROOT / path).exists() or (ROOT / "docs" / path).exists(), path


def test_settings_codes_and_metrics_exist():
    settings = {name.lower() for name in re.findall(r"LONGFOLD_([A-Z_]+)\b", GUIDE)} - {"secrets_dir", "listen"}
    assert settings <= set(Settings.model_fields) and len(settings) > 8
    codes = set(re.findall(r"`((?:store|window|engine|resume|document|job)_[a-z_]+)`", GUIDE))
    # One of them is a line of the log.
    assert codes - {"job_broke"} <= {code.value for code in Code} and len(codes) > 5
    exported = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    exported |= {metric.name + end for metric in Metrics().registry.collect() for end in ("", "_total")}
    files = {Path(name).stem for name in re.findall(r"deploy/secrets/(\w+)", GUIDE)}
    keys = set(re.findall(r"--from-literal=(longfold_\w+)", GUIDE))
    assert set(re.findall(r"\b(longfold_\w+)", GUIDE)) <= exported | files | keys


def test_the_alerts_are_wrapped_into_a_rule():
    [block] = re.findall(r"```\n(\(printf .*?)\s*\| kubectl apply -f -\n```", GUIDE, re.DOTALL)
    done = subprocess.run(["bash", "-c", block], cwd=ROOT, capture_output=True, text=True, check=True)
    found = yaml.safe_load(done.stdout)
    assert found["kind"] == "PrometheusRule" and found["metadata"] == {"name": "longfold", "namespace": "longfold"}
    assert found["spec"] == yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text())


def test_the_compose_secrets_are_made_as_they_are_read(tmp_path):
    [block] = re.findall(r"```\n(mkdir -m 700 deploy/secrets\n.*?chmod [^\n]*)", GUIDE, re.DOTALL)
    (tmp_path / "deploy").mkdir()
    subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, check=True)
    folder = tmp_path / "deploy" / "secrets"
    password = (folder / "redis_password").read_text().strip()
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert (folder / "longfold_redis_url").read_text().strip() == f"redis://:{password}@redis:6379/0"
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    assert {path.name for path in folder.iterdir()} == set(compose["secrets"])


def remedy(symptom):
    """What to look at and do, of a row of the table of the night."""
    [line] = [line for line in GUIDE.splitlines() if line.startswith(f"| {symptom} ")]
    return line.rstrip("| ").split(" | ")[-1]


def test_a_readiness_that_fails_is_shown():
    class NotReady(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503 if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(b'{"checks": {"store": "unavailable"}}')

    [command] = re.findall(r'python -c "([^"]+)"', remedy("the load balancer's own 503"))
    assert "127.0.0.1:8080" in command
    with HTTPServer(("127.0.0.1", 0), NotReady) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        argv = [sys.executable, "-c", command.replace("127.0.0.1:8080", f"127.0.0.1:{server.server_port}")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        thread.join()
    assert "unavailable" in done.stdout and done.returncode == 0, done.stderr


def test_redis_has_room_beside_its_data():
    """While the append-only file is rewritten, memory may double: above the pod's limit Redis would be killed."""
    folder = ROOT / "deploy/kubernetes/components/redis"
    [shipped] = re.findall(r"^maxmemory (\d+)mb$", (folder / "redis.conf").read_text(), re.MULTILINE)
    [limit] = re.findall(r"limits:\s+memory: (\d+)Gi", (folder / "redis.yaml").read_text())
    assert int(limit) << 30 >= 2 * int(shipped) << 20
    told = remedy("clients get 503 `store_unavailable`")
    [raised] = re.findall(r"`maxmemory (\d+)gb`", told)
    [limit] = re.findall(r"`(\d+)Gi`", told)
    assert int(limit) >= 2 * int(raised) and told.index("Gi`") < told.index("gb`")


def test_texts_are_left_to_the_service():
    assert "-delete" not in GUIDE and "LONGFOLD_DOCUMENT_RETENTION_SECONDS" in remedy("disk of documents full")
