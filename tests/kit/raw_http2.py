"""HTTP/2 frame by frame, for callers that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

from tests.kit.gateway import JSON, KEY, ToyStack, trigger_path

__all__ = ["Caller", "Received", "headers", "http2"]

QUESTION = {":method": "POST", ":scheme": "http", ":authority": "a", ":path": trigger_path("44")}
SECONDS = 60
HEADERS_FRAME, END_HEADERS = 0x1, 0x4


def headers(**more: str) -> list[tuple[str, str]]:
    """Return those of a good trigger, and more."""
    return list({**QUESTION, **KEY, **JSON, **more}.items())


@dataclass
class Received:
    """What a gateway said on one connection."""

    headers: dict[str, str] = field(default_factory=dict)
    """Trailers too."""
    body: bytes = b""
    settings: dict[int, int] = field(default_factory=dict)
    ended: bool = False
    reset: bool = False
    goaway: bool = False
    closed: bool = False


class Caller:
    """One connection. What is sent need not be legal."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        legal = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.machine = h2.connection.H2Connection(legal)
        self.machine.initiate_connection()
        self.received = Received()
        self._reader, self._writer = reader, writer

    def send(self, more: bytes = b"") -> None:
        """Send what the machine has, then the given bytes."""
        self._writer.write(self.machine.data_to_send() + more)

    def send_without_end_of_headers(self) -> None:
        """Send the one HEADERS frame that the machine has, marked as "to be continued"."""
        frame = bytearray(self.machine.data_to_send())
        assert frame[3] == HEADERS_FRAME
        frame[4] &= ~END_HEADERS
        self._writer.write(bytes(frame))

    async def until(self, what: str, *, answering: bool = True) -> Received:
        """Read until this member of `received` is true, or the connection is closed."""
        async with asyncio.timeout(SECONDS):
            while not (getattr(self.received, what) or self.received.closed):
                try:
                    data = await self._reader.read(65536)
                except ConnectionError:
                    data = b""
                self.received.closed = not data
                for event in self.machine.receive_data(data):
                    self._note(event)
                if answering:
                    self.send()
        return self.received

    def _note(self, event: h2.events.Event) -> None:
        received = self.received
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                received.headers |= {name.decode(): value.decode() for name, value in event.headers or []}
            case h2.events.DataReceived():
                received.body += event.data or b""
            case h2.events.RemoteSettingsChanged():
                received.settings |= {int(key): one.new_value for key, one in event.changed_settings.items()}
            case h2.events.StreamEnded():
                received.ended = True
            case h2.events.StreamReset():
                received.reset = True
            case h2.events.ConnectionTerminated():
                received.goaway = True
            case _:
                pass


@contextlib.asynccontextmanager
async def http2(toy_stack: ToyStack) -> AsyncIterator[Caller]:
    """Open a connection for the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", toy_stack.options.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
