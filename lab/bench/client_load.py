"""`python -m lab.bench.client_load`: a service that triggers through the Python client, as its own process.

It prints a line when it starts and stops measuring, so that the benchmark can measure other processes over
the same time, and then the figures as JSON. The API key is in CLARION_API_KEY.
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

from ..report import percentile

__all__ = ["BEGIN", "COALESCED", "EMAIL", "END", "EVENT", "MODES", "SEPARATE", "THREADS"]

BEGIN, END = "begin", "end"
THREADS, SEPARATE, COALESCED = MODES = ("threads", "separate", "coalesced")
"""From threads; from tasks, each call separately; from tasks, coalesced."""
_WARMUP_SECONDS = 0.3
EMAIL: Any = {
    "external_id": "EXTERNAL_ID",
    "email": "test@test.com",
    "timezone": "America/Chicago",
    "locale": "en",
}
EVENT = {"random_field": "value"}


class _Recorder:
    """Records the calls between the end of the warm-up and the end of the run."""

    def __init__(self, seconds: float) -> None:
        self._begin = time.perf_counter() + _WARMUP_SECONDS
        self._end = self._begin + seconds
        self._times: list[float] = []

    def goes_on(self) -> bool:
        """Return whether another call is to be made: until the end, and at least until one is recorded."""
        return time.perf_counter() < self._end or not self._times

    def record(self, begun: float, ended: float) -> None:
        """Record one call, unless it began in the warm-up."""
        if begun >= self._begin:
            self._times.append((ended - begun) * 1000)

    def as_json(self, cpu: float, seconds: float) -> str:
        """Return the figures as JSON; the latencies are in milliseconds."""
        p50, p99 = (percentile(self._times, percent) for percent in (50, 99))
        return json.dumps({"calls": len(self._times), "seconds": seconds, "cpu": cpu, "p50": p50, "p99": p99})


def _run_threads(client: Client, callers: int, recorder: _Recorder) -> None:
    def call() -> None:
        while recorder.goes_on():
            begun = time.perf_counter()
            client.trigger_email(44, event=EVENT, **EMAIL)
            recorder.record(begun, time.perf_counter())

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _run_tasks(client: AsyncClient, callers: int, recorder: _Recorder) -> None:
    async def call() -> None:
        while recorder.goes_on():
            begun = time.perf_counter()
            await client.trigger_email(44, event=EVENT, **EMAIL)
            recorder.record(begun, time.perf_counter())

    async with client:
        await asyncio.gather(*(call() for _ in range(callers)))


def _run(mode: str, target: str, key: str, callers: int, recorder: _Recorder) -> None:
    if mode == THREADS:
        with Client(target, key) as client:
            _run_threads(client, callers, recorder)
    else:
        asyncio.run(
            _run_tasks(AsyncClient(target, key, coalesce=mode == COALESCED), callers, recorder),
        )


def main(mode: str, target: str, callers: str, seconds: str) -> None:
    """Call from this number of callers for this number of seconds."""
    recorder = _Recorder(float(seconds))
    marks: list[tuple[float, float]] = []

    def mark(word: str) -> None:
        marks.append((time.process_time(), time.perf_counter()))
        print(word, flush=True)

    threading.Timer(_WARMUP_SECONDS, mark, [BEGIN]).start()
    _run(mode, target, os.environ["CLARION_API_KEY"], int(callers), recorder)
    mark(END)
    (cpu, begun), (cpu_after, ended) = marks
    print(recorder.as_json(cpu_after - cpu, ended - begun))


if __name__ == "__main__":
    main(*sys.argv[1:])
