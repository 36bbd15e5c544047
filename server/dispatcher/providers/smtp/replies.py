"""The server's answers on an SMTP connection, one by one, however they arrive.

aiosmtplib opens the connection, but it loses answers that come together, and so cannot pipeline
(RFC 2920): from then on this protocol reads in its place.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque

from aiosmtplib import SMTPResponse, SMTPResponseException, SMTPServerDisconnected

__all__ = ["Answers"]

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])([^\r]*))?\r?")
_MAX_ANSWER = 32 * 1024
"""Octets of one answer. RFC 5321 allows lines of 512; nobody needs more than some of these."""
_INVALID = -1
"""The code of what is no answer, as in aiosmtplib."""


class Answers(asyncio.Protocol):
    """Asks and reads. It counts what was asked: an answer too many would be taken for the next one's."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take over the reading of a transport."""
        self._transport = transport
        self._unread = bytearray()
        self._lines: list[bytes] = []
        self._size = 0
        self._owed = 0
        self._answers: deque[SMTPResponse] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether nothing has gone wrong with the connection, as far as we know."""
        return self._error is None and not self._transport.is_closing()

    def ask(self, *commands: bytes) -> None:
        """Write commands, which end their lines themselves, in one go. Each is owed an answer.

        Raises:
            SMTPServerDisconnected: The connection is gone.
            SMTPResponseException: The server has said what is no answer.
        """
        if self._error:
            raise self._error
        self._owed += len(commands)
        self._transport.write(b"".join(commands))

    async def next(self) -> SMTPResponse:
        """Wait for the next answer.

        Raises:
            SMTPServerDisconnected: The connection is gone.
            SMTPResponseException: What came is no answer.
        """
        while not self._answers:
            if self._error:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._answers.popleft()

    def abort(self) -> None:
        """Cut the connection off, with what is still to be written."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Split what comes into lines."""
        self._unread += data
        while self._error is None and (end := self._unread.find(b"\n")) >= 0:
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            self._take(line)
        if self._size + len(self._unread) > _MAX_ANSWER:
            self._fail(SMTPResponseException(_INVALID, "the server's answer is too long"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that no more answers will come."""
        lost = SMTPServerDisconnected(str(exc) if exc else "the server closed the connection")
        self._error = self._error or lost
        self._wake()

    def _take(self, line: bytes) -> None:
        """Take one line; the one without a hyphen completes an answer."""
        match = _LINE.fullmatch(line)
        if match is None:
            said = line[:80].decode("utf-8", "replace").strip()
            self._fail(SMTPResponseException(_INVALID, f"the server's answer is not SMTP: {said!r}"))
            return
        code, mark, words = match.groups()
        self._lines.append((words or b"").strip())
        self._size += len(line)
        if mark == b"-":
            return
        text = b"\n".join(self._lines).decode("utf-8", "replace")
        self._lines, self._size = [], 0
        self._complete(SMTPResponse(int(code), text))

    def _complete(self, answer: SMTPResponse) -> None:
        if self._owed:
            self._owed -= 1
            self._answers.append(answer)
        else:
            # Most often a 421: the server is about to close an idle connection.
            self._fail(SMTPServerDisconnected(f"the server said, unasked: {answer}"))

    def _fail(self, error: Exception) -> None:
        """End the connection; the first error is the one that is told."""
        self._error = self._error or error
        self._transport.abort()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
