"""Options and fixtures of the whole suite."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no failure: no property has a limit on its time. The same examples in every run, so that a change is
# not blamed for what it did not do; `--hypothesis-profile explore` draws new ones.
settings.register_profile("explore", deadline=None)
settings.register_profile("longfold", deadline=None, derandomize=True)
settings.load_profile("longfold")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("longfold")
    group.addoption("--chaos-seed", type=int, help="seed of the chaos runs (default: the ones of the tests)")
    group.addoption("--chaos-seconds", type=float, help="how long the chaos runs disturb (default: as each test says)")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that the test starts hear SIGINT, also where the run itself was started with SIGINT ignored, as a shell
    does for what it starts in the background: that would be inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
