"""`python -m lab.bench.calling`: a service that triggers by the Python client, in a process of its own.

It says on standard output when it begins and when it ends, so that others can measure over the same time, and
then what it saw, as JSON. The key is in CLARION_API_KEY.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

from clarion_client import AsyncClient, Client

from .figures import percentile

__all__ = ["ALONE", "BEGIN", "EMAIL", "END", "EVENT", "SYNC", "TOGETHER", "WAYS"]

BEGIN, END = "begin", "end"
SYNC, ALONE, TOGETHER = WAYS = ("sync", "alone", "together")
"""From threads; from tasks, each call for itself; from tasks, coalesced."""
_WARM_UP = 0.3
EMAIL: Any = {
    "external_id": "EXTERNAL_ID",
    "email": "test@test.com",
    "timezone": "America/Chicago",
    "locale": "en",
}
EVENT = {"random_field": "value"}


class _Watch:
    """Measures calls between the end of the warm-up and the end."""

    def __init__(self, seconds: float) -> None:
        self._begin = time.perf_counter() + _WARM_UP
        self.end = self._begin + seconds
        self._times: list[float] = []

    def saw(self, begun: float, ended: float) -> None:
        """Take note of one call."""
        if begun >= self._begin and ended <= self.end:
            self._times.append((ended - begun) * 1000)

    def report(self, cpu: float, seconds: float) -> str:
        """Return the figures as JSON; times of calls in milliseconds."""
        p50, p99 = (percentile(self._times, percent) for percent in (50, 99))
        return json.dumps({"calls": len(self._times), "seconds": seconds, "cpu": cpu, "p50": p50, "p99": p99})


def _threads(client: Client, callers: int, watch: _Watch) -> None:
    def call() -> None:
        while (begun := time.perf_counter()) < watch.end:
            client.trigger_email(44, event=EVENT, **EMAIL)
            watch.saw(begun, time.perf_counter())

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _tasks(client: AsyncClient, callers: int, watch: _Watch) -> None:
    async def call() -> None:
        while (begun := time.perf_counter()) < watch.end:
            await client.trigger_email(44, event=EVENT, **EMAIL)
            watch.saw(begun, time.perf_counter())

    async with client:
        await asyncio.gather(*(call() for _ in range(callers)))


def _run(way: str, target: str, key: str, callers: int, watch: _Watch) -> None:
    if way == SYNC:
        with Client(target, key) as client:
            _threads(client, callers, watch)
    else:
        asyncio.run(_tasks(AsyncClient(target, key, coalesce=way == TOGETHER), callers, watch))


def main(way: str, target: str, callers: str, seconds: str) -> None:
    """Call for so many seconds from so many callers."""
    watch = _Watch(float(seconds))
    spent: list[tuple[float, float]] = []

    def say(word: str) -> None:
        spent.append((time.process_time(), time.perf_counter()))
        print(word, flush=True)

    threading.Timer(_WARM_UP, say, [BEGIN]).start()
    _run(way, target, os.environ["CLARION_API_KEY"], int(callers), watch)
    say(END)
    (cpu, begun), (cpu_after, ended) = spent
    print(watch.report(cpu_after - cpu, ended - begun))


if __name__ == "__main__":
    main(*sys.argv[1:])
