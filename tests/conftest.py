"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("longfold")
    group.addoption("--chaos-seed", type=int, help="seed of the chaos runs (default: the ones of the tests)")
    group.addoption("--chaos-seconds", type=float, help="how long the chaos runs disturb (default: as each test says)")
