"""A sink for messages: an SMTP or HTTP server that accepts everything and counts it.

`python -m lab.sink smtp|http COUNTS [OPTIONS]` runs one. It implements only what a correct client needs.
The counts are in a file that other processes map into memory, so reading them costs the sink nothing.
"""

from __future__ import annotations

import asyncio
import functools
import mmap
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import click
import uvloop

from .errors import LabError
from .process import Process, lab_process, until

__all__ = ["MAX_DELAY", "PIPELINING", "Counts", "Mail", "Sink", "main", "read_mails", "sink"]

MAX_DELAY = 0.1
"""Seconds between a mail and its reply, at most, when the sink replies with a random delay."""
PIPELINING = "--pipelining"
_PORT, _MESSAGES, _LAST_AT = range(3)
_SIZE = 24
_EHLO = {False: b"250 sink\r\n", True: b"250-sink\r\n250 PIPELINING\r\n"}
_GOODBYE = b"221 2.0.0 bye\r\n"
_END = b"\r\n.\r\n"
_HTTP = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_HEADERS = re.compile(rb"^(message-id|subject|to): *([^\r]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that the sink received: the time (seconds since 1970), three headers, and the content."""

    at: float
    message_id: str
    subject: str
    to: str = ""
    text: str = ""
    """The body on one line. Only its ASCII characters."""


def read_mails(file: Path) -> list[Mail]:
    """Return the mails in a sink's `--mails` file, in order of arrival."""
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    fields = (line.split("\t") for line in lines)
    return [Mail(float(at), *others) for at, *others in fields]


class Counts:
    """Three numbers in a file that two processes share."""

    def __init__(self, file: Path) -> None:
        """Open the file; create it if it is missing."""
        with file.open("a+b") as opened:
            opened.truncate(_SIZE)
            self._numbers = memoryview(mmap.mmap(opened.fileno(), _SIZE)).cast("Q")

    @property
    def port(self) -> int:
        """The sink's port; 0 until it listens."""
        return self._numbers[_PORT]

    @port.setter
    def port(self, port: int) -> None:
        self._numbers[_PORT] = port

    @property
    def messages(self) -> int:
        """The number of messages received since the sink started."""
        return self._numbers[_MESSAGES]

    @property
    def last_at(self) -> float:
        """When the last `DATA` or request arrived: seconds of the system-wide `time.monotonic`."""
        return self._numbers[_LAST_AT] / 1e9

    def begin_message(self) -> None:
        """Record the arrival of a `DATA` or a request."""
        self._numbers[_LAST_AT] = time.monotonic_ns()

    def count_message(self) -> int:
        """Count a message and return its number."""
        self._numbers[_MESSAGES] += 1
        return self._numbers[_MESSAGES]


class _MailLog:
    """Appends each mail to a file before the sink replies, and chooses the reply's random delay."""

    def __init__(self, file: Path, seed: int) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._random = random.Random(seed)  # noqa: S311 - makes a run repeatable

    def append(self, mail: bytes) -> float:
        """Append a mail in one write, which a kill cannot split; return the seconds until the reply."""
        head, _, body = mail.partition(b"\r\n\r\n")
        found = {name.lower(): value for name, value in _HEADERS.findall(head)}
        text = b" ".join(body.decode("ascii", "ignore").encode().split())
        fields = (*(found[name] for name in (b"message-id", b"subject", b"to")), text)
        os.write(self._file, b"\t".join((f"{time.time():.6f}".encode(), *fields)) + b"\n")
        return self._random.uniform(0, MAX_DELAY)


class _Protocol(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._unread = b""
        self._delayed = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._delayed:
            self._reply()

    def _reply(self) -> None:
        replies = []
        while not self._delayed and (reply := self._next()):
            replies.append(reply)
        if replies:
            self._transport.write(b"".join(replies))
        if replies and replies[-1] is _GOODBYE:
            self._transport.close()

    def _next(self) -> bytes | None:
        """Remove one request from the unread bytes; return its reply, or None if it is incomplete."""
        raise NotImplementedError


class _Smtp(_Protocol):
    def __init__(self, counts: Counts, *, pipelining: bool, mails: _MailLog | None) -> None:
        super().__init__(counts)
        self._ehlo = _EHLO[pipelining]
        self._mails = mails
        self._in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def _next(self) -> bytes | None:
        head, end, rest = self._unread.partition(_END if self._in_content else b"\r\n")
        if not end:
            return None
        self._unread = rest
        if not self._in_content:
            return self._reply_to(head[:4].upper())
        self._in_content = False
        reply = b"250 2.0.0 Ok: queued as %d\r\n" % self._counts.count_message()
        if self._mails is None:
            return reply
        self._delayed = True
        asyncio.get_running_loop().call_later(self._mails.append(head), self._reply_late, reply)
        return None

    def _reply_late(self, reply: bytes) -> None:
        self._delayed = False
        if not self._transport.is_closing():  # the sender may have been killed
            self._transport.write(reply)
            self._reply()

    def _reply_to(self, verb: bytes) -> bytes:
        if verb == b"DATA":
            self._counts.begin_message()
            self._in_content, self._unread = True, b"\r\n" + self._unread  # the first line may be the dot
            return b"354 go on\r\n"
        if verb == b"QUIT":
            return _GOODBYE
        return self._ehlo if verb in {b"EHLO", b"HELO"} else b"250 2.0.0 Ok\r\n"


class _Http(_Protocol):
    """The APIs of Twilio and FCM, and the token endpoint that FCM needs."""

    def _next(self) -> bytes | None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if not end or len(rest) < length:
            return None
        self._unread = rest[length:]
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/token"):
            return _json(200, b'{"access_token": "sink", "expires_in": 3600}')
        self._counts.begin_message()
        number = self._counts.count_message()
        if path.endswith(b"/Messages.json"):
            return _json(201, b'{"sid": "SM%032x", "status": "queued"}' % number)
        return _json(200, b'{"name": "projects/bench/messages/%d"}' % number)


def _json(status: int, body: bytes) -> bytes:
    return _HTTP % (status, len(body), body)


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink."""

    process: Process
    counts: Counts

    @property
    def smtp_settings(self) -> dict[str, object]:
        """The settings of an SMTP provider that sends to this sink."""
        return {"type": "smtp", "host": "127.0.0.1", "port": self.counts.port, "security": "none"}

    async def reached(self, messages: int, seconds: float) -> None:
        """Wait until the sink has received this number of messages.

        Raises:
            LabError: they did not arrive in time.
        """
        if not await until(lambda: self.counts.messages >= messages, seconds):
            raise LabError(f"{self.counts.messages} of {messages} messages arrived within {seconds:.0f} s")


@asynccontextmanager
async def sink(folder: Path, name: str, kind: str, *options: object) -> AsyncIterator[Sink]:
    """Run a sink, with its files in the folder.

    Args:
        folder: where its counts and its log are.
        name: the name of its files.
        kind: `smtp` or `http`.
        options: options of the command.
    """
    file = folder / f"{name}.counts"
    process = lab_process(name, folder, "sink", kind, file, *options, ready="listening")
    async with process.running():
        yield Sink(process, Counts(file))


async def _serve(factory: Callable[[], _Protocol], counts: Counts, host: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, host, 0, backlog=1000)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    counts.port = server.sockets[0].getsockname()[1]
    print("listening", flush=True)
    await ended.wait()


@click.command()
@click.argument("kind", type=click.Choice(["smtp", "http"]))
@click.argument("counts", type=click.Path(path_type=Path))
@click.option(PIPELINING, is_flag=True, help="Offer the SMTP extension PIPELINING.")
@click.option(
    "--mails",
    type=click.Path(path_type=Path),
    help="Append each mail to this file, then reply after a random delay.",
)
@click.option("--seed", type=int, default=0, help="Seed of the delays.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
def main(*, kind: str, counts: Path, pipelining: bool, mails: Path | None, seed: int, host: str) -> None:
    """Accept and count messages until SIGTERM."""
    shared = Counts(counts)
    factory: Callable[[], _Protocol] = functools.partial(_Http, shared)
    if kind == "smtp":
        log = _MailLog(mails, seed) if mails else None
        factory = functools.partial(_Smtp, shared, pipelining=pipelining, mails=log)
    uvloop.run(_serve(factory, shared, host))


if __name__ == "__main__":
    main()
