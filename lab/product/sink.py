"""Where messages end: SMTP and HTTP servers that say yes at once, count, and do nothing else.

`python -m lab.product.sink smtp TALLY [pipelining]` or `… http TALLY` runs one. It speaks just
enough for a client that makes no mistakes. What it saw stands in the file TALLY, where others read it at no
cost to it.
"""

from __future__ import annotations

import asyncio
import functools
import mmap
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from ..bench.plan import BenchError
from .process import bench_module, running, until, with_bench

__all__ = ["PIPELINING", "Sink", "Tally", "main", "sink"]

PIPELINING = "pipelining"
_PORT, _MESSAGES, _DATA_AT = range(3)
_SIZE = 24
_START_SECONDS = 20.0
_EHLO = {False: b"250 sink\r\n", True: b"250-sink\r\n250 PIPELINING\r\n"}
_GOODBYE = b"221 2.0.0 bye\r\n"
_END = b"\r\n.\r\n"
_HTTP = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Tally:
    """Three numbers in a file that two processes share."""

    def __init__(self, file: Path) -> None:
        """Open the file; make it if it is not there."""
        with file.open("a+b") as opened:
            opened.truncate(_SIZE)
            self._numbers = memoryview(mmap.mmap(opened.fileno(), _SIZE)).cast("Q")

    @property
    def port(self) -> int:
        """Where the sink listens; 0 before it does."""
        return self._numbers[_PORT]

    @property
    def messages(self) -> int:
        """How many messages were taken since the sink began."""
        return self._numbers[_MESSAGES]

    @property
    def data_at(self) -> float:
        """When the last `DATA`, or request, came: seconds of `time.monotonic`, the same in all processes."""
        return self._numbers[_DATA_AT] / 1e9

    def listens(self, port: int) -> None:
        """Say where the sink listens."""
        self._numbers[_PORT] = port

    def data(self) -> None:
        """Note a `DATA`."""
        self._numbers[_DATA_AT] = time.monotonic_ns()

    def message(self) -> int:
        """Count a message; return its number."""
        self._numbers[_MESSAGES] += 1
        return self._numbers[_MESSAGES]


class _Protocol(asyncio.Protocol):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._unread = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        answers = []
        while answer := self._next():
            answers.append(answer)
        if answers:
            self._transport.write(b"".join(answers))
        if answers and answers[-1] is _GOODBYE:
            self._transport.close()

    def _next(self) -> bytes | None:
        """Take one request off what came; return its answer, or None if it is not complete."""
        raise NotImplementedError


class _Smtp(_Protocol):
    def __init__(self, tally: Tally, *, pipelining: bool) -> None:
        super().__init__(tally)
        self._ehlo = _EHLO[pipelining]
        self._in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def _next(self) -> bytes | None:
        head, end, rest = self._unread.partition(_END if self._in_content else b"\r\n")
        if not end:
            return None
        if self._in_content:
            self._in_content, self._unread = False, rest
            return b"250 2.0.0 Ok: queued as %d\r\n" % self._tally.message()
        self._unread = rest
        return self._answer(head[:4].upper())

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"DATA":
            self._tally.data()
            self._in_content, self._unread = True, b"\r\n" + self._unread  # the dot may come first
            return b"354 go on\r\n"
        if verb == b"QUIT":
            return _GOODBYE
        return self._ehlo if verb in {b"EHLO", b"HELO"} else b"250 2.0.0 Ok\r\n"


class _Http(_Protocol):
    """Twilio's and FCM's APIs, and the token endpoint that FCM needs."""

    def _next(self) -> bytes | None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if not end or len(rest) < length:
            return None
        self._unread = rest[length:]
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/token"):
            return _json(200, b'{"access_token": "sink", "expires_in": 3600}')
        self._tally.data()
        number = self._tally.message()
        if path.endswith(b"/Messages.json"):
            return _json(201, b'{"sid": "SM%032x", "status": "queued"}' % number)
        return _json(200, b'{"name": "projects/bench/messages/%d"}' % number)


def _json(status: int, body: bytes) -> bytes:
    return _HTTP % (status, len(body), body)


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink."""

    process: asyncio.subprocess.Process
    tally: Tally

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.tally.port

    async def reached(self, messages: int, seconds: float) -> None:
        """Return when it has taken so many messages.

        Raises:
            BenchError: it has not in time.
        """
        if not await until(lambda: self.tally.messages >= messages, seconds):
            raise BenchError(f"{self.tally.messages} of {messages} messages came within {seconds:.0f} s")


@asynccontextmanager
async def sink(folder: Path, name: str, kind: str, *words: str) -> AsyncIterator[Sink]:
    """Run a sink for the block, with its files in the folder."""
    tally = Tally(folder / f"{name}.tally")
    command = bench_module("product.sink", kind, folder / f"{name}.tally", *words)
    async with running(command, folder / f"{name}.log", env=with_bench()) as process:
        if not await until(lambda: bool(tally.port or process.returncode), _START_SECONDS):
            raise BenchError(f"{name} did not start")
        yield Sink(process, tally)


async def _serve(factory: Callable[[], _Protocol], tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, backlog=1000)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    tally.listens(server.sockets[0].getsockname()[1])
    await ended.wait()


def main() -> None:
    """Serve until SIGTERM."""
    kind, file, *words = sys.argv[1:]
    tally = Tally(Path(file))
    factory: Callable[[], _Protocol] = functools.partial(_Http, tally)
    if kind == "smtp":
        factory = functools.partial(_Smtp, tally, pipelining=PIPELINING in words)
    uvloop.run(_serve(factory, tally))


if __name__ == "__main__":
    main()
