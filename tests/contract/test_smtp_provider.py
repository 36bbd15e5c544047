from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.dispatch.message import Email, Text, message_id_for
from server.dispatch.providers import build
from server.dispatch.providers.base import Provider
from server.dispatch.providers.smtp import SmtpSettings
from server.errors import ConfigError, Permanent, ProviderError, RecipientRefused, Transient

from .smtp_servers import (
    CERTIFICATE,
    authenticator,
    converse,
    mail_server,
    scripted_server,
    server_tls,
    take_mail,
)

ADDRESS = "zoe.sommer@example.org"
SENDER = "Shöp <shop@example.com>"

pytestmark = pytest.mark.timeout(30)


def make_email(**changes: str) -> Email:
    trigger_id = uuid.uuid4()
    fields = {
        "sender": SENDER,
        "to": ADDRESS,
        "subject": "Grüße",
        "text": "Hallo\n.\nZoë",
        "html": "<p>Hallo</p>",
    }
    return Email(trigger_id, message_id_for(trigger_id, SENDER), **fields | changes)


@contextlib.asynccontextmanager
async def provider_for(port: int, **settings: object) -> AsyncIterator[Provider]:
    table = {"type": "smtp", "host": "127.0.0.1", "port": port, "security": "none", **settings}
    provider = build("mail", table, data_dir=Path())
    try:
        yield provider
    finally:
        await provider.aclose()


async def failure(provider: Provider, message: Email | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message or make_email()), 5)
    assert "sommer" not in str(caught.value).lower()
    assert "sommer" not in repr(caught.value.__cause__).lower()
    return caught.value


async def test_an_email_arrives_as_it_was_written() -> None:
    message = make_email()
    async with mail_server() as server, provider_for(server.port) as provider:
        receipt = await provider.send(message)
    (mail,) = server.mails
    assert receipt.provider_message_id == "4F1A2B"
    assert (server.senders, server.recipients) == (["shop@example.com"], [ADDRESS])
    assert (mail["Subject"], mail["Message-ID"]) == ("Grüße", message.message_id)
    assert mail["From"] == "Shöp <shop@example.com>"
    plain, html = (part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart())
    assert plain == "Hallo\r\n.\r\nZoë\r\n".encode()
    assert html == b"<p>Hallo</p>\r\n"


async def test_one_connection_carries_many_messages() -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        for _ in range(20):
            await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (1, 20)


async def test_messages_side_by_side_use_as_many_connections() -> None:
    async with mail_server() as server, provider_for(server.port, connections=5) as provider:
        for _ in range(4):
            await asyncio.gather(*(provider.send(make_email()) for _ in range(5)))
    assert (server.connections, len(server.mails)) == (5, 20)


async def test_a_connection_is_given_up_after_its_share_of_messages() -> None:
    async with mail_server() as server, provider_for(server.port, max_messages=3) as provider:
        for _ in range(7):
            await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (3, 7)


async def test_a_connection_that_idled_too_long_is_not_used_again() -> None:
    async with mail_server() as server, provider_for(server.port, idle_limit=0.05) as provider:
        await provider.send(make_email())
        await asyncio.sleep(0.1)
        await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (2, 2)


async def test_a_temporary_refusal_is_transient_and_the_connection_goes_on() -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        server.to_rcpt = [f"451 4.7.1 <{ADDRESS}>: greylisted, try later"]
        error = await failure(provider)
        assert isinstance(error, Transient)
        assert str(error) == "SMTP 451 4.7.1 <[recipient]>: greylisted, try later (naming the recipient)"
        await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (1, 1)


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        ("rcpt", f"550 5.1.1 <{ADDRESS}>: unknown", RecipientRefused),
        ("rcpt", "550 No such user zoe.sommer", RecipientRefused),
        ("rcpt", "551 User not local", RecipientRefused),
        ("rcpt", "553 Bad mailbox name", RecipientRefused),
        ("rcpt", "554 5.1.10 Null MX", RecipientRefused),
        ("rcpt", "550 5.7.1 Relaying denied", Permanent),
        ("rcpt", "552 5.2.2 Mailbox full", Permanent),
        ("rcpt", "450 4.2.1 Mailbox busy", Transient),
        ("rcpt", "452 4.5.3 Too many recipients", Transient),
        ("rcpt", "530 5.7.0 Authentication required", Transient),
        ("mail", "550 5.1.8 Bad sender", Permanent),
        ("mail", "454 4.7.0 Temporary authentication failure", Transient),
        ("mail", "421 4.3.2 Shutting down", Transient),
        ("data", "554 5.7.1 Spam", Permanent),
        ("data", f"550 5.1.1 {ADDRESS.upper()} unknown", RecipientRefused),
        ("data", "451 4.3.0 Try again", Transient),
        ("data", "421 4.3.2 Shutting down", Transient),
    ],
)
async def test_an_answer_means_try_again_or_never(
    command: str, answer: str, expected: type[ProviderError]
) -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        getattr(server, f"to_{command}").append(answer)
        error = await failure(provider)
        assert type(error) is expected
        assert f"SMTP {answer[:3]}" in str(error)
        await provider.send(make_email())
    assert len(server.mails) == 1


