"""Sends commands and reads replies on an SMTP connection.

aiosmtplib opens the connection, but it loses replies that arrive together, and so cannot pipeline commands
(RFC 2920). This protocol replaces its reader once the connection is open.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque

from aiosmtplib import SMTPResponse, SMTPResponseException, SMTPServerDisconnected

__all__ = ["PipelinedProtocol"]
_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])([^\r]*))?\r?")
_MAX_REPLY = 32 * 1024
"""Maximum octets of one reply: more than enough lines of 512 octets, the limit of RFC 5321."""
_INVALID = -1
"""The code of an invalid reply, as in aiosmtplib."""


class PipelinedProtocol(asyncio.Protocol):
    """Writes commands and reads their replies.

    It counts the expected replies. Otherwise an unsolicited one would count as the next command's reply.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Replace the protocol of an open transport."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._expected = 0
        self._replies: deque[SMTPResponse] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_late = False
        transport.set_protocol(self)
        transport.set_write_buffer_limits(
            high=0
        )  # so that `resume_writing` means that all data has been sent

    @property
    def is_open(self) -> bool:
        """Whether the connection is usable, as far as is known."""
        return self._error is None and not self._transport.is_closing()

    def send(self, *commands: bytes) -> None:
        """Write commands together. The server sends one reply to each.

        Args:
            commands: Each includes its line end.

        Raises:
            SMTPServerDisconnected: The connection is closed.
            SMTPResponseException: The server sent an invalid reply.
        """
        if self._error:
            raise self._error
        self._expected += len(commands)
        self._transport.write(b"".join(commands))

    @property
    def is_flushed(self) -> bool:
        """Whether all commands were passed to the operating system, so that the server may have them."""
        return not self._transport.get_write_buffer_size()

    async def flush(self, seconds: float) -> None:
        """Wait until all commands were passed to the operating system, or until the server replies earlier.

        Args:
            seconds: The time limit.

        Raises:
            SMTPServerDisconnected: The connection is closed.
            SMTPResponseException: The server sent an invalid reply.
            TimeoutError: It took too long.
        """
        if not self._is_ready(or_flushed=True):
            await self._wait(seconds, or_flushed=True)

    async def read(self, seconds: float | None = None) -> SMTPResponse:
        """Wait for the next reply.

        Args:
            seconds: The time limit; None if the caller has its own.

        Raises:
            SMTPServerDisconnected: The connection is closed.
            SMTPResponseException: The server sent an invalid reply.
            TimeoutError: It took too long.
        """
        # The replies to pipelined commands arrive together, so most of them need no timer.
        if not self._is_ready():
            await self._wait(seconds)
        return self._replies.popleft()

    async def _wait(self, seconds: float | None, *, or_flushed: bool = False) -> None:
        # A timer of the loop takes a third of the CPU of `asyncio.timeout`.
        timer = None if seconds is None else self._loop.call_later(seconds, self._time_out)
        self._is_late = False
        try:
            while not self._is_ready(or_flushed=or_flushed):
                if self._is_late:
                    raise TimeoutError(f"no reply within {seconds:g} s")
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            if timer:
                timer.cancel()

    def _time_out(self) -> None:
        self._is_late = True
        self._wake()

    def _is_ready(self, *, or_flushed: bool = False) -> bool:
        """Return whether there is a reply, or nothing left to write; raise the connection's error."""
        if self._replies:
            return True
        if self._error:
            raise self._error
        return or_flushed and self.is_flushed

    def abort(self) -> None:
        """Drop the connection with its unsent data."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Split received data into lines."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if self._error is None:
                self._add_line(line)
        if self._size + len(self._unread) > _MAX_REPLY:
            self._fail(SMTPResponseException(_INVALID, "the server's reply is too long"))
        self._wake()

    def resume_writing(self) -> None:
        """Record that all data has been sent."""
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that no more replies will arrive."""
        lost = SMTPServerDisconnected(str(exc) if exc else "the server closed the connection")
        self._error = self._error or lost
        self._wake()

    def _add_line(self, line: bytes) -> None:
        """Add a line to the reply; a line without a hyphen completes it."""
        match = _LINE.fullmatch(line)
        if match is None:
            start = line[:80].decode("utf-8", "replace").strip()
            self._fail(SMTPResponseException(_INVALID, f"the server's reply is not SMTP: {start!r}"))
            return
        code, mark, rest = match.groups()
        self._lines.append((rest or b"").strip())
        self._size += len(line)
        if mark == b"-":
            return
        text = b"\n".join(self._lines).decode("utf-8", "replace")
        self._lines, self._size = [], 0
        self._complete(SMTPResponse(int(code), text))

    def _complete(self, reply: SMTPResponse) -> None:
        if self._expected:
            self._expected -= 1
            self._replies.append(reply)
        else:
            # Most often a 421: the server is about to close an idle connection.
            self._fail(SMTPServerDisconnected(f"unsolicited reply from the server: {reply}"))

    def _fail(self, error: Exception) -> None:
        """Drop the connection; the first error is the one that callers get."""
        self._error = self._error or error
        self._transport.abort()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
