"""What `longfold_client` promises, and what importing it must not load."""

from __future__ import annotations

import subprocess
import sys

import longfold_client
from longfold_client import errors


def test_every_public_name_resolves_and_the_list_is_sorted() -> None:
    names = longfold_client.__all__
    assert len(set(names)) == len(names)
    assert [name for name in names if getattr(longfold_client, name, None) is None] == []
    assert set(dir(longfold_client)) == set(names)


def test_every_error_is_public_and_has_the_one_root() -> None:
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert kinds <= set(longfold_client.__all__)
    assert all(issubclass(getattr(errors, name), longfold_client.LongfoldError) for name in kinds)
    assert all(f" {name} " in f" {errors.__doc__.replace(chr(10), ' ')} " for name in kinds if errors.__doc__)


def test_errors_refine_the_standard_kinds() -> None:
    assert issubclass(longfold_client.ConnectionFailed, ConnectionError)
    assert issubclass(longfold_client.WaitTimeout, TimeoutError)
    assert issubclass(longfold_client.InvalidArgument, ValueError)
    assert issubclass(longfold_client.NotFound, LookupError)


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        longfold_client.Nothing  # noqa: B018
    except AttributeError as error:
        assert "Nothing" in str(error)
    else:
        raise AssertionError("no error")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    loaded = loaded_by("from longfold_client import Client, AsyncClient, LongfoldError, Retry")
    assert loaded & {"httpx", "pydantic", "rich", "asyncio.base_events", "longfold_client.types"} <= {
        "asyncio.base_events"
    }


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("from longfold_client.cli import main; main(['--help'])")
    assert not loaded & {"httpx", "pydantic", "rich", "asyncio"}