@pytest.mark.parametrize("goodbye", [b"421 4.4.2 Idle for too long\r\n", b""])
async def test_a_pooled_connection_that_turns_out_dead_is_replaced_unseen(goodbye: bytes) -> None:
    taken: list[bytes] = []

    async def serve_one_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await take_mail(reader, writer))
        await reader.readline()
        writer.write(goodbye)

    async with scripted_server(serve_one_mail) as port, provider_for(port) as provider:
        for _ in range(3):
            await provider.send(make_email())
    assert len(taken) == 3


async def test_a_server_that_refuses_connections_is_transient() -> None:
    async with scripted_server(lambda *_: asyncio.sleep(0)) as port:
        pass
    async with provider_for(port) as provider:
        assert isinstance(await failure(provider), Transient)


async def test_a_greeting_of_no_service_is_transient() -> None:
    async def turn_away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 No SMTP service here\r\n")

    async with scripted_server(turn_away) as port, provider_for(port) as provider:
        error = await failure(provider)
    assert isinstance(error, Transient)
    assert str(error) == "SMTP 554 No SMTP service here (connecting)"


async def test_a_message_that_was_on_its_way_is_not_sent_again_by_itself() -> None:
    taken: list[bytes] = []

    async def hang_up_on_the_second_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await take_mail(reader, writer))
        taken.append(await take_mail(reader, writer, greeting=b"", answer=b""))

    async with scripted_server(hang_up_on_the_second_mail) as port, provider_for(port) as provider:
        await provider.send(make_email())
        error = await failure(provider)
    assert isinstance(error, Transient)
    assert "sending the content" in str(error)
    assert len(taken) == 2


async def test_a_send_that_is_left_does_not_go_through_later() -> None:
    left, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(reader, writer, b"DATA")
        writer.write(b"354 Go on\r\n")
        await left.wait()
        try:
            ended.set_result(await reader.read(-1))
        except ConnectionError:
            ended.set_result(b"")

    async with scripted_server(read_slowly) as port, provider_for(port) as provider:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await provider.send(make_email(text="x" * 8_000_000))
        left.set()
        assert not (await asyncio.wait_for(ended, 5)).endswith(b"\r\n.\r\n")


@pytest.mark.parametrize("until", [b"EHLO", b"MAIL", b"RCPT", b"DATA"])
async def test_a_connection_closed_in_the_middle_is_transient(until: bytes) -> None:
    async with (
        scripted_server(lambda reader, writer: converse(reader, writer, until)) as port,
        provider_for(port) as provider,
    ):
        assert isinstance(await failure(provider), Transient)


async def test_a_server_that_never_answers_can_be_left_at_any_time() -> None:
    never = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await never.wait()

    async with scripted_server(say_nothing) as port, provider_for(port, timeout=0.2) as provider:
        assert provider.timeout == 0.2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(provider.timeout):
                await provider.send(make_email())


async def test_starttls_encrypts() -> None:
    settings = {"security": "starttls", "host": "localhost", "ca_file": str(CERTIFICATE)}
    async with (
        mail_server(tls_context=server_tls(), require_starttls=True) as server,
        provider_for(server.port, **settings) as provider,
    ):
        await provider.send(make_email())
        await provider.send(make_email())
    assert (server.encrypted, len(server.mails)) == ([True, True], 2)


async def test_tls_from_the_start_encrypts() -> None:
    settings = {"security": "tls", "host": "localhost", "ca_file": str(CERTIFICATE)}
    async with mail_server(tls=server_tls()) as server, provider_for(server.port, **settings) as provider:
        await provider.send(make_email())
    assert len(server.mails) == 1


