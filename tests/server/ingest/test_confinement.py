"""The seccomp filter, tried in a process of its own for every call."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEFORE = """
import ctypes, errno, mmap, os, socket, threading
from longfold_server.ingest.confinement import confine
inherited = socket.socketpair()[0]
libc = ctypes.CDLL(None, use_errno=True)
confine()
def system_call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), "")
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEFORE + code], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or f"{done.returncode} {done.stderr[-300:]}"


@pytest.mark.parametrize(
    "call",
    [
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "inherited.connect('/nowhere')",
        "inherited.sendmsg([b'x'])",
        "socket.getaddrinfo('127.0.0.1', 80) and socket.create_connection(('127.0.0.1', 80))",
        "os.execv('/bin/true', ['true'])",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.kill(os.getppid(), 0)",
        "system_call(425, 4, ctypes.create_string_buffer(256))",  # io_uring_setup
    ],
)
def test_refused(call: str) -> None:
    assert run(f"try:\n {call}\n print('allowed')\nexcept OSError as error:\n print(errno.errorcode[error.errno])") == "EPERM"


def test_the_rest_works() -> None:
    code = "thread = threading.Thread(target=lambda: print(open('/proc/self/comm').read()[:0] + 'fine')); thread.start(); thread.join()"
    assert run(code) == "fine"


def test_it_cannot_be_undone() -> None:
    assert run("confine()\ntry:\n socket.socket()\nexcept PermissionError:\n print('still')") == "still"
