"""Rendered overlays and the way through them. Rendering needs kubectl or kustomize; without either those tests are
skipped by that name."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("overlays/dev", "overlays/prod")

Object = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """The objects of one overlay."""

    name: str
    objects: tuple[Object, ...]

    def of(self, kind: str) -> dict[str, Object]:
        return {found["metadata"]["name"]: found for found in self.objects if found["kind"] == kind}

    def workloads(self) -> dict[str, Object]:
        """What makes pods, by name."""
        return {**self.of("Deployment"), **self.of("StatefulSet"), **self.of("Job")}

    def pods(self) -> Iterator[tuple[str, Object]]:
        """(name, pod template) of every workload."""
        for name, workload in self.workloads().items():
            yield name, workload["spec"]["template"]

    def containers(self) -> Iterator[tuple[Object, Object]]:
        """(pod template, container)."""
        for _, pod in self.pods():
            for container in pod["spec"]["containers"]:
                yield pod, container

    def own(self) -> Iterator[tuple[Object, Object]]:
        """(pod template, container) of the containers that run longfold-server."""
        for pod, container in self.containers():
            if container["image"].partition(":")[0].endswith("longfold-server"):
                yield pod, container


@functools.cache
def render(name: str) -> Rendered:
    """An overlay by its path below deploy/kubernetes, as it stands."""
    return build(name, KUBERNETES / name)


def build(name: str, folder: Path) -> Rendered:
    """What kustomize makes of a folder."""
    commands = {"kubectl": ["kubectl", "kustomize"], "kustomize": ["kustomize", "build"]}
    found = [argv for program, argv in commands.items() if shutil.which(program)]
    if not found:
        pytest.skip("rendering needs kubectl or kustomize on PATH")
    done = subprocess.run([*found[0], str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Rendered(name, tuple(yaml.safe_load_all(done.stdout)))


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Rendered:
    """Each overlay in turn."""
    return render(request.param)


@pytest.fixture
def rendered() -> Callable[[str], Rendered]:
    """One overlay by its path below deploy/kubernetes."""
    return render


@pytest.fixture
def with_bucket(tmp_path: Path) -> Rendered:
    """The production overlay with its documents in a bucket, as its comment says to write it."""
    copy = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    file = copy / "overlays/prod/kustomization.yaml"
    text = file.read_text()
    line = "  # - ../../components/documents-s3 "
    assert text.count(line) == 1
    file.write_text(text.replace(line, line.replace("# ", "")))
    return build("overlays/prod with a bucket", file.parent)
