"""Provides an HTTP/2 connection that can send what a well-behaved client never sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

__all__ = ["Http2", "http2"]

_READ_BYTES = 65_536


class Http2:
    """A connection to the loopback. Streams are opened and left as they are; answers are counted."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, window: int | None = None
    ) -> None:
        """Prepare the connection.

        Args:
            reader: From the gateway.
            writer: To the gateway.
            window: Bytes that the gateway may send on each stream before it must wait for a window update.
        """
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        if window is not None:
            self._h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._acknowledges = window is None
        self._reader = reader
        self._writer = writer
        self.answers: dict[int, str] = {}
        """The HTTP or gRPC status of each stream that was answered."""
        self.trailers: dict[int, dict[str, str]] = {}
        """All headers and trailers that each stream received."""
        self.ended: set[int] = set()
        """The streams that ended."""
        self.resets: set[int] = set()
        """The streams that the gateway reset."""
        self.open = True

    async def request(
        self, headers: Mapping[str, str], *data: bytes, end: bool = True, empty_end: bool = False
    ) -> int | None:
        """Open a stream; return its number, or None if the gateway allows no more now.

        Args:
            headers: All headers, with the pseudo-headers first. A surrogate is a byte that is not UTF-8.
            data: Parts of the body.
            end: Whether the request is complete.
            empty_end: Whether an empty frame ends it, instead of the last frame with content.
        """
        if not self.open:
            return None
        fields = [(name, value.encode(errors="surrogateescape")) for name, value in headers.items()]
        try:
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, fields, end_stream=end and not data and not empty_end)
            for number, part in enumerate(data):
                last = number == len(data) - 1
                self._h2.send_data(stream, part, end_stream=end and last and not empty_end)
            if end and empty_end:
                self._h2.send_data(stream, b"", end_stream=True)
        except h2.exceptions.ProtocolError:  # too many streams, or the window is full
            return None
        await self.flush()
        return stream

    async def flush(self) -> None:
        """Send what is due."""
        with suppress(ConnectionError):
            self._writer.write(self._h2.data_to_send())
            await self._writer.drain()

    async def read(self) -> None:
        """Read answers until the connection closes."""
        with suppress(ConnectionError, h2.exceptions.ProtocolError):
            while data := await self._reader.read(_READ_BYTES):
                for event in self._h2.receive_data(data):
                    self._note(event)
                await self.flush()
        self.open = False

    def _note(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None)
        if not stream:
            return
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                found = self.trailers.setdefault(stream, {})
                found.update({str(name): str(value) for name, value in event.headers or ()})
                self.answers[stream] = found.get("grpc-status") or found[":status"]
            case h2.events.DataReceived() if self._acknowledges:
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case h2.events.StreamEnded():
                self.ended.add(stream)
            case h2.events.StreamReset():
                self.answers.setdefault(stream, "reset")
                self.resets.add(stream)
                self.ended.add(stream)
            case _:
                pass


@asynccontextmanager
async def http2(port: int, *, window: int | None = None) -> AsyncIterator[Http2]:
    """Connect to a port of the loopback for the block; the other argument is that of `Http2`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = Http2(reader, writer, window=window)
    await connection.flush()
    reading = asyncio.create_task(connection.read())
    try:
        yield connection
    finally:
        reading.cancel()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
