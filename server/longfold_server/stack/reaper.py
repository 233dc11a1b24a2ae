"""Runs one command so that nothing of it outlives its owner: `python reaper.py OWNER_PID GRACE PID_FD COMMAND...`.
Knows no longfold.

It stands between a supervisor and its child, because a death signal (PR_SET_PDEATHSIG) reaches only direct children,
while servers such as vLLM leave their own workers running when they are killed. As a "child subreaper" it inherits
every orphan of the command, so it can end all descendants, also those that moved to another process group or session.
It ends them when the command exits, when it is asked to (SIGTERM), and when its owner is gone, however that happened.
A file of the standard library only, started by its path: it must not depend on what it guards.

A second SIGTERM ends the grace at once. Exit status: that of the command, 128 + N when signal N ended it, 127 when it
could not be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OWNER_CHECK_SECONDS = 1.0
"""The death signal comes at once; this poll is for systems without prctl and for an owner that died before prctl was
called."""
STRAGGLER_SECONDS = 2.0
"""What the command's own children get between SIGTERM and SIGKILL once the command itself has exited."""


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the owner poll and the process group have to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def descendants() -> list[int]:
    """Every process below this one, nearest first (Linux; empty elsewhere)."""
    children: dict[int, list[int]] = {}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The command's name stands in parentheses and may hold anything, so fields are counted from the last
                # one.
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(pid)
    found = list(children.get(os.getpid(), []))
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def signal_all(group: int, number: int) -> None:
    """Send to the command's process group and to every other descendant."""
    try:
        os.killpg(group, number)
        reached = group
    except (ProcessLookupError, PermissionError):
        reached = 0
    for pid in descendants():
        try:
            if os.getpgid(pid) != reached:
                os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def start(command: list[str]) -> int:
    """Fork and exec the command as the leader of a new process group; its pid."""
    reaper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        # Should the reaper itself be killed, the command goes too and its owner sees both gone.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != reaper:
            os._exit(127)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Whatever the reaper holds for its owner (the stack's lock, the pid pipe) is none of the command's business.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


class Watch:
    """Signals as data: handlers only leave their number in a pipe, the loop does the rest."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)

    def wait(self, seconds: float) -> bytes:
        """The signal numbers that arrived within `seconds`."""
        if not select.select([self.read_fd], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            return os.read(self.read_fd, 4096)
        except BlockingIOError:
            return b""


def collect(main_pid: int, status: int | None) -> tuple[int | None, bool]:
    """Reap what has ended: the command's exit status once known, and whether any child is left."""
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, False
        if pid == 0:
            return status, True
        if pid == main_pid:
            code = os.waitstatus_to_exitcode(raw)
            status = code if code >= 0 else 128 - code


def run(owner: int, grace: float, pid_fd: int, command: list[str]) -> int:
    """Start the command, wait for its end or for ours, and leave no descendant behind."""
    watch = Watch()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)
    main_pid = start(command)
    with contextlib.suppress(BrokenPipeError):  # the owner is gone already: the loop below notices
        os.write(pid_fd, f"{main_pid}\n".encode())
    os.close(pid_fd)

    status: int | None = None
    kill_at: float | None = None
    while True:
        status, alive = collect(main_pid, status)
        if not alive:
            return status if status is not None else 127
        now = time.monotonic()
        if status is not None and kill_at is None:
            signal_all(main_pid, signal.SIGTERM)
            kill_at = now + min(grace, STRAGGLER_SECONDS)
        if kill_at is not None and now >= kill_at:
            signal_all(main_pid, signal.SIGKILL)
        received = set(watch.wait(OWNER_CHECK_SECONDS if kill_at is None else 0.05))
        asked = bool(received & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        # SIGUSR1 is the death signal. It also comes when only the owner's forking THREAD has ended, hence the look at
        # the parent.
        if kill_at is None and (asked or os.getppid() != owner):
            signal_all(main_pid, signal.SIGTERM)
            kill_at = time.monotonic() + grace
        elif asked:
            kill_at = 0.0  # asked a second time: no more grace


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
