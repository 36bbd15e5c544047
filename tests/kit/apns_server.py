"""APNs on port 0: HTTP/2 with the `h2` library, and Apple's rules for tokens, headers and payloads.

    async with apns_server(key) as apns:
        apns.script += [ApnsReply(410, "Unregistered", timestamp=1_700_000_000_000), ApnsReply(then="goaway")]
        ...  # a client of apns.url
        assert apns.accepted[0].payload == {...}

Answers in `script` are sent first; after that every valid notification is accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tests.kit.connections import serving

KEY_ID, TEAM_ID, TOPIC = "KEY4567890", "TEAM567890", "com.example.news"
AN_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Notification:
    """One request as received."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def payload(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class ApnsReply:
    """An answer: a status with Apple's JSON, or with `body` unchanged.

    `after`: seconds before the answer. `then`: instead of a whole answer, `goaway` ends the connection with
    the reason in the frame, `reset` ends only the stream, `leave` ends the connection after the answer,
    `cut` drops it after the status, `garbage` sends invalid HTTP/2, `silence` never answers, and
    `silent connection` never answers later requests on this connection either.
    """

    status: int = 200
    reason: str = ""
    timestamp: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    after: float = 0.0
    held: asyncio.Event | None = None
    then: str = ""

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        members = {"reason": self.reason or None, "timestamp": self.timestamp}
        present = {name: value for name, value in members.items() if value is not None}
        return json.dumps(present).encode() if present else b""


class ApnsServer:
    """The requests that the server received and its next answers."""

    def __init__(self, key: EllipticCurvePrivateKey, clock: Callable[[], float], streams: int) -> None:
        self.url = ""
        self.script: list[ApnsReply] = []
        self.accepted: list[Notification] = []
        self.received: list[Notification] = []
        self.requests = 0
        """How many arrived, including those on a connection that has fallen silent."""
        self.connections = 0
        self.open_now = 0
        self.busiest = 0
        """The maximum number of streams open at once on one connection."""
        self.streams = streams
        self._public_key = key.public_key()
        self._clock = clock

    @property
    def tokens(self) -> set[str]:
        """The provider tokens that were received."""
        return {one.headers.get("authorization", "") for one in self.received}

    def answer(self, notification: Notification) -> ApnsReply:
        """Answer as Apple does."""
        self.received.append(notification)
        if self.script:
            return self.script.pop(0)
        if fault := self._fault_of_token(notification) or _fault_of_message(notification):
            return fault
        self.accepted.append(notification)
        return ApnsReply(headers=(("apns-id", notification.headers["apns-id"].upper()),))

    def _fault_of_token(self, notification: Notification) -> ApnsReply | None:
        scheme, _, token = notification.headers.get("authorization", "").partition(" ")
        if scheme != "bearer":
            return ApnsReply(403, "MissingProviderToken")
        try:
            options: Any = {"verify_iat": False, "require": ["iss", "iat"]}
            claims = jwt.decode(token, self._public_key, algorithms=["ES256"], options=options)
        except jwt.InvalidTokenError:
            return ApnsReply(403, "InvalidProviderToken")
        known = (jwt.get_unverified_header(token).get("kid"), claims["iss"]) == (KEY_ID, TEAM_ID)
        if not known or type(claims["iat"]) is not int:
            return ApnsReply(403, "InvalidProviderToken")
        age = self._clock() - claims["iat"]
        return None if -1 <= age <= AN_HOUR else ApnsReply(403, "ExpiredProviderToken")


def _fault_of_message(notification: Notification) -> ApnsReply | None:
    headers = notification.headers
    good = {
        "BadPath": notification.path.startswith("/3/device/"),
        "BadMessageId": headers["apns-id"] == str(uuid.UUID(headers["apns-id"])),
        "BadTopic": headers["apns-topic"] == TOPIC,
        "InvalidPushType": headers["apns-push-type"] == "alert",
        "BadPriority": headers["apns-priority"] == "10",
        "BadExpirationDate": headers["apns-expiration"].isdecimal(),
        "BadCollapseId": len(headers["apns-collapse-id"]) <= 64,
        "PayloadTooLarge": len(notification.body) <= 4096,
        "PayloadEmpty": isinstance(notification.payload.get("aps"), dict),
    }
    return next((ApnsReply(400, reason) for reason, holds in good.items() if not holds), None)


class _Connection:
    """One connection: the h2 state machine, and a task that answers each stream."""

    def __init__(self, server: ApnsServer, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._number = server.connections
        self._writer = writer
        self._open: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._silent = False
        self._machine = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        limit = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: server.streams}
        self._machine.local_settings = h2.settings.Settings(client=False, initial_values=limit)
        self._machine.initiate_connection()
        self._flush()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(65536):
                for event in self._machine.receive_data(data):
                    self._handle(event)
                self._flush()
        finally:
            for answer in self._answers:
                answer.cancel()
            await asyncio.gather(*self._answers, return_exceptions=True)

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                headers = {str(name): str(value) for name, value in event.headers}
                assert len(headers) == len(event.headers), "a name comes twice"
                self._open[event.stream_id] = (headers, bytearray())
                self._server.busiest = max(self._server.busiest, len(self._open))
            case h2.events.DataReceived():
                self._open[event.stream_id][1].extend(event.data)
                self._machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                task = asyncio.create_task(self._answer(event.stream_id))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)

    async def _answer(self, stream: int) -> None:
        headers, body = self._open[stream]
        assert headers[":method"] == "POST"
        self._server.requests += 1
        if self._silent:
            return
        say = self._server.answer(Notification(headers[":path"], headers, bytes(body), self._number))
        await asyncio.sleep(say.after)
        if say.held:
            await say.held.wait()
        if say.then.startswith("silen"):
            self._silent = say.then == "silent connection"
            return
        del self._open[stream]
        if not self._writer.is_closing():
            self._speak(stream, say)

    def _speak(self, stream: int, say: ApnsReply) -> None:
        if say.then == "goaway":
            self._machine.close_connection(additional_data=say.content())
        elif say.then == "reset":
            self._machine.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        else:
            content = say.content()
            status = [(":status", str(say.status)), *say.headers]
            self._machine.send_headers(stream, status, end_stream=not content)
            if content and say.then in {"", "leave"}:
                self._send(stream, content)
        if say.then == "leave":
            self._machine.close_connection()
        self._flush()
        if say.then == "garbage":
            self._writer.write(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00" * 3)  # increments of 0
        if say.then in {"goaway", "leave", "cut", "garbage"}:
            self._writer.close()

    def _send(self, stream: int, content: bytes) -> None:
        size = self._machine.max_outbound_frame_size
        for start in range(0, len(content), size):
            self._machine.send_data(stream, content[start : start + size])
        self._machine.end_stream(stream)

    def _flush(self) -> None:
        self._writer.write(self._machine.data_to_send())


@contextlib.asynccontextmanager
async def apns_server(
    key: EllipticCurvePrivateKey,
    *,
    clock: Callable[[], float] = time.time,
    streams: int = 1000,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ApnsServer]:
    """Run the server. A request with invalid HTTP/2 or a missing header fails the test."""
    server = ApnsServer(key, clock, streams)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open_now += 1
        try:
            await _Connection(server, writer).serve(reader)
        finally:
            server.open_now -= 1

    async with serving(serve, tls) as server.url:
        yield server
