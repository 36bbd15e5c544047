"""Mail whose content the server has, and whose reply is missing: it may have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit.smtp_provider import failure, make_email, provider_for
from tests.kit.smtp_servers import OK, PIPELINING, converse, scripted_server, server_tls, take_mail
from tests.kit.until import until

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]

both = pytest.mark.parametrize("ehlo", [OK, PIPELINING], ids=["plain", "pipelining"])


def receiving(mails: list[bytes], ehlo: bytes, reply: bytes, *, then_wait: bool = False) -> Script:
    """Return a server that receives one mail and writes this reply to it."""

    async def serve(reader: Reader, writer: Writer) -> None:
        mails.append(await take_mail(reader, writer, ehlo=ehlo, answer=reply))
        if then_wait:
            await reader.read(-1)

    return serve


@both
@pytest.mark.parametrize(
    "reply", [b"", b"25", b"354 Go ahead\r\n", b"HTTP/1.1 200 OK\r\n"], ids=["none", "cut", "354", "http"]
)
async def test_a_lost_reply_to_the_content_is_in_doubt(ehlo: bytes, reply: bytes) -> None:
    mails: list[bytes] = []
    async with scripted_server(receiving(mails, ehlo, reply)) as port, provider_for(port) as provider:
        error = await failure(provider)
    assert error.verdict is Verdict.IN_DOUBT
    assert "sending the content" in str(error)
    assert len(mails) == 1


@both
async def test_a_late_reply_to_the_content_is_in_doubt(ehlo: bytes) -> None:
    mails: list[bytes] = []
    server = receiving(mails, ehlo, b"", then_wait=True)
    async with scripted_server(server) as port, provider_for(port, answer_timeout=0.1) as provider:
        error = await failure(provider)
        await until(lambda: mails, "the server has read the mail")
    assert error.verdict is Verdict.IN_DOUBT
    assert str(error) == "no reply within 0.1 s (sending the content)"
    assert len(mails) == 1


@pytest.mark.parametrize("reply", [b"451 4.3.0 Later\r\n", b"421 4.3.2 Closing\r\n", b"554 5.6.0 No\r\n"])
async def test_a_refusal_of_the_content_is_certain(reply: bytes) -> None:
    mails: list[bytes] = []
    async with scripted_server(receiving(mails, OK, reply)) as port, provider_for(port) as provider:
        assert (await failure(provider)).verdict is not Verdict.IN_DOUBT


async def test_a_send_cut_off_after_the_content_is_in_doubt() -> None:
    mails: list[bytes] = []
    server = receiving(mails, OK, b"", then_wait=True)
    async with scripted_server(server) as port, provider_for(port) as provider:
        sending = asyncio.create_task(provider.send(make_email()))
        await until(lambda: mails, "the server has read the mail")
        sending.cancel()
        with pytest.raises(ProviderError, match="cut off before the reply") as caught:
            await asyncio.wait_for(sending, 60)
    assert caught.value.verdict is Verdict.IN_DOUBT


async def test_the_limits_are_those_of_the_rfc() -> None:
    async with provider_for(1) as provider:
        assert provider.timeout > 600 + 180


async def test_large_content_over_tls_is_awaited() -> None:
    content = bytearray()

    async def serve(reader: Reader, writer: Writer) -> None:
        await converse(reader, writer, b"DATA", ehlo=PIPELINING)
        writer.write(b"354 Go ahead\r\n")
        while not content.endswith(b"\r\n.\r\n"):
            content.extend(await reader.read(100_000))
        writer.write(OK)

    settings: dict[str, object] = {"security": "tls", "verify": False}
    async with scripted_server(serve, tls=server_tls()) as port, provider_for(port, **settings) as provider:
        await provider.send(make_email(text="line\n" * 1_000_000))
    assert len(content) > 5_000_000
