"""One stack per data directory, for as long as any process of it lives."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from longfold_server.stack import lock
from longfold_server.stack.errors import AlreadyRunning, BadConfiguration
from longfold_server.stack.lock import StackLock


async def test_a_second_stack_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    first = StackLock(tmp_path / "data")
    await first.acquire()
    first.write({"url": "http://127.0.0.1:9", "pid": os.getpid()})
    second = StackLock(tmp_path / "data")
    with pytest.raises(AlreadyRunning, match=rf"http://127\.0\.0\.1:9 \(pid {os.getpid()}\)"):
        await second.acquire()
    first.release()
    assert not first.record.exists()
    await second.acquire()
    second.release()


async def test_children_that_inherit_the_lock_prolong_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = StackLock(tmp_path)
    await first.acquire()
    child = await asyncio.create_subprocess_exec("sleep", "300", pass_fds=(first.fd,))
    first.release()  # as when the supervisor is killed: the record's pid is gone, the reaper lives
    monkeypatch.setattr(lock, "RELEASE_SECONDS", 0.3)
    second = StackLock(tmp_path)
    with pytest.raises(AlreadyRunning, match="another stack"):
        await second.acquire()
    monkeypatch.setattr(lock, "RELEASE_SECONDS", 30)
    child.kill()
    await child.wait()
    await second.acquire()
    second.release()


async def test_the_record_of_a_killed_stack_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"pid": os.getpid(), "url": "http://127.0.0.1:9"}))
    one = StackLock(tmp_path)
    await one.acquire()
    one.write({"pid": 1})
    assert lock.read(one.record) == {"pid": 1}
    assert one.record.stat().st_mode & 0o077 == 0
    one.release()


def test_an_unusable_directory_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfiguration, match="cannot be used"):
        StackLock(tmp_path / "file" / "data")


def test_records_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    record = tmp_path / "stack.json"
    assert lock.read(record) == {}
    for text in ("", "[1]", "{"):
        record.write_text(text)
        assert lock.read(record) == {}
    assert not any(lock.alive(value) for value in (None, "1", 0, -1, 2**22 + 1))
