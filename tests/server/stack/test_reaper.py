"""Nothing of a command outlives its owner, whoever dies first and however."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.server.stack.conftest import Marked, eventually

from longfold_server.stack import reaper

FAMILY = "sleep 300 & setsid sleep 301 & (setsid sh -c 'sleep 302 & exec sleep 303' &) ; exec sleep 304"
"""A command with a child in its group, one in a session of its own, and orphans in another session."""
STUBBORN = "trap '' TERM; setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" & while :; do sleep 1; done"


def start(script: str, marked: Marked, grace: float = 5.0) -> tuple[subprocess.Popen[bytes], int]:
    """A reaper around a shell script, owned by this process; the reaper and the script's pid."""
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid()), str(grace), str(write_fd), "sh", "-c", script],
        env=marked.env,
        pass_fds=(write_fd,),
        start_new_session=True,
    )
    os.close(write_fd)
    with open(read_fd, "rb") as pipe:
        return process, int(pipe.read())


def test_the_status_of_the_command_is_passed_on(marked: Marked) -> None:
    assert [start(script, marked)[0].wait(60) for script in ("exit 0", "exit 7", "kill -USR2 $$")] == [
        0,
        7,
        128 + signal.SIGUSR2,
    ]


def test_a_command_that_does_not_exist_is_reported(marked: Marked, capfd: pytest.CaptureFixture[str]) -> None:
    read_fd, write_fd = os.pipe()
    argv = [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid()), "1", str(write_fd), "/no/such/program"]
    process = subprocess.Popen(argv, pass_fds=(write_fd,))
    os.close(write_fd)
    os.close(read_fd)
    assert process.wait(60) == 127
    assert "/no/such/program" in capfd.readouterr().err


def test_sigterm_ends_every_descendant_also_in_other_sessions(marked: Marked) -> None:
    process, _ = start(FAMILY, marked)
    assert eventually(lambda: len(marked.pids()) == 6), "the reaper and five sleeps"
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert marked.pids() == set()


def test_descendants_that_ignore_sigterm_are_killed_after_the_grace(marked: Marked) -> None:
    process, _ = start(STUBBORN, marked, grace=0.5)
    assert eventually(lambda: len(marked.pids()) >= 5)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGKILL
    assert marked.pids() == set()


def test_a_second_sigterm_ends_the_grace(marked: Marked) -> None:
    process, _ = start(STUBBORN, marked, grace=600)
    assert eventually(lambda: len(marked.pids()) >= 5)
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.terminate()
    process.wait(60)
    assert marked.pids() == set()


def test_what_the_command_leaves_behind_ends_with_it(marked: Marked) -> None:
    process, pid = start(FAMILY, marked)
    assert eventually(lambda: len(marked.pids()) == 6)
    os.kill(pid, signal.SIGKILL)  # as an out-of-memory kill of a server whose workers live on
    assert process.wait(60) == 128 + signal.SIGKILL
    assert marked.pids() == set()


def test_everything_ends_when_the_owner_is_killed(marked: Marked, tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env={**marked.env, "PYTHONPATH": os.pathsep.join(sys.path), "SCRIPT": FAMILY},
    )
    assert eventually(lambda: len(marked.pids()) == 7), "the owner, the reaper and five sleeps"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert eventually(lambda: marked.pids() == set())


def test_the_command_ends_when_the_reaper_is_killed(marked: Marked) -> None:
    process, pid = start("exec sleep 300", marked)
    assert eventually(lambda: pid in marked.pids())
    process.kill()
    process.wait()
    assert eventually(lambda: marked.pids() == set())


OWNER = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from longfold_server.stack.processes import Child, Command

    async def main():
        async def healthy():
            return True
        command = Command(("sh", "-c", os.environ["SCRIPT"]), os.environ)
        child = Child("family", command, healthy, Path(sys.argv[1]) / "log")
        await child.start()
        await child.supervise()

    asyncio.run(main())
    """
)
