"""compose.yaml: in step with the code, closed towards the outside, and valid to `docker compose` where that is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from longfold_server import worker
from longfold_server.serve import GRACE_SECONDS
from longfold_server.settings import Settings
from longfold_server.webhooks import sender

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
INTERNAL = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}


def env_file(name):
    lines = (DEPLOY / "compose" / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled(value, variables):
    """`${NAME:-default}` and `${NAME:?}` as compose fills them in; `$$` is a dollar."""

    def one(match):
        name, _, default = match[1].partition(":")
        return variables[name] if name in variables else default.removeprefix("-")

    return re.sub(r"\$\{([^}]+)\}", one, str(value)).replace("$$", "$")


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize("role", ["api", "worker"])
def test_the_settings_are_accepted(profile, role, monkeypatch, tmp_path):
    variables = env_file(profile)
    service = SERVICES[role]
    for name in service["secrets"]:
        assert name.removeprefix("longfold_") in Settings.model_fields
        (tmp_path / name).write_text("redis://:word@redis:6379/0" if "redis" in name else "a-secret-of-some-length")
    for name, value in service["environment"].items():
        assert name.removeprefix("LONGFOLD_").lower() in Settings.model_fields or name == "LONGFOLD_SECRETS_DIR", name
        monkeypatch.setenv(name, filled(value, variables))
    monkeypatch.setenv("LONGFOLD_SECRETS_DIR", str(tmp_path))
    assert service["command"] == [role]
    settings = Settings(roles=[role])
    assert settings.redis_url.endswith("@redis:6379/0") and settings.require_keys
    assert "documents:/data" in service["volumes"] and str(settings.data_dir) == "/data"
    assert settings.tokenizer is not None
    if not settings.tokenizer.is_relative_to("/opt/longfold/policy"):  # which is in the image
        mounted = {tuple(filled(volume, variables).split(":")[1:]) for volume in service["volumes"]}
        assert (f"/{settings.tokenizer.parts[1]}", "ro") in mounted
    if role == "worker":
        assert settings.engine_api_key is not None and settings.cache_salt_secret is not None


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_profile_s_engine_serves_the_model_that_is_asked_for(profile):
    variables = env_file(profile)
    assert variables["COMPOSE_PROFILES"] == profile
    [engine] = [service for service in SERVICES.values() if service.get("profiles") == [profile]]
    assert f"--served-model-name={variables['LONGFOLD_ENGINE_MODEL']}" in engine["command"]
    model = engine["command"][0].removeprefix("--model=")
    assert variables["LONGFOLD_TOKENIZER"] == f"{model}/tokenizer.json"
    assert engine["networks"] == {"engines": {"aliases": ["engine"]}}
    assert SERVICES["worker"]["environment"]["LONGFOLD_ENGINE_URLS"] == "http://engine:8000"
    assert "--port=8000" in engine["command"]
    assert set(variables) - {"COMPOSE_PROFILES"} <= set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))


def test_the_gpu_engine_has_the_flags_of_the_kubernetes_one():
    documents = yaml.safe_load_all((DEPLOY / "kubernetes/components/engine/vllm.yaml").read_text())
    [deployment] = [found for found in documents if found["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert SERVICES["vllm"]["command"] == container["args"] and SERVICES["vllm"]["image"] == container["image"]


def test_only_the_balancer_is_published_and_on_loopback():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}
    [port] = SERVICES["nginx"]["ports"]
    assert filled(port, {}) == "127.0.0.1:8080:8080"


def test_only_those_who_fetch_and_the_balancer_have_a_way_out():
    def networks(name):
        return set(SERVICES[name]["networks"])

    assert {name for name in SERVICES if networks(name) - INTERNAL} == {"api", "worker", "nginx"}
    assert {name for name in SERVICES if "store" in networks(name)} == {"redis", "api", "worker"}
    assert {name for name in SERVICES if "engines" in networks(name)} == {"worker", "vllm", "vllm-cpu"}
    assert networks("nginx").isdisjoint(networks("worker") | networks("redis") | networks("vllm"))


def test_every_service_is_hardened_and_pinned():
    for name, service in SERVICES.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), name
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
        for config in service.get("configs", []):
            assert (DEPLOY / COMPOSE["configs"][config["source"]]["file"]).is_file()


def test_there_is_time_to_drain():
    needed = (
        GRACE_SECONDS + Settings.model_fields["drain_seconds"].default + max(worker.CLOSING_SECONDS, sender.SECONDS)
    )
    for role in ("api", "worker"):
        assert int(SERVICES[role]["stop_grace_period"].removesuffix("s")) > needed


def test_secrets_are_files_that_git_never_sees_and_the_guide_makes():
    guide = (DEPLOY.parent / "docs" / "deployment.md").read_text()
    assert "/deploy/secrets/" in (DEPLOY.parent / ".gitignore").read_text().splitlines()
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"} and f"deploy/secrets/{name}" in guide, name


def test_redis_keeps_every_job():
    lines = (DEPLOY / "kubernetes/components/redis/redis.conf").read_text().splitlines()
    found = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert found["appendonly"] == "yes" and found["maxmemory-policy"] == "noeviction" and found["dir"] == "/data"
    assert "redis:/data" in SERVICES["redis"]["volumes"]


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_docker_compose_takes_it(profile):
    compose = ["docker", "compose"]
    if shutil.which("docker") is None or subprocess.run([*compose, "version"], capture_output=True).returncode:
        pytest.skip("needs the docker compose plugin")
    files = ["-f", str(DEPLOY / "compose.yaml"), "--env-file", str(DEPLOY / f"compose/{profile}.env")]
    done = subprocess.run([*compose, *files, "config", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
