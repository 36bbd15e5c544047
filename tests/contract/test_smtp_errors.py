from __future__ import annotations

import asyncio

import pytest

from server.domain.delivery_errors import Verdict
from tests.kit.cases import each_case
from tests.kit.smtp_provider import ADDRESS, failure, make_email, provider_for
from tests.kit.smtp_servers import converse, mail_server, scripted_server

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter

SUPPRESS, NEVER = Verdict.RECIPIENT_REFUSED, Verdict.NEVER
LATER, PROVIDER = Verdict.LATER, Verdict.PROVIDER_DOWN

TO_MAIL = [
    ("421 4.3.2 Shutting down", PROVIDER),
    ("450 4.1.8 Domain of sender not found", LATER),
    ("450 4.7.1 Too many messages", PROVIDER),
    ("451 Local error", PROVIDER),
    ("452 4.3.1 Disk full", PROVIDER),
    ("454 4.7.0 Temporary authentication failure", PROVIDER),
    ("501 5.1.7 Bad sender address syntax", LATER),
    ("503 5.5.1 Who are you?", PROVIDER),
    ("530 5.7.0 Must issue STARTTLS first", PROVIDER),
    ("530 Authentication required", PROVIDER),
    ("550 5.1.1 No such sender", LATER),
    ("550 5.1.8 Bad sender", LATER),
    ("550 5.7.1 Not allowed to send as this sender", LATER),
    ("550 5.7.23 SPF says no", LATER),
    ("550 5.7.60 No permission to send as this sender", LATER),
    ("552 5.3.4 Too big", NEVER),
    ("553 Sender refused", LATER),
    ("554 5.5.2 HELO refused: need a full name", PROVIDER),
    ("555 MAIL parameters not recognized", PROVIDER),
]

TO_RCPT = [
    # Without an enhanced code, or with one that contradicts the basic one.
    ("450 Mailbox unavailable", LATER),
    ("451 Greylisted, try again later", LATER),
    ("452 Too many recipients", PROVIDER),
    ("454 TLS not available", PROVIDER),
    ("500 What?", PROVIDER),
    ("501 Bad syntax", NEVER),
    ("521 This host takes no mail", PROVIDER),
    ("550 No such user zoe.sommer", SUPPRESS),
    ("551 User not local", NEVER),
    ("552 Mailbox full", NEVER),
    ("553 Bad mailbox name", NEVER),
    ("554 No", NEVER),
    ("556 Domain takes no mail", NEVER),
    ("571 Blocked", NEVER),
    ("450 5.1.1 Mailbox unavailable", LATER),
    ("554 4.7.1 Hm", NEVER),
    ("451 4.0.0 Other", LATER),
    ("550 5.0.0 Other", NEVER),
    ("550 5.9.9 A code of the future", NEVER),
    # Address.
    ("450 4.1.1 Unverified", LATER),
    ("450 4.1.2 Domain not found", LATER),
    ("550 5.1.0 Sender address rejected, says Postfix here", LATER),
    (f"550 5.1.1 <{ADDRESS}>: unknown", SUPPRESS),
    ("550 #5.1.1 Unknown, in the words of Cisco", SUPPRESS),
    ("550 5.1.2 No such domain", SUPPRESS),
    ("501 5.1.3 No address", SUPPRESS),
    ("550 5.1.4 Ambiguous", NEVER),
    ("551 5.1.6 Moved", SUPPRESS),
    ("550 5.1.8 Sender's domain not found", LATER),
    ("554 5.1.10 Null MX", SUPPRESS),
    # Mailbox.
    ("450 4.2.0 Greylisted, says Postgrey", LATER),
    ("450 4.2.1 Mailbox busy", LATER),
    ("452 4.2.2 Mailbox full", LATER),
    ("550 5.2.0 Mailbox trouble", NEVER),
    ("550 5.2.1 Disabled", SUPPRESS),
    ("552 5.2.2 Mailbox full", NEVER),
    # Server and network.
    ("451 4.3.0 Lookup failed", PROVIDER),
    ("450 4.3.2 Not now", PROVIDER),
    ("550 5.3.0 No", NEVER),
    ("552 5.3.1 Disk full", PROVIDER),
    ("550 5.3.2 Not now", PROVIDER),
    ("554 5.3.5 Misconfigured", PROVIDER),
    ("451 4.4.1 No answer from host", PROVIDER),
    ("450 4.4.3 Directory server away", PROVIDER),
    ("550 5.4.1 Recipient address rejected, says Exchange", NEVER),
    ("550 5.4.5 Daily sending limit exceeded", PROVIDER),
    ("554 5.4.6 Loop", NEVER),
    # Protocol.
    ("452 4.5.3 Too many recipients", PROVIDER),
    ("550 5.5.0 Mailbox unavailable, says Outlook", NEVER),
    ("503 5.5.1 Bad sequence", PROVIDER),
    ("504 5.5.2 HELO refused: need a full name", PROVIDER),
    # Policy, logins, throttles, signatures.
    (f"451 4.7.1 <{ADDRESS}>: greylisted", LATER),
    ("450 4.7.25 No reverse DNS", LATER),
    ("421 4.7.0 Try again later", PROVIDER),
    ("450 4.7.28 Too much mail from you", PROVIDER),
    ("454 4.7.0 Temporary authentication failure", PROVIDER),
    ("530 5.7.0 Authentication required", PROVIDER),
    ("550 5.7.1 Relaying denied", PROVIDER),
    ("554 5.7.8 Bad credentials", PROVIDER),
    ("534 5.7.9 Mechanism too weak", PROVIDER),
    ("550 5.7.10 Encryption needed", PROVIDER),
    ("550 5.7.13 Account disabled", PROVIDER),
    ("550 5.7.26 Unauthenticated mail", LATER),
    ("550 5.7.28 Too much mail from you", PROVIDER),
]

