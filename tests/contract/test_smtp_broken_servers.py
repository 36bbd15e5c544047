from __future__ import annotations

import asyncio
import contextlib

import pytest

from server.domain.delivery_errors import Verdict
from tests.kit.smtp_provider import failure, make_email, provider_for
from tests.kit.smtp_servers import GREETING, OK, PIPELINING, converse, mail_server, scripted_server, take_mail

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
MEGABYTE = "Hallo Welt, dies ist eine Zeile von vielen.\n" * 24_000

both = pytest.mark.parametrize("ehlo", [OK, PIPELINING], ids=["plain", "pipelining"])


async def test_a_refused_connection_is_transient() -> None:
    async with scripted_server(lambda *_: asyncio.sleep(0)) as port:
        pass
    async with provider_for(port) as provider:
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "(connecting)" in str(error)


@both
@pytest.mark.parametrize("until", [b"EHLO", b"MAIL", b"RCPT", b"DATA"])
async def test_a_connection_closed_midway_is_transient(until: bytes, ehlo: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, until, ehlo=ehlo)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN


@both
@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"\xff\xfe\x00 hello\r\n", "not SMTP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not SMTP: 'HTTP/1.1 400 Bad Request'"),
        (b"\r\n", "not SMTP"),
        (b"2\r\n", "not SMTP"),
        (b"250OK\r\n", "not SMTP"),
        (b"999 Hm\r\n", "not SMTP"),
        (b"250 " + b"x" * 40_000, "too long"),
        (b"250-more\r\n" * 4_000, "too long"),
    ],
)
@pytest.mark.parametrize("until", [b"MAIL", b"RCPT", b"DATA"])
async def test_an_invalid_reply_ends_the_connection(
    until: bytes, garbage: bytes, words: str, ehlo: bytes
) -> None:
    closed = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, until, ehlo=ehlo)
        writer.write(garbage)
        try:
            assert b"From:" not in await reader.read(-1)
        finally:
            closed.set()

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider)
        assert error.verdict is Verdict.PROVIDER_DOWN
        assert words in str(error)
        await asyncio.wait_for(closed.wait(), 60)


@pytest.mark.parametrize("greeting", [b"Welcome!\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"220 " + b"x" * 40_000])
async def test_a_missing_greeting_is_transient(greeting: bytes) -> None:
    async def serve(_: Reader, writer: Writer) -> None:
        writer.write(greeting)
        await writer.drain()
        await asyncio.sleep(10)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "(connecting)" in str(error)


@both
@pytest.mark.parametrize("until", [b"EHLO", b"MAIL", b"RCPT", b"DATA"])
async def test_a_silent_server_is_given_up_at_any_stage(until: bytes, ehlo: bytes) -> None:
    left = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        try:
            await converse(reader, writer, until, ehlo=ehlo)
            with contextlib.suppress(ConnectionError):
                assert b"From:" not in await reader.read(-1)
        finally:  # on a busy machine, the client may leave at an earlier stage
            left.set()

    async with scripted_server(serve) as port, provider_for(port, timeout=0.1) as provider:
        error = await failure(provider)
        assert error.verdict is Verdict.PROVIDER_DOWN
        assert str(error).startswith("no reply within 0.1 s (")
        await asyncio.wait_for(left.wait(), 60)


@both
@pytest.mark.parametrize("until", [b"MAIL", b"DATA"])
async def test_a_reply_without_an_end_is_given_up(until: bytes, ehlo: bytes) -> None:
    """Each line wakes the sender, but the time limit is for the whole reply."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, until, ehlo=ehlo)
        while not writer.is_closing():
            writer.write(b"250-more\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with scripted_server(serve) as port, provider_for(port, timeout=0.2) as provider:
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error).startswith("no reply within 0.2 s (")


@both
async def test_a_slow_server_is_awaited(ehlo: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        writer.write(GREETING)
        while (line := await reader.readline()) != b"DATA\r\n":
            await asyncio.sleep(0.03)
            for octet in ehlo if line.startswith(b"EHLO") else OK:
                writer.write(bytes([octet]))
                await asyncio.sleep(0.001)
        writer.write(b"354 Go ahead\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        await asyncio.sleep(0.03)
        writer.write(OK)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        await provider.send(make_email())


@both
async def test_a_megabyte_arrives_unchanged(ehlo: bytes) -> None:
    async with mail_server(pipelining=ehlo == PIPELINING) as server, provider_for(server.port) as provider:
        await provider.send(make_email(text=MEGABYTE, html=""))
        await provider.send(make_email())
    content = server.mails[0].get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.decode().replace("\r\n", "\n").strip() == MEGABYTE.strip()
    assert (server.connections, len(server.mails)) == (1, 2)


@both
async def test_a_message_over_the_size_limit_is_permanent(ehlo: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, b"DATA", ehlo=ehlo)
        writer.write(b"354 Go ahead\r\n")
        await reader.readexactly(1000)
        writer.write(b"552 5.3.4 Too big\r\n")
        while b"\r\n.\r\n" not in await reader.read(100_000):
            pass

    async with scripted_server(serve) as port, provider_for(port) as provider:
        error = await failure(provider, make_email(text=MEGABYTE))
    assert error.verdict is Verdict.NEVER
    assert str(error) == "SMTP 552 5.3.4 Too big (sending the content)"


@both
async def test_a_connection_closed_in_content_is_not_retried(ehlo: bytes) -> None:
    connections: list[bytes] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        await take_mail(reader, writer, ehlo=ehlo)
        await converse(reader, writer, b"DATA", b"")
        writer.write(b"354 Go ahead\r\n")
        connections.append(await reader.readexactly(1000))

    async with scripted_server(serve) as port, provider_for(port) as provider:
        await provider.send(make_email())
        error = await failure(provider, make_email(text=16 * MEGABYTE))
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "sending the content" in str(error)
    assert len(connections) == 1


@both
async def test_a_cancelled_send_does_not_finish_later(ehlo: bytes) -> None:
    begun, left, ended = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop().create_future()

    async def read_slowly(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, b"DATA", ehlo=ehlo)
        writer.write(b"354 Go ahead\r\n")
        begun.set()
        await left.wait()
        try:
            ended.set_result(await reader.read(-1))
        except ConnectionError:
            ended.set_result(b"")

    async with scripted_server(read_slowly) as port, provider_for(port) as provider:
        sending = asyncio.create_task(provider.send(make_email(text="x" * 8_000_000)))
        await asyncio.wait_for(begun.wait(), 60)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        left.set()
        assert not (await asyncio.wait_for(ended, 60)).endswith(b"\r\n.\r\n")
