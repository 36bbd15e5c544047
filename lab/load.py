"""Provides load generators: keep-alive connections from this process, and wrk."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from .errors import LabError
from .process import output_of
from .report import percentile

__all__ = [
    "BODY",
    "BUILTIN",
    "CAMPAIGN",
    "LOADERS",
    "PATH",
    "WRK_MISSING",
    "Answer",
    "Connection",
    "Load",
    "Loader",
    "make_loader",
    "post_all",
]

CAMPAIGN = 44
PATH = f"/api/client/campaigns/{CAMPAIGN}/trigger"
BODY = (
    '{"user": {"external_id": "EXTERNAL_ID", "email": "test@test.com", "timezone": "America/Chicago",'
    ' "locale": "en"}, "event": {"random_field": "value"}}'
)
"""The documented example."""
WRK, BUILTIN = LOADERS = ("wrk", "builtin")
WRK_MISSING = "wrk is not installed; install the Debian package wrk (apt-get install wrk)"
_GRACE_SECONDS = 15.0
# One thread, so that every answer is counted in one place.
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
    """What a load generator measured in one round."""

    answers: int
    bad: int
    """Answers other than 204."""
    broken: int
    """Connections that failed or timed out."""
    seconds: float
    p50_ms: float
    p99_ms: float
    loader_cpu: float
    """CPU seconds of the load generator itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    head: bytes
    """Status line and headers, in lower case."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header, or an empty string."""
        return self.head.partition(f"\r\n{name}: ".encode())[2].partition(b"\r\n")[0].decode()


class Connection:
    """A keep-alive HTTP/1.1 connection to a gateway."""

    def __init__(self, port: int, key: str, host: str = "127.0.0.1") -> None:
        """Prepare the connection; the first request opens it.

        Args:
            port: the gateway's port.
            key: the API key's secret.
            host: the gateway's address.
        """
        self._host = host
        self._port = port
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def request(self, path: str, body: bytes, idempotency_key: str = "") -> bytes:
        """Return the bytes of a POST, to be sent once or many times."""
        keyed = f"idempotency-key: {idempotency_key}\r\n" if idempotency_key else ""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\nauthorization: Bearer {self._key}\r\n"
            f"{keyed}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def send(self, request: bytes) -> Answer:
        """Send a request and return its response. After an error, the next request opens a new connection.

        Raises:
            ConnectionError: the connection was refused or closed.
        """
        try:
            return await self._exchange(request)
        except asyncio.IncompleteReadError:
            self.close()
            raise ConnectionResetError("closed before the whole response arrived") from None
        except BaseException:
            self.close()
            raise

    async def post(self, path: str, body: bytes, idempotency_key: str = "") -> Answer:
        """Send a POST and return its response."""
        return await self.send(self.request(path, body, idempotency_key))

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=2**20)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        body = await reader.readexactly(length) if length else b""
        if b"\r\nconnection: close\r\n" in head:
            self.close()
        return Answer(int(head[9:12]), head, body)


class Loader(Protocol):
    """Sends the documented example repeatedly on keep-alive connections."""

    async def run(self, port: int, seconds: float) -> Load:
        """Load the gateway on this port for this many seconds."""


class _Wrk:
    """Runs wrk with one thread."""

    def __init__(self, program: str, folder: Path, key: str, connections: int) -> None:
        self._program = program
        self._connections = connections
        self._script = folder / "trigger.lua"
        self._script.touch(mode=0o600)  # it contains the key
        self._script.write_text(_SCRIPT % (json.dumps(f"Bearer {key}"), json.dumps(BODY)))

    async def run(self, port: int, seconds: float) -> Load:
        before = _children_cpu()
        command = (
            *(self._program, "--threads", "1", "--connections", str(self._connections)),
            *("--duration", f"{round(seconds)}s", "--script", str(self._script)),
            f"http://127.0.0.1:{port}{PATH}",
        )
        output = await output_of("wrk", command, seconds + _GRACE_SECONDS)
        return Load(**json.loads(output.splitlines()[-1]), loader_cpu=_children_cpu() - before)


class _Builtin:
    """Sends from this process. It needs no other program, but uses several times the CPU of wrk."""

    def __init__(self, key: str, connections: int) -> None:
        self._key = key
        self._connections = connections

    async def run(self, port: int, seconds: float) -> Load:
        started, cpu = time.monotonic(), time.process_time()
        work = [self._repeat(port, started + seconds) for _ in range(self._connections)]
        answers = [answer for part in await asyncio.gather(*work) for answer in part]
        times = [one for one, _ in answers]
        return Load(
            answers=len(answers),
            bad=sum(status != HTTPStatus.NO_CONTENT for _, status in answers),
            broken=0,
            seconds=time.monotonic() - started,
            p50_ms=percentile(times, 50) * 1e3,
            p99_ms=percentile(times, 99) * 1e3,
            loader_cpu=time.process_time() - cpu,
        )

    async def _repeat(self, port: int, end: float) -> list[tuple[float, int]]:
        """Return the seconds and the status of each answer on one connection."""
        connection = Connection(port, self._key)
        request = connection.request(PATH, BODY.encode())
        answers = []
        try:
            while (sent := time.monotonic()) < end:
                answer = await connection.send(request)
                answers.append((time.monotonic() - sent, answer.status))
        finally:
            connection.close()
        return answers


def make_loader(kind: str, folder: Path, key: str, connections: int) -> Loader:
    """Return a load generator.

    Args:
        kind: one of `LOADERS`.
        folder: for wrk's script.
        key: the API key's secret.
        connections: number of connections.

    Raises:
        LabError: wrk is not installed.
    """
    if kind == BUILTIN:
        return _Builtin(key, connections)
    program = shutil.which("wrk")
    if program is None:
        raise LabError(WRK_MISSING)
    return _Wrk(program, folder, key, connections)


async def post_all(
    port: int, key: str, bodies: Sequence[bytes], *, connections: int, rate: float = 0.0
) -> None:
    """Send triggers over some connections.

    Args:
        port: the gateway's port.
        key: the API key's secret.
        bodies: the bodies of the triggers.
        connections: number of connections, which share the bodies.
        rate: triggers per second; 0 sends each as soon as the one before it is answered.

    Raises:
        LabError: an answer was not 204.
    """
    parts = [bodies[number::connections] for number in range(connections)]
    await asyncio.gather(*(_post_part(port, key, part, rate / connections) for part in parts))


async def _post_part(port: int, key: str, bodies: Sequence[bytes], rate: float) -> None:
    connection = Connection(port, key)
    begun = time.monotonic()
    for number, body in enumerate(bodies):
        if rate:
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        answer = await connection.post(PATH, body)
        if answer.status != HTTPStatus.NO_CONTENT:
            raise LabError(f"a valid trigger was answered with {answer.status} instead of 204")
    connection.close()


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
