"""The seccomp filter, tried in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TRIED = [
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "socket.socketpair()",
    "inherited.connect('/nowhere')",
    "inherited.sendmsg([b'x'])",
    "os.execv('/bin/true', ['true'])",
    "os.fork()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.kill(os.getppid(), 0)",
    "system_call(425, 4, ctypes.create_string_buffer(256))",  # io_uring_setup
    "confine() or socket.socket()",
]
ALLOWED = "thread.start() or thread.join()"

SCRIPT = """
import ctypes, errno, json, os, socket, sys, threading
from longfold_server.ingest.confinement import confine
inherited = socket.socketpair()[0]
libc = ctypes.CDLL(None, use_errno=True)
thread = threading.Thread(target=lambda: open(os.devnull).close())
def system_call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), "")
found = {}
confine()
for call in json.loads(sys.argv[1]):
    try:
        eval(call)
        found[call] = "allowed"
    except OSError as error:
        found[call] = errno.errorcode[error.errno]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    command = [sys.executable, "-c", SCRIPT, json.dumps([*TRIED, ALLOWED])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result: dict[str, str] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("call", TRIED)
def test_refused(found: dict[str, str], call: str) -> None:
    assert found[call] == "EPERM"


def test_threads_and_files_work(found: dict[str, str]) -> None:
    assert found[ALLOWED] == "allowed"
