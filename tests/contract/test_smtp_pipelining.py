from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit.smtp_provider import ADDRESS, failure, make_email, provider_for
from tests.kit.smtp_servers import (
    CERTIFICATE,
    GREETING,
    OK,
    PIPELINING,
    converse,
    mail_server,
    receive_envelope,
    scripted_server,
    server_tls,
    take_mail,
)

ENVELOPE = b"MAIL FROM:<shop@example.com>\r\nRCPT TO:<zoe.sommer@example.org>\r\nDATA\r\n"
GO_AHEAD = b"354 Go ahead\r\n"
END = b"\r\n.\r\n"

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_pipelined_envelope_is_one_write(size: int) -> None:
    """Replies may arrive together or in pieces of any size."""
    received: list[bytes] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        received.append(await receive_envelope(reader, writer))
        answers = b"250-2.1.0 Sender\r\n250 2.1.0 is fine\r\n250 2.1.5 OK\r\n" + GO_AHEAD
        for start in range(0, len(answers), size):
            writer.write(answers[start : start + size])
            await asyncio.sleep(0.001)
        received.append(await reader.readuntil(END))
        writer.write(b"250 2.0.0 queued as 77\r\n")

    async with scripted_server(serve) as port, provider_for(port) as provider:
        message_id = await provider.send(make_email(text=".dot"))
    assert message_id == "77"
    assert received[0] == ENVELOPE
    assert received[1].startswith(b"From: ")
    assert b"\r\n..dot\r\n" in received[1]


@pytest.mark.parametrize("ehlo", [OK, b"502 What?\r\n", b"250-mail.example.com\r\n250 X-PIPELINING\r\n"])
async def test_without_pipelining_each_command_waits(ehlo: bytes) -> None:
    received: list[bytes] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        writer.write(GREETING)
        while (line := await reader.readline()) != b"DATA\r\n":
            received.append(line[:4])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readexactly(1), 0.05)
            writer.write(ehlo if line.startswith(b"EHLO") else OK)
        writer.write(GO_AHEAD)
        await reader.readuntil(END)
        writer.write(OK)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        await provider.send(make_email())
    assert received[-2:] == [b"MAIL", b"RCPT"]


async def test_an_encrypted_connection_pipelines() -> None:
    settings = {"security": "starttls", "host": "localhost", "ca_file": str(CERTIFICATE)}
    async with (
        mail_server(pipelining=True, tls_context=server_tls(), require_starttls=True) as server,
        provider_for(server.port, **settings) as provider,
    ):
        for _ in range(10):
            await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (1, 10)


@pytest.mark.parametrize(
    ("command", "answer", "expected", "stage"),
    [
        ("mail", "550 5.1.7 Bad sender", Verdict.LATER, "at MAIL FROM"),
        ("mail", "450 4.7.1 Slow down", Verdict.PROVIDER_DOWN, "at MAIL FROM"),
        ("rcpt", f"550 5.1.1 <{ADDRESS}>: unknown", Verdict.RECIPIENT_REFUSED, "at RCPT TO"),
        ("rcpt", "450 4.2.0 Greylisted", Verdict.LATER, "at RCPT TO"),
        ("data", "554 5.7.1 Spam", Verdict.NEVER, "sending the content"),
        ("data", "451 4.3.0 Try again", Verdict.PROVIDER_DOWN, "sending the content"),
    ],
)
async def test_a_rejection_leaves_the_connection_usable(
    command: str, answer: str, expected: Verdict, stage: str
) -> None:
    async with mail_server(pipelining=True) as server, provider_for(server.port) as provider:
        getattr(server, f"to_{command}").append(answer)
        error = await failure(provider)
        assert error.verdict is expected
        assert str(error) == f"SMTP {answer} ({stage})".replace(ADDRESS, "[recipient]")
        await provider.send(make_email())
        await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (1, 2)


async def test_content_is_not_sent_after_a_rejection() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await receive_envelope(reader, writer)
        writer.write(OK + OK + b"554 5.7.1 Not from you\r\n")
        assert await reader.readexactly(6) == b"RSET\r\n"
        await receive_envelope(reader, writer, greeting=b"")
        writer.write(OK + OK + OK + GO_AHEAD)
        await reader.readuntil(END)
        writer.write(OK)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider)
        assert str(error) == "SMTP 554 5.7.1 Not from you (at DATA)"
        await provider.send(make_email())


@pytest.mark.parametrize("answer", [b"554 5.5.1 No valid recipients\r\n", OK])
async def test_a_server_without_recipients_gets_empty_content(answer: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await receive_envelope(reader, writer)
        writer.write(OK + b"550 5.1.1 Unknown\r\n" + GO_AHEAD)
        assert await reader.readexactly(3) == b".\r\n"
        writer.write(answer)
        assert await receive_envelope(reader, writer, greeting=b"") == b"RSET\r\n" + ENVELOPE
        writer.write(OK + OK + OK + GO_AHEAD)
        await reader.readuntil(END)
        writer.write(OK)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        assert (await failure(provider)).verdict is Verdict.RECIPIENT_REFUSED
        await provider.send(make_email())


async def result_of(answers: bytes) -> tuple[ProviderError, bytes]:
    """Answer a pipelined envelope, and return the error and the data written after it."""
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: Reader, writer: Writer) -> None:
        await receive_envelope(reader, writer)
        writer.write(answers)
        try:
            rest.set_result(await reader.read(-1))
        except ConnectionError:
            rest.set_result(b"")

    async with scripted_server(serve) as port:
        async with provider_for(port) as provider:
            error = await failure(provider)
        return error, await asyncio.wait_for(rest, 60)


