"""The four distributions move in lockstep."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = ("agent", "client", "server", "training")


def project(folder: str) -> dict[str, object]:
    loaded: dict[str, object] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return loaded


def test_one_version() -> None:
    assert len({project(folder)["version"] for folder in DISTRIBUTIONS}) == 1


def test_siblings_are_required_in_that_version() -> None:
    for folder in DISTRIBUTIONS:
        dependencies = project(folder)["dependencies"]
        assert isinstance(dependencies, list)
        siblings = [name for name in dependencies if name.startswith("longfold")]
        assert all(name.endswith(f"=={project(folder)['version']}") for name in siblings), (folder, siblings)