TO_CONTENT = [
    ("421 4.3.2 Shutting down", PROVIDER),
    ("450 Not this one now", LATER),
    ("451 Local error", PROVIDER),
    ("451 4.3.0 Try again", PROVIDER),
    ("451 4.7.1 Greylisted", LATER),
    ("452 4.3.1 Disk full", PROVIDER),
    ("451 4.6.0 Scanner busy", LATER),
    ("454 4.7.0 Not now", PROVIDER),
    ("550 Refused", NEVER),
    (f"550 5.1.1 {ADDRESS.upper()} unknown", SUPPRESS),
    ("552 5.2.3 Too big for this mailbox", NEVER),
    ("552 5.3.4 Too big", NEVER),
    ("554 5.6.0 Malformed", NEVER),
    ("554 5.7.1 Spam", NEVER),
    ("550 5.7.20 No DKIM signature", LATER),
    ("554 5.9.9 A code of the future", NEVER),
    ("450 4.9.9 A code of the future", PROVIDER),
]

ANSWERS = [
    (command, answer, expected)
    for command, table in (("mail", TO_MAIL), ("rcpt", TO_RCPT), ("data", TO_CONTENT))
    for answer, expected in table
]


@each_case(("command", "answer", "expected"), ANSWERS, ids=lambda value: str(value)[:24])
async def test_verdict_of_each_answer(command: str, answer: str, expected: str) -> None:
    async with mail_server(pipelining=True) as server, provider_for(server.port) as provider:
        getattr(server, f"to_{command}").append(answer)
        error = await failure(provider)
        assert error.verdict == expected
        assert str(error).startswith(f"SMTP {answer[:3]} ")
        await provider.send(make_email())
    assert len(server.mails) == 1


async def test_errors_quote_the_server_without_the_recipient() -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        server.to_rcpt = [f"451 4.7.1 <{ADDRESS}>: greylisted, try later"]
        error = await failure(provider)
        await provider.send(make_email())
    assert str(error) == "SMTP 451 4.7.1 <[recipient]>: greylisted, try later (at RCPT TO)"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"250 Odd\r\n", PROVIDER),
        (b"451 4.7.1 Greylisted\r\n", LATER),
        (b"451 4.3.0 Not now\r\n", PROVIDER),
        (b"554 5.5.1 No valid recipients\r\n", PROVIDER),
        (b"550-5.1.1 Unknown\r\n550 5.1.1 as of today\r\n", SUPPRESS),
        (b"554 5.7.1 Spam\r\n", NEVER),
    ],
)
async def test_data_can_be_rejected_before_the_content(answer: bytes, expected: str) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, b"DATA")
        writer.write(answer)
        assert b"From:" not in await reader.read(-1)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider)
    assert error.verdict == expected
    assert str(error).endswith("(at DATA)")


@pytest.mark.parametrize(
    "answer", ["421 4.3.2 Busy", "454 Hm", "550 5.7.1 Blocked", "554 No SMTP service here"]
)
@pytest.mark.parametrize("command", [b"", b"EHLO"])
async def test_a_rejected_greeting_is_a_provider_failure(command: bytes, answer: str) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        if command:
            await converse(reader, writer, command)
        writer.write(answer.encode() + b"\r\n")
        if await reader.readline():  # HELO, after a rejected EHLO
            writer.write(answer.encode() + b"\r\n")

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider)
    assert error.verdict == PROVIDER
    assert str(error) == f"SMTP {answer} (connecting)"


async def test_a_failing_starttls_is_a_provider_failure() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        ehlo = b"250-mail.example.com\r\n250 STARTTLS\r\n"
        await converse(reader, writer, b"STARTTLS", ehlo=ehlo)
        writer.write(b"454 TLS not available due to temporary reason\r\n")
        assert await reader.read(-1) == b""

    async with scripted_server(serve) as port, provider_for(port, security="starttls") as provider:
        assert (await failure(provider)).verdict is PROVIDER


@pytest.mark.parametrize(
    "answer",
    [
        "454 4.7.0 Temporary authentication failure",
        "534 5.7.9 Too weak",
        "535 5.7.8 Bad",
        "538 5.7.11 In clear?",
    ],
)
async def test_a_rejected_login_is_a_provider_failure(answer: str) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, b"AUTH", ehlo=b"250-mail.example.com\r\n250 AUTH PLAIN\r\n")
        writer.write(answer.encode() + b"\r\n")
        assert b"MAIL" not in await reader.read(-1)

    login = {"username": "shop", "password": "hunter-2"}
    async with scripted_server(serve) as port, provider_for(port, **login) as provider:
        error = await failure(provider)
    assert error.verdict == PROVIDER
    assert str(error) == f"the server refuses the login: SMTP {answer} (connecting)"
