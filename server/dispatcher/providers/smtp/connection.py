"""One SMTP connection, which carries one message at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from ....domain.delivery_errors import ProviderError, Verdict
from .classify import Stage, is_refusal
from .protocol import PipelinedProtocol
from .session import Offers, SessionOptions, open_session

__all__ = ["CONTENT_SECONDS", "Connection", "TimeLimits"]

T = TypeVar("T")
CONTENT_SECONDS = 180.0
"""Seconds for the server to accept the content (RFC 5321 section 4.5.3.2.5)."""
_GO_AHEAD = 354
_DONE = frozenset(range(200, 300))
"""Any code with this first digit, because clients must accept unknown codes (RFC 5321 section 4.2.1)."""


_ANSWERS = _DONE | frozenset(range(400, 600))
"""The codes that report whether the server accepted the content."""


class _Step(NamedTuple):
    """An SMTP command, the stage at which it is sent, and the reply codes that mean success."""

    stage: Stage
    command: bytes
    expected: frozenset[int] = _DONE


_RESET = _Step(Stage.CONNECT, b"RSET\r\n")
_DATA = _Step(Stage.DATA, b"DATA\r\n", frozenset({_GO_AHEAD}))


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Time limits of a connection in seconds."""

    reply: float
    """To open the session, and for each reply before the content."""
    answer: float
    """For the reply to the content."""


class Connection:
    """A connection that is opened by its first message and never reopened."""

    def __init__(self, client: aiosmtplib.SMTP, options: SessionOptions, limits: TimeLimits) -> None:
        """Create a connection that is not open yet.

        Args:
            client: Not connected yet.
            options: How to open the session.
            limits: When to give up waiting for the server.
        """
        self._client = client
        self._options = options
        self._limits = limits
        self._protocol: PipelinedProtocol | None = None
        self._offers = Offers(pipelining=False, max_size=None)
        self._needs_reset = False
        self.carried = 0
        self.last_used = 0.0
        self.stage = Stage.CONNECT
        self.is_in_doubt = False

    @property
    def is_open(self) -> bool:
        """Whether it can send a message, as far as is known."""
        return self._protocol is not None and self._protocol.is_open

    async def carry(self, sender: str, recipient: str, content: bytes) -> str:
        """Send a message and return the text of the server's last reply.

        After an error, `stage` is the stage at which it occurred, and `is_in_doubt` says whether the server
        may have the whole message without having answered.

        Args:
            sender: The sender's address, as returned by `envelope_address`.
            recipient: The recipient's address, as returned by `envelope_address`.
            content: The message as returned by `compose`: all lines end in CRLF.

        Raises:
            SMTPException: The server rejected the message, closed the connection, or does not speak SMTP.
            OSError: The network failed, or the server took too long.
            ProviderError: The message exceeds the size that the server accepts. Nothing of it was sent.
        """
        self.stage, self.is_in_doubt = Stage.CONNECT, False
        self.carried += 1
        protocol = self._protocol
        if protocol is None:
            protocol = await _within(self._limits.reply, self._open())
        steps = [
            _Step(
                Stage.SENDER,
                b"MAIL FROM:<%b>%b\r\n" % (sender.encode("ascii"), self._size_parameter(content)),
            ),
            _Step(Stage.RECIPIENT, b"RCPT TO:<%b>\r\n" % recipient.encode("ascii")),
            _DATA,
        ]
        send = self._pipeline if self._offers.pipelining else self._send_in_turn
        await send(protocol, [_RESET, *steps] if self._needs_reset else steps)
        self._needs_reset = False
        self.stage = Stage.CONTENT
        protocol.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return await self._deliver(protocol)

    async def _deliver(self, protocol: PipelinedProtocol) -> str:
        """Wait until the content has been sent, and for the server's reply to it."""
        await protocol.flush(CONTENT_SECONDS)
        self.is_in_doubt = protocol.is_flushed
        reply = await protocol.read(self._limits.answer)
        self.is_in_doubt = reply.code not in _ANSWERS
        return _accepted(reply, _DONE).message

    async def _open(self) -> PipelinedProtocol:
        self._offers = await open_session(self._client, self._options)
        self._protocol = PipelinedProtocol(cast("asyncio.Transport", self._client.transport))
        return self._protocol

    def _size_parameter(self, content: bytes) -> bytes:
        """Return the parameter that declares the message's size, if the server offers it (RFC 1870)."""
        most, size = self._offers.max_size, len(content)
        if most is None:
            return b""
        if 0 < most < size:
            problem = f"the email has {size} octets; the server accepts at most {most}"
            raise ProviderError(Verdict.NEVER, problem, reached_provider=False)
        return b" SIZE=%d" % size

    async def _send_in_turn(self, protocol: PipelinedProtocol, steps: Sequence[_Step]) -> None:
        for step in steps:
            self.stage = step.stage
            protocol.send(step.command)
            _accepted(await protocol.read(self._limits.reply), step.expected)

    async def _pipeline(self, protocol: PipelinedProtocol, steps: Sequence[_Step]) -> None:
        """Write all commands together (RFC 2920). After an error, `stage` is that of the rejected command."""
        protocol.send(*(step.command for step in steps))
        for number, step in enumerate(steps, start=1):
            self.stage = step.stage
            reply = await protocol.read(self._limits.reply)
            if reply.code in step.expected:
                continue
            if is_refusal(reply.code):
                await _within(self._limits.reply, _abandon(protocol, steps[number:]))
            raise SMTPResponseException(*reply)

    def record_failure(self, error: Exception) -> None:
        """Abort the connection after an error, unless the server only rejected the message."""
        if isinstance(error, SMTPResponseException) and is_refusal(error.code):
            self._needs_reset = True
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection and its unsent data, so that nothing is sent after `carry` was cancelled."""
        if self._client.transport is not None:
            cast("asyncio.WriteTransport", self._client.transport).abort()
        self._client.close()

    def close(self) -> None:
        """Close an idle connection, without waiting for the reply to QUIT."""
        if self._protocol is not None and self._protocol.is_open:
            self._protocol.send(b"QUIT\r\n")
        self._client.close()


async def _within(seconds: float, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise TimeoutError(f"no reply within {seconds:g} s") from None


def _accepted(reply: SMTPResponse, expected: frozenset[int]) -> SMTPResponse:
    if reply.code not in expected:
        raise SMTPResponseException(*reply)
    return reply


async def _abandon(protocol: PipelinedProtocol, rest: Sequence[_Step]) -> None:
    """Read the replies to the commands after a rejected one, without sending a message.

    If the server waits for content although it accepted no recipient, it gets an empty message, which it must
    not deliver (RFC 2920 section 3.2). If it accepted a recipient, the connection is dropped.
    """
    try:
        codes = {step.stage: (await protocol.read()).code for step in rest}
        if codes.get(Stage.DATA) != _GO_AHEAD:
            return
        if codes.get(Stage.RECIPIENT) in _DONE:
            protocol.abort()
            return
        protocol.send(b".\r\n")
        await protocol.read()
    except (SMTPException, OSError):
        protocol.abort()  # the caller raises the error that matters: the rejection
