"""One SMTP connection, which carries one message at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, cast

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from .classify import Stage, is_refusal
from .replies import Answers

__all__ = ["Connection"]

_GO_AHEAD = 354
_DONE = frozenset(range(200, 300))
"""By the first digit, as RFC 5321 section 4.2.1 asks for codes that a client does not know."""


class _Step(NamedTuple):
    """A command of a message's envelope, how far the message is when it is given, and what means yes."""

    stage: Stage
    command: bytes
    yes: frozenset[int] = _DONE


_RESET = _Step(Stage.CONNECT, b"RSET\r\n")
_DATA = _Step(Stage.DATA, b"DATA\r\n", frozenset({_GO_AHEAD}))


class Connection:
    """Opened by the first message, and not again once it is gone."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        """Take a client that is not connected. It connects, encrypts and logs in."""
        self._client = client
        self._answers: Answers | None = None
        self._pipelining = False
        self._unclean = False
        self.carried = 0
        self.last_used = 0.0
        self.stage = Stage.CONNECT

    @property
    def is_open(self) -> bool:
        """Whether it can carry a message, as far as we know."""
        return self._answers is not None and self._answers.is_open

    async def carry(self, sender: str, recipient: str, content: bytes) -> str:
        """Send a message and return the server's last words. `stage` tells how far it came.

        Args:
            sender: An address as `envelope_address` returns it; so is `recipient`.
            recipient: Who is to get it.
            content: The message as `compose` returns it: all line ends are CRLF, the last included.

        Raises:
            SMTPException: From aiosmtplib: refused, closed, or no SMTP at all.
            OSError: The network failed.
        """
        self.stage = Stage.CONNECT
        self.carried += 1
        answers = self._answers or await self._open()
        steps = [
            _Step(Stage.SENDER, b"MAIL FROM:<%b>\r\n" % sender.encode("ascii")),
            _Step(Stage.RECIPIENT, b"RCPT TO:<%b>\r\n" % recipient.encode("ascii")),
            _DATA,
        ]
        give = self._give_at_once if self._pipelining else self._give_in_turn
        await give(answers, [_RESET, *steps] if self._unclean else steps)
        self._unclean = False
        self.stage = Stage.CONTENT
        answers.ask(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return _accepted(await answers.next(), _DONE).message

    async def _open(self) -> Answers:
        client = self._client
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await self._greet()
        self._pipelining = client.supports_extension("pipelining")
        self._answers = Answers(cast("asyncio.Transport", client.transport))
        return self._answers

    async def _greet(self) -> None:
        try:
            await self._client.ehlo()
        except aiosmtplib.SMTPHeloError:
            if not self._client.is_connected:
                raise
            await self._client.helo()

    async def _give_in_turn(self, answers: Answers, steps: Sequence[_Step]) -> None:
        for step in steps:
            self.stage = step.stage
            answers.ask(step.command)
            _accepted(await answers.next(), step.yes)

    async def _give_at_once(self, answers: Answers, steps: Sequence[_Step]) -> None:
        """Write all commands together (RFC 2920). `stage` stays where the first was refused."""
        answers.ask(*(step.command for step in steps))
        for number, step in enumerate(steps, start=1):
            self.stage = step.stage
            answer = await answers.next()
            if answer.code in step.yes:
                continue
            if is_refusal(answer.code):
                await _leave(answers, steps[number:])
            raise SMTPResponseException(*answer)

    def refused(self, error: Exception) -> None:
        """Note what a failed `carry` means for the connection: it can go on after a refusal."""
        if isinstance(error, SMTPResponseException) and is_refusal(error.code):
            self._unclean = True
        else:
            self.abort()

    def abort(self) -> None:
        """Cut it off. What is still in the buffer must not leave after the send was given up."""
        if self._client.transport is not None:
            cast("asyncio.WriteTransport", self._client.transport).abort()
        self._client.close()

    def close(self) -> None:
        """Close an idle connection, without waiting for the server's goodbye."""
        if self._answers is not None and self._answers.is_open:
            self._answers.ask(b"QUIT\r\n")
        self._client.close()


def _accepted(answer: SMTPResponse, yes: frozenset[int]) -> SMTPResponse:
    if answer.code not in yes:
        raise SMTPResponseException(*answer)
    return answer


async def _leave(answers: Answers, rest: Sequence[_Step]) -> None:
    """Read the answers to what was written behind a refused command, and send no message to anybody.

    A server that waits for content all the same gets an empty one, which RFC 2920 section 3.2 forbids
    it to send to anyone. That holds where it has no recipient; where it took one, we cut the connection.
    """
    try:
        codes = {step.stage: (await answers.next()).code for step in rest}
        if codes.get(Stage.DATA) != _GO_AHEAD:
            return
        if codes.get(Stage.RECIPIENT) in _DONE:
            answers.abort()
            return
        answers.ask(b".\r\n")
        await answers.next()
    except (SMTPException, OSError):
        answers.abort()  # the refusal is known, and it is what counts