async def test_a_server_without_starttls_gets_nothing_in_clear() -> None:
    async with mail_server() as server, provider_for(server.port, security="starttls") as provider:
        error = await failure(provider)
    assert isinstance(error, Transient)
    assert "STARTTLS" in str(error)
    assert not server.mails


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_gets_nothing(security: str) -> None:
    options: dict[str, Any] = {"tls": server_tls()} if security == "tls" else {"tls_context": server_tls()}
    async with (
        mail_server(**options) as server,
        provider_for(server.port, security=security, host="localhost") as provider,
    ):
        error = await failure(provider)
    assert isinstance(error, Transient)
    assert "certificate" in str(error).lower()
    assert not server.mails


async def test_verification_can_be_switched_off() -> None:
    async with (
        mail_server(tls_context=server_tls()) as server,
        provider_for(server.port, security="starttls", verify=False) as provider,
    ):
        await provider.send(make_email())
    assert server.encrypted == [True]


AUTH: dict[str, Any] = {"authenticator": authenticator, "auth_required": True, "auth_require_tls": False}


async def test_a_login_opens_the_door() -> None:
    async with (
        mail_server(**AUTH) as server,
        provider_for(server.port, username="shop", password="open sesame") as provider,
    ):
        await provider.send(make_email())
    assert len(server.mails) == 1


async def test_a_refused_login_is_transient_and_says_so_without_the_password() -> None:
    async with (
        mail_server(**AUTH) as server,
        provider_for(server.port, username="shop", password="hunter-2") as provider,
    ):
        error = await failure(provider)
    assert isinstance(error, Transient)
    assert str(error).startswith("the server refuses the login: SMTP 535")
    assert "hunter-2" not in str(error)
    assert not server.mails


@pytest.mark.parametrize(
    "address", [f"{ADDRESS}\r\nRCPT TO:<x@example.net>", f"{ADDRESS},x@example.net", "x"]
)
async def test_an_address_that_breaks_out_never_reaches_the_server(address: str) -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        assert isinstance(await failure(provider, make_email(to=address)), Permanent)
    assert server.connections == 0


async def test_a_text_message_is_no_email() -> None:
    async with provider_for(1) as provider:
        with pytest.raises(Permanent):
            await provider.send(Text(uuid.uuid4(), "", "+15551234567", "hi"))


def test_the_password_is_in_no_repr() -> None:
    settings = SmtpSettings(host="mail.example.com", username="shop", password="open sesame")
    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings)
    assert "sesame" not in str(list(settings.__rich_repr__()))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, "providers.mail.type: must be one of sandbox, smtp"),
        ({"type": "pigeon"}, "providers.mail.type: must be one of sandbox, smtp"),
        ({"type": "smtp"}, "providers.mail.host: is required"),
        ({"type": "smtp", "host": "a", "prot": 1}, "providers.mail.prot: is not a setting of this provider"),
        (
            {"type": "smtp", "host": "a", "port": "many"},
            "providers.mail.port: expected `int | null`, got `str`",
        ),
        ({"type": "smtp", "host": "a", "port": 0}, "providers.mail.port: expected `int` >= 1"),
        ({"type": "smtp", "host": "a\r\nb"}, "providers.mail.host: expected `str` matching"),
        (
            {"type": "smtp", "host": "a", "security": "ssl"},
            "providers.mail.security: invalid enum value 'ssl'",
        ),
        ({"type": "smtp", "host": "a", "timeout": 0}, "providers.mail.timeout: expected `float` > 0"),
        (
            {"type": "smtp", "host": "a", "username": "u"},
            "providers.mail.password: is required with a username",
        ),
        (
            {"type": "smtp", "host": "a", "security": "none", "username": "u", "password": "p"},
            "providers.mail.security: must be starttls or tls",
        ),
        (
            {"type": "smtp", "host": "a", "ca_file": "/nowhere"},
            "providers.mail.ca_file: cannot be used: No such file",
        ),
        ({"type": "smtp", "host": "a", "ca_file": __file__}, "providers.mail.ca_file: cannot be used"),
    ],
)
def test_a_wrong_setting_is_named(table: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("mail", table, data_dir=Path())
    assert str(caught.value).startswith(expected)
