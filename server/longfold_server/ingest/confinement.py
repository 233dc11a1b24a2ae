"""Shuts the present process off from the network and from other processes, for good, and ties its life to its
parent's. Knows no parser.

A seccomp filter in the kernel's classic BPF (Linux, Documentation/userspace-api/seccomp_filter.rst): the system calls
named here fail with EPERM, all others are as before. It needs no privilege, and what a process starts inherits it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Mapping
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_PR_SET_PDEATHSIG = 1
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF: load a word of `struct seccomp_data`, three conditional jumps, return."""
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in `struct seccomp_data`, the argument's low half."""
_CLONE_THREAD = 0x00010000


class _Machine(NamedTuple):
    audit: int
    """AUDIT_ARCH_*."""
    clone: int
    refused: Mapping[str, int]
    """System call numbers (asm/unistd_64.h, asm-generic/unistd.h)."""


_SHARED = {
    "io_uring_setup": 425,
    "pidfd_send_signal": 424,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
}
_CLONE3 = 435
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        {
            **_SHARED,
            "socket": 41,
            "connect": 42,
            "accept": 43,
            "sendto": 44,
            "sendmsg": 46,
            "bind": 49,
            "listen": 50,
            "socketpair": 53,
            "fork": 57,
            "vfork": 58,
            "execve": 59,
            "kill": 62,
            "ptrace": 101,
            "mount": 165,
            "unshare": 272,
            "accept4": 288,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "bpf": 321,
            "execveat": 322,
            "userfaultfd": 323,
            "tkill": 200,
            "tgkill": 234,
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        {
            **_SHARED,
            "mount": 40,
            "unshare": 97,
            "ptrace": 117,
            "kill": 129,
            "tkill": 130,
            "tgkill": 131,
            "socket": 198,
            "socketpair": 199,
            "bind": 200,
            "listen": 201,
            "accept": 202,
            "connect": 203,
            "sendto": 206,
            "sendmsg": 211,
            "execve": 221,
            "accept4": 242,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "bpf": 280,
            "execveat": 281,
            "userfaultfd": 282,
        },
    ),
}


def confine() -> None:
    """From now on no network, no new process and no hand on other processes; threads stay possible.

    Raises `OSError` where the kernel has no seccomp filters or the machine is neither x86-64 nor arm64.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no seccomp filter is known for {platform.machine()}")
    program = _program(machine)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))


def die_with_parent() -> None:
    """From now on the present process is killed when the thread that started it ends, and so when its parent does,
    however that happens. A parent that is gone already is not noticed."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0)


def _prctl(*arguments: int) -> None:
    call = ctypes.CDLL(None, use_errno=True).prctl
    if call(*(ctypes.c_ulong(argument) for argument in (*arguments, 0, 0))):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _program(machine: _Machine) -> bytes:
    """struct sock_filter {u16 code; u8 jump if true; u8 jump if false; u32 operand}, one for each step."""
    steps = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, 0x40000000),  # the x32 numbers of x86-64, which would walk past what follows
        (_RETURN, 0, 0, _KILL),
        # glibc then falls back to clone, whose flags can be seen from here.
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    for number in sorted(machine.refused.values()):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
    steps += [
        (_EQUAL, 0, 3, machine.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
