"""Faults at random, from a seed: processes are killed, paused and ended, the engine fails calls. Knows no jobs and
checks nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random

from replicas import Process, Replicas

DRAIN_SECONDS = 40.0
"""A process that was asked to end and runs on for longer is killed, and noted as a finding."""
LONGEST_PAUSE = {"redis": 2.0, "engine": 3.0, "api": 2.0, "worker": 4.0}
"""Seconds by kind of process. A worker's is beyond the lease of the runs: it wakes up beside its replacement."""
DOWN_SECONDS = 1.0
"""How long a process that died stays away at most."""
WEIGHTS = {"kill": 4, "pause": 3, "terminate": 3}
TROUBLES = {"overloaded": (3, 1.0), "dropped": (3, 0.0), "paused": (2, 1.5)}
"""Most calls, and seconds, of each kind of engine trouble."""


@dataclass(frozen=True)
class Fault:
    """One line of the log."""

    at: float
    target: str
    what: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.at:8.2f} s  {self.what:<10} {self.target:<9} {self.seconds:5.2f}"


class Faults:
    """Disturbs the replicas about every `pause` seconds. The same seed draws the same faults as long as the processes
    come back equally fast."""

    def __init__(self, running: Replicas, seed: int, pause: float) -> None:
        self._running = running
        self._rng = Random(f"faults/{seed}")
        self._pause = pause
        self._disturbed: set[str] = set()
        self._began = time.monotonic()
        self.log: list[Fault] = []
        self.findings: list[str] = []

    async def run(self, seconds: float, least: int) -> None:
        """Disturbs for `seconds`, and until there were `least` faults: a slow machine needs longer for them. Every
        process serves again afterwards."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while time.monotonic() - self._began < seconds or len(self.log) < least:
                await asyncio.sleep(self._rng.expovariate(1 / self._pause))
                free = [process for process in self._running.all if process.name not in self._disturbed]
                for process in free:
                    if process.ended is not None:
                        self.findings.append(f"{process.name} ended by itself with status {process.ended}")
                        process.spawn()
                if free and self._rng.random() < 0.8:
                    tasks.create_task(self._disturb(self._rng.choice(free)))
                else:
                    tasks.create_task(self._trouble())

    async def _trouble(self) -> None:
        kind = self._rng.choice(list(TROUBLES))
        most, seconds = TROUBLES[kind]
        self._note("engine", kind, seconds)
        await self._running.trouble(kind, self._rng.randint(1, most), seconds)

    async def _disturb(self, process: Process) -> None:
        what = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        longest = LONGEST_PAUSE[process.name.partition("-")[0]] if what == "pause" else DOWN_SECONDS
        seconds = self._rng.uniform(0.1, longest)
        self._disturbed.add(process.name)
        self._note(process.name, what, seconds)
        try:
            if what == "pause":
                process.pause()
                await asyncio.sleep(seconds)
                process.resume()
                return
            if what == "kill":
                process.kill()
            else:
                process.terminate()
                if await process.wait_ended(DRAIN_SECONDS) is None:
                    self.findings.append(f"{process.name} did not end within {DRAIN_SECONDS:.0f} s of SIGTERM")
                    process.kill()
            await asyncio.sleep(seconds)
            await process.start()
        except TimeoutError as error:
            self.findings.append(str(error))
        finally:
            self._disturbed.discard(process.name)

    def _note(self, target: str, what: str, seconds: float) -> None:
        self.log.append(Fault(time.monotonic() - self._began, target, what, seconds))
