"""SMTP servers on port 0: aiosmtpd with scripted replies, and plain scripted servers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import Message as ParsedMail
from email.parser import BytesParser
from email.policy import SMTP as POLICY
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CERTS = Path(__file__).parent / "certs"
CERTIFICATE = CERTS / "smtp-test.pem"


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTS / "smtp-test.key")
    return context


class MailServer:
    """The messages that an aiosmtpd server accepted and its next replies."""

    def __init__(self, *, pipelining: bool = False) -> None:
        self.offers = ["250-PIPELINING"] if pipelining else []
        self.port = 0
        self.connections = 0
        self.contents: list[bytes] = []
        self.mails: list[ParsedMail] = []
        self.recipients: list[str] = []
        self.senders: list[str] = []
        self.encrypted: list[bool] = []
        self.names: list[str] = []
        """The names in EHLO."""
        self.declared: list[list[str]] = []
        """The parameters of each MAIL."""
        self.to_mail: list[str] = []
        self.to_rcpt: list[str] = []
        self.to_data: list[str] = []

    async def handle_EHLO(  # noqa: N802
        self, _: SMTP, session: Session, __: Envelope, hostname: str, answer: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.names.append(hostname)
        return [*answer[:-1], *self.offers, answer[-1]]

    async def handle_MAIL(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, parameters: list[str]
    ) -> str:
        self.declared.append(parameters)
        if self.to_mail:
            return self.to_mail.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if self.to_rcpt:
            return self.to_rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.to_data:
            return self.to_data.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.contents.append(content)
        self.mails.append(BytesParser(policy=POLICY).parsebytes(content))
        self.recipients += envelope.rcpt_tos
        self.senders.append(envelope.mail_from or "")
        self.encrypted.append(session.ssl is not None)
        return "250 2.0.0 Ok: queued as 4F1A2B"


def authenticator(_: SMTP, __: Session, ___: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert mechanism in {"LOGIN", "PLAIN"}
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data.password == b"open sesame", handled=False)


@contextlib.asynccontextmanager
async def mail_server(
    *, tls: ssl.SSLContext | None = None, pipelining: bool = False, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[MailServer]:
    """Run aiosmtpd; `tls` for TLS from the start, other options as in `aiosmtpd.smtp.SMTP`."""
    server, loop = MailServer(pipelining=pipelining), asyncio.get_running_loop()
    open_ones: list[SMTP] = []

    def accept() -> SMTP:
        server.connections += 1
        open_ones.append(SMTP(server, loop=loop, hostname="mail.example.com", **options))
        return open_ones[-1]

    listening = await loop.create_server(accept, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for protocol in open_ones:
            if protocol.transport is not None:
                protocol.transport.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted_server(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that calls `script` with each connection, and yield its port.

    An assertion that fails in the script fails the test.
    """
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        # A connection that the client ends is not a fault; a failed assertion is.
        if end and not isinstance(end, OSError | EOFError | asyncio.CancelledError):
            raise end


GREETING = b"220 mail.example.com\r\n"
OK = b"250 OK\r\n"
PIPELINING = b"250-mail.example.com\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


async def converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    until: bytes,
    greeting: bytes = GREETING,
    ehlo: bytes = OK,
) -> None:
    """Greet, and accept all commands until one that starts with `until` arrives."""
    writer.write(greeting)
    while line := await reader.readline():
        if line.upper().startswith(until):
            return
        writer.write(ehlo if line.upper().startswith(b"EHLO") else OK)


async def take_mail(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    greeting: bytes = GREETING,
    ehlo: bytes = OK,
    answer: bytes = OK,
) -> bytes:
    """Receive one mail and return its content."""
    await converse(reader, writer, b"DATA", greeting, ehlo)
    writer.write(b"354 Go ahead\r\n")
    content = await reader.readuntil(b"\r\n.\r\n")
    writer.write(answer)
    return content


async def receive_envelope(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, greeting: bytes = GREETING
) -> bytes:
    """Offer pipelining, read up to DATA without replying, and return the commands."""
    if greeting:
        writer.write(greeting)
        await reader.readline()
        writer.write(PIPELINING)
    return await reader.readuntil(b"DATA\r\n")