@pytest.mark.parametrize(
    ("answers", "expected", "words"),
    [
        # It rejected the sender but accepted the recipient: even an empty message might be delivered.
        (b"550 5.1.7 Bad sender\r\n" + OK + GO_AHEAD, Verdict.LATER, "SMTP 550 5.1.7 Bad sender"),
        # With more replies than commands, later replies cannot be assigned.
        (OK + OK + GO_AHEAD + OK, Verdict.PROVIDER_DOWN, "unsolicited reply from the server: 250 OK"),
        (OK + OK + OK, Verdict.PROVIDER_DOWN, "SMTP 250 OK (at DATA)"),
        (GO_AHEAD + OK + GO_AHEAD, Verdict.PROVIDER_DOWN, "SMTP 354 Go ahead (at MAIL FROM)"),
        (
            OK + b"What?\r\n" + GO_AHEAD,
            Verdict.PROVIDER_DOWN,
            "the server's reply is not SMTP: 'What?' (at RCPT TO)",
        ),
        (b"421 4.3.2 Closing\r\n", Verdict.PROVIDER_DOWN, "SMTP 421 4.3.2 Closing (at MAIL FROM)"),
        (
            OK + b"421 4.3.2 Closing\r\n",
            Verdict.PROVIDER_DOWN,
            "SMTP 421 4.3.2 Closing (at RCPT TO)",
        ),
        # A rejection counts, whatever the other replies are.
        (OK + b"550 5.1.1 No\r\n" + b"???\r\n", Verdict.RECIPIENT_REFUSED, "SMTP 550 5.1.1 No"),
        (OK + b"550 5.1.1 No\r\n" + b"421 Bye\r\n", Verdict.RECIPIENT_REFUSED, "SMTP 550 5.1.1 No"),
    ],
)
async def test_unexpected_replies_prevent_the_content(answers: bytes, expected: Verdict, words: str) -> None:
    error, rest = await result_of(answers)
    assert error.verdict is expected
    assert str(error).startswith(words)
    assert rest in {b"", b"QUIT\r\n"}


async def test_a_rejection_counts_if_the_server_then_closes() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await receive_envelope(reader, writer)
        writer.write(OK + b"550 5.1.1 Unknown\r\n")

    async with scripted_server(serve) as port, provider_for(port) as provider:
        assert (await failure(provider)).verdict is Verdict.RECIPIENT_REFUSED


async def close_on_the_next_command(reader: Reader, _: Writer) -> None:
    await reader.readline()


async def say_goodbye_on_the_next_command(reader: Reader, writer: Writer) -> None:
    await reader.readline()
    writer.write(b"421 4.4.2 Idle for too long\r\n")


async def send_an_unsolicited_goodbye(_: Reader, writer: Writer) -> None:
    writer.write(b"421 4.4.2 Idle for too long\r\n")


async def close_before_the_content(reader: Reader, writer: Writer) -> None:
    """Close after the envelope, before the content is sent."""
    await converse(reader, writer, b"DATA", b"")


@pytest.mark.parametrize("ehlo", [OK, PIPELINING])
@pytest.mark.parametrize(
    "ending",
    [
        close_on_the_next_command,
        say_goodbye_on_the_next_command,
        send_an_unsolicited_goodbye,
        close_before_the_content,
    ],
)
async def test_a_lost_pooled_connection_is_replaced(
    ehlo: bytes, ending: Callable[[Reader, Writer], Awaitable[None]]
) -> None:
    taken: list[bytes] = []

    async def serve_one_mail(reader: Reader, writer: Writer) -> None:
        taken.append(await take_mail(reader, writer, ehlo=ehlo))
        await ending(reader, writer)

    async with scripted_server(serve_one_mail) as port, provider_for(port) as provider:
        for _ in range(3):
            await provider.send(make_email())
    assert len(taken) == 3


@pytest.mark.parametrize("ehlo", [OK, PIPELINING])
async def test_a_message_lost_in_content_is_not_resent(ehlo: bytes) -> None:
    taken: list[bytes] = []

    async def hang_up_on_the_second_mail(reader: Reader, writer: Writer) -> None:
        taken.append(await take_mail(reader, writer, ehlo=ehlo))
        taken.append(await take_mail(reader, writer, greeting=b"", answer=b""))

    async with scripted_server(hang_up_on_the_second_mail) as port, provider_for(port) as provider:
        await provider.send(make_email())
        error = await failure(provider)
    assert error.verdict is Verdict.IN_DOUBT
    assert str(error) == "the server closed the connection (sending the content)"
    assert len(taken) == 2
