"""Load: wrk, or a small loader of our own where wrk is missing."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from .plan import BODY, PATH, BenchError, Plan

__all__ = ["MISSING", "Load", "Loader", "Wrk", "head_of", "make_loader"]

MISSING = "wrk is missing: install the Debian package wrk (apt-get install wrk)"
_GRACE_SECONDS = 15.0
# One thread, so that every answer is counted in one place. Answers other than 204 are the run's end.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["authorization"] = %s
wrk.headers["content-type"] = "application/json"
wrk.body = %s
local worker
bad = 0
function setup(thread) worker = thread end
function response(status) if status ~= 204 then bad = bad + 1 end end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"answers": %%d, "bad": %%d, "broken": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f}\\n',
    summary.requests, worker:get("bad"), errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one loader saw in one round."""

    answers: int
    bad: int
    """Answers other than 204."""
    broken: int
    """Connections that failed or timed out."""
    seconds: float
    p50_ms: float
    p99_ms: float
    loader_cpu: float
    """CPU seconds of the loader itself."""


class Wrk:
    """Runs wrk with one thread and keep-alive HTTP/1.1."""

    def __init__(self, program: str, folder: Path, key: str, connections: int) -> None:
        self._program = program
        self._connections = connections
        self._script = folder / "trigger.lua"
        self._script.touch(mode=0o600)  # it holds the key
        self._script.write_text(_SCRIPT % (json.dumps(f"Bearer {key}"), json.dumps(BODY)))

    async def run(self, port: int, seconds: float) -> Load:
        """Load the gateway on this port for that long.

        Raises:
            BenchError: wrk failed.
        """
        before = _children_cpu()
        process = await asyncio.create_subprocess_exec(
            *(self._program, "--threads", "1", "--connections", str(self._connections)),
            *("--duration", f"{round(seconds)}s", "--script", str(self._script)),
            f"http://127.0.0.1:{port}{PATH}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise BenchError(f"wrk failed: {errors.decode(errors='replace').strip()[-300:]}")
        return Load(**json.loads(output.splitlines()[-1]), loader_cpu=_children_cpu() - before)


class Loader:
    """Our own: for trying the harness out. It takes several times the CPU of wrk."""

    def __init__(self, key: str, connections: int) -> None:
        self._connections = connections
        self._request = head_of(PATH, key, len(BODY)) + BODY.encode()

    async def run(self, port: int, seconds: float) -> Load:
        """Load the gateway on this port for that long."""
        started, cpu = time.monotonic(), time.process_time()
        work = [self._connection(port, started + seconds) for _ in range(self._connections)]
        parts = await asyncio.gather(*work)
        times = sorted(one for part in parts for one, _ in part)
        bad = sum(status != "204" for part in parts for _, status in part)
        cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
        return Load(
            answers=len(times),
            bad=bad,
            broken=0,
            seconds=time.monotonic() - started,
            p50_ms=cuts[49] * 1e3,
            p99_ms=cuts[98] * 1e3,
            loader_cpu=time.process_time() - cpu,
        )

    async def _connection(self, port: int, end: float) -> list[tuple[float, str]]:
        """Return time and status of each answer on one connection; a bad answer ends it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        try:
            while (sent := time.monotonic()) < end:
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                status = head[9:12].decode()
                answers.append((time.monotonic() - sent, status))
                if status != "204":  # it has a body, which we do not read
                    break
        finally:
            writer.close()
        return answers


def head_of(path: str, key: str, length: int) -> bytes:
    """Return the head of a POST of so many bytes of JSON."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def make_loader(plan: Plan, folder: Path, key: str) -> Wrk | Loader:
    """Return the loader that the plan asks for.

    Raises:
        BenchError: wrk is asked for and missing; the message says what to install.
    """
    if plan.loader == "builtin":
        return Loader(key, plan.connections)
    program = shutil.which("wrk")
    if program is None:
        raise BenchError(MISSING)
    return Wrk(program, folder, key, plan.connections)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
