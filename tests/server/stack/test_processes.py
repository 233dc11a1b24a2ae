"""Supervision of real small children: start, health, restart with backoff, giving up, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.server.stack.conftest import Marked

from longfold_server.stack.errors import ChildFailed
from longfold_server.stack.processes import Child, Command, Patience, State, Status, tail

QUICK = Patience(
    start=30.0, grace=5.0, check_every=0.05, unhealthy=0.3, backoff_first=0.01, backoff_most=0.1, attempts=3
)


def has_restarted(child: Child, times: int) -> bool:
    return child.restarts == times


async def always() -> bool:
    return True


def sleeper(marked: Marked, text: str = "import time; time.sleep(300)") -> Command:
    return Command((sys.executable, "-I", "-S", "-c", text), marked.env)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def supervised(child: Child) -> AsyncIterator[asyncio.Task[None]]:
    """A started child with its watcher; stopped at the end."""
    await child.start()
    watcher = asyncio.create_task(child.supervise())
    try:
        yield watcher
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError, ChildFailed):
            await watcher
        await child.stop()


async def test_start_waits_for_health_and_stop_leaves_nothing(marked: Marked, tmp_path: Path) -> None:
    flag = tmp_path / "serving"
    seen: list[Status] = []

    async def serving() -> bool:
        return flag.exists()

    text = f"import time; time.sleep(0.2); open({str(flag)!r}, 'w').close(); time.sleep(300)"
    child = Child("web", sleeper(marked, text), serving, tmp_path / "log", patience=QUICK, report=seen.append)
    await child.start()
    assert flag.exists() and child.state is State.READY
    assert child.pid in marked.pids()
    await child.stop()
    await child.stop()
    assert marked.pids() == set() and child.pid is None
    states = [status.state for status in seen]
    assert states[0] is State.STARTING and states[-3:] == [State.READY, State.STOPPING, State.STOPPED]


async def test_ready_is_asked_at_the_start_and_health_later(marked: Marked, tmp_path: Path) -> None:
    asked: list[str] = []

    async def ready() -> bool:
        asked.append("ready")
        return len(asked) > 2

    async def healthy() -> bool:
        asked.append("healthy")
        return True

    child = Child("web", sleeper(marked), healthy, tmp_path / "log", ready=ready, patience=QUICK)
    async with supervised(child):
        await until(lambda: asked.count("healthy") >= 2)
    assert asked[:3] == ["ready"] * 3 and set(asked[3:]) == {"healthy"}


async def test_a_child_that_ends_while_starting_fails_with_the_tail_of_this_run(marked: Marked, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from an older run\n")

    async def never() -> bool:
        return False

    child = Child("engine", sleeper(marked, "import sys; print('no memory'); sys.exit(3)"), never, log, patience=QUICK)
    with pytest.raises(ChildFailed) as failure:
        await child.start()
    assert failure.value.name == "engine" and "status 3" in failure.value.why
    assert failure.value.tail == "no memory"
    assert str(log) in str(failure.value) and "older run" not in str(failure.value)


async def test_a_health_answer_of_another_program_does_not_count(marked: Marked, tmp_path: Path) -> None:
    async def late() -> bool:
        await asyncio.sleep(0.5)  # something else answers, after our child has died
        return False

    child = Child("web", sleeper(marked, "raise SystemExit(1)"), late, tmp_path / "log", patience=QUICK)
    with pytest.raises(ChildFailed, match="ended with status 1"):
        await child.start()


async def test_a_child_that_is_not_ready_in_time_is_ended(marked: Marked, tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    patience = Patience(start=0.3, grace=1.0)
    child = Child("web", sleeper(marked), never, tmp_path / "log", patience=patience)
    with pytest.raises(ChildFailed, match="not ready"):
        await child.start()
    assert marked.pids() == set()


async def test_a_missing_program_fails_in_words(marked: Marked, tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    child = Child("web", Command(("/no/such/program",), marked.env), never, tmp_path / "log", patience=QUICK)
    with pytest.raises(ChildFailed, match="cannot start /no/such/program"):
        await child.start()


async def test_a_killed_child_is_replaced(marked: Marked, tmp_path: Path) -> None:
    child = Child("web", sleeper(marked), always, tmp_path / "log", patience=QUICK)
    async with supervised(child):
        for restarts in (1, 2, 3):
            before = child.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await until(partial(has_restarted, child, restarts))
            assert child.state is State.READY
            assert child.pid not in (None, before)
            assert len(marked.pids()) == 2, "one reaper and one program"
    assert marked.pids() == set()


async def test_a_child_whose_reaper_is_killed_is_replaced_and_not_doubled(marked: Marked, tmp_path: Path) -> None:
    child = Child("web", sleeper(marked), always, tmp_path / "log", patience=QUICK)
    async with supervised(child):
        before = child.pid
        (reaper,) = marked.pids() - {before}
        os.kill(reaper, signal.SIGKILL)
        await until(lambda: child.restarts == 1)
        await until(lambda: before not in marked.pids())
        assert len(marked.pids()) == 2


async def test_a_child_that_hangs_is_replaced(marked: Marked, tmp_path: Path) -> None:
    hung: set[int | None] = set()

    async def healthy() -> bool:
        return child.pid not in hung

    child = Child("web", sleeper(marked), healthy, tmp_path / "log", patience=QUICK)
    async with supervised(child):
        hung.add(child.pid)
        await until(lambda: child.restarts == 1)
        assert child.pid not in hung and len(marked.pids()) == 2


async def test_a_child_that_cannot_start_again_is_given_up(marked: Marked, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    seen: list[Status] = []

    async def healthy() -> bool:
        return not flag.exists()

    text = f"import os, time; os.path.exists({str(flag)!r}) and os._exit(9); time.sleep(300)"
    child = Child("web", sleeper(marked, text), healthy, tmp_path / "log", patience=QUICK, report=seen.append)
    async with supervised(child) as watcher:
        flag.touch()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ChildFailed, match="status 9"):
            await asyncio.wait_for(watcher, 60)
    assert seen[-1].state is State.FAILED
    assert sum(status.state is State.RESTARTING and "status 9" in status.detail for status in seen) >= 2
    assert marked.pids() == set()


async def test_cancelling_a_start_leaves_nothing(marked: Marked, tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    child = Child("web", sleeper(marked), never, tmp_path / "log", patience=QUICK)
    starting = asyncio.create_task(child.start())
    await until(lambda: len(marked.pids()) == 2)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert marked.pids() == set()


async def test_hurry_ends_a_long_grace(marked: Marked, tmp_path: Path) -> None:
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); open('/proc/self/comm', 'w').write('deaf')"
    text += "; time.sleep(300)"
    child = Child("web", sleeper(marked, text), always, tmp_path / "log", patience=Patience(grace=600))
    await child.start()
    assert child.pid is not None
    comm = Path(f"/proc/{child.pid}/comm")
    await until(lambda: comm.read_text().strip() == "deaf")
    stopping = asyncio.create_task(child.stop())
    await asyncio.sleep(0.3)
    assert not stopping.done()
    child.hurry()
    await asyncio.wait_for(stopping, 60)
    assert marked.pids() == set()


async def test_the_program_inherits_no_descriptor(marked: Marked, tmp_path: Path) -> None:
    """The stack's lock is held by the reaper alone: a program that leaks it must not keep the directory locked."""
    held = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    log = tmp_path / "log"
    text = (
        "import os, time\n"
        "print([fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')], flush=True)\n"
        "time.sleep(300)"
    )

    async def written() -> bool:
        return "]" in tail(log)

    child = Child("web", sleeper(marked, text), written, log, patience=QUICK, keep_open=(held,))
    try:
        await child.start()
        assert child.tail() == "[0, 1, 2]"
        (reaper,) = marked.pids() - {child.pid}
        assert os.path.samestat(os.stat(f"/proc/{reaper}/fd/{held}"), os.fstat(held))
    finally:
        os.close(held)
        await child.stop()


def test_tail_skips_blank_lines_older_bytes_and_broken_characters(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_bytes(b"old\n\n\xff one\n\n two \n")
    assert tail(log, start=4).splitlines() == ["\ufffd one", " two "]
    assert tail(log, lines=1).strip() == "two"
    assert tail(log, start=10_000).startswith("old"), "a log that was replaced is read from its beginning"
