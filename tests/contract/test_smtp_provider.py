from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from server.channels.text import Text
from server.dispatcher.providers import build
from server.dispatcher.providers.smtp.provider import SmtpSettings
from server.domain.delivery_errors import Verdict
from server.errors import ConfigError
from tests.kit.cases import each_case
from tests.kit.smtp_provider import ADDRESS, failure, make_email, provider_for
from tests.kit.smtp_servers import CERTIFICATE, authenticator, mail_server, server_tls
from tests.kit.verdicts import raises


async def test_an_email_arrives_unchanged() -> None:
    message = make_email()
    async with mail_server() as server, provider_for(server.port) as provider:
        message_id = await provider.send(message)
    (mail,) = server.mails
    assert message_id == "4F1A2B"
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


async def test_concurrent_messages_use_separate_connections() -> None:
    async with mail_server() as server, provider_for(server.port, connections=5) as provider:
        for _ in range(4):
            await asyncio.gather(*(provider.send(make_email()) for _ in range(5)))
    assert (server.connections, len(server.mails)) == (5, 20)


async def test_a_connection_closes_after_max_messages() -> None:
    async with mail_server() as server, provider_for(server.port, max_messages=3) as provider:
        for _ in range(7):
            await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (3, 7)


async def test_a_stale_connection_is_not_reused() -> None:
    async with mail_server() as server, provider_for(server.port, idle_limit=0.05) as provider:
        await provider.send(make_email())
        await asyncio.sleep(0.1)
        await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (2, 2)


ONE_CLICK = "https://shop.example.com/unsubscribe/aGVsbG8?user=1,2&all"


@pytest.mark.parametrize(
    ("url", "one_click"),
    [
        (ONE_CLICK, "List-Unsubscribe=One-Click"),
        (ONE_CLICK + "x" * 900, "List-Unsubscribe=One-Click"),
        (ONE_CLICK.ljust(2000, "x"), "List-Unsubscribe=One-Click"),
        ("http://shop.example.com/unsubscribe", None),
        ("mailto:leave@example.com?subject=leave", None),
    ],
)
async def test_unsubscribe_headers(url: str, one_click: str | None) -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        await provider.send(make_email(unsubscribe_url=url))
        await provider.send(make_email())
    mail, other = server.mails
    assert "".join(mail["List-Unsubscribe"].split()) == f"<{url}>"
    assert mail["List-Id"] == "<campaign-9.project-1.clarion.example.com>"
    assert mail["List-Unsubscribe-Post"] == one_click
    assert not {"List-Unsubscribe", "List-Id"} & set(other)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/\r\nBcc: x@example.net",
        "https://a.example/\nx",
        "https://a.example/\x00",
        "https://a.example/\x7f",
        "https://a.example/>, <https://b.example/",
        "https://a.example/<",
        "https://a.example/a b",
        "https://grüße.example/",
        "https://a.example/".ljust(2001, "x"),
    ],
)
async def test_an_injecting_unsubscribe_url_is_not_sent(url: str) -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        error = await failure(provider, make_email(unsubscribe_url=url))
    assert error.verdict is Verdict.NEVER
    assert str(error) == "the unsubscribe URL cannot be used in a header"
    assert server.connections == 0


@pytest.mark.parametrize("subject", ["ü" * 200, "🎉" * 60, "a" * 41 + "€uro " * 9, "x=?utf-8?b?eA==?="])
async def test_a_long_subject_arrives_unchanged(subject: str) -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        await provider.send(make_email(subject=subject))
    assert server.mails[0]["Subject"] == subject.strip()


async def test_starttls_encrypts() -> None:
    settings = {"security": "starttls", "host": "localhost", "ca_file": str(CERTIFICATE)}
    async with (
        mail_server(tls_context=server_tls(), require_starttls=True) as server,
        provider_for(server.port, **settings) as provider,
    ):
        await provider.send(make_email())
        await provider.send(make_email())
    assert (server.encrypted, len(server.mails)) == ([True, True], 2)


async def test_implicit_tls_encrypts() -> None:
    settings = {"security": "tls", "host": "localhost", "ca_file": str(CERTIFICATE)}
    async with mail_server(tls=server_tls()) as server, provider_for(server.port, **settings) as provider:
        await provider.send(make_email())
    assert len(server.mails) == 1


async def test_nothing_is_sent_without_starttls() -> None:
    async with mail_server() as server, provider_for(server.port, security="starttls") as provider:
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "STARTTLS" in str(error)
    assert not server.mails


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_nothing_is_sent_to_an_untrusted_server(security: str) -> None:
    options: dict[str, Any] = {"tls": server_tls()} if security == "tls" else {"tls_context": server_tls()}
    async with (
        mail_server(**options) as server,
        provider_for(server.port, security=security, host="localhost") as provider,
    ):
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "certificate" in str(error).lower()
    assert not server.mails


async def test_verification_can_be_disabled() -> None:
    async with (
        mail_server(tls_context=server_tls()) as server,
        provider_for(server.port, security="starttls", verify=False) as provider,
    ):
        await provider.send(make_email())
    assert server.encrypted == [True]


AUTH: dict[str, Any] = {"authenticator": authenticator, "auth_required": True, "auth_require_tls": False}


async def test_login() -> None:
    async with (
        mail_server(**AUTH) as server,
        provider_for(server.port, username="shop", password="open sesame") as provider,
    ):
        await provider.send(make_email())
    assert len(server.mails) == 1


async def test_a_rejected_login_does_not_quote_the_password() -> None:
    async with (
        mail_server(**AUTH) as server,
        provider_for(server.port, username="shop", password="hunter-2") as provider,
    ):
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error).startswith("the server refuses the login: SMTP 535")
    assert "hunter-2" not in str(error)
    assert not server.mails


@pytest.mark.parametrize(
    "address", [f"{ADDRESS}\r\nRCPT TO:<x@example.net>", f"{ADDRESS},x@example.net", "x"]
)
async def test_an_injecting_address_is_not_sent(address: str) -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        assert (await failure(provider, make_email(to=address))).verdict is Verdict.NEVER
    assert server.connections == 0


async def test_a_text_message_is_rejected() -> None:
    async with provider_for(1) as provider:
        with raises(Verdict.NEVER):
            await provider.send(Text(uuid.uuid4(), "", "+15551234567", "hi"))


def test_the_password_is_in_no_repr() -> None:
    settings = SmtpSettings(host="mail.example.com", username="shop", password="open sesame")
    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings)
    assert "sesame" not in str(list(settings.__rich_repr__()))


@each_case(
    ("table", "expected"),
    [
        ({}, "providers.mail.type: must be one of"),
        ({"type": "pigeon"}, "providers.mail.type: must be one of"),
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
        *(
            (
                {"type": "smtp", "host": "a", "local_hostname": name},
                "providers.mail.local_hostname: ",
            )
            for name in (
                "relay",
                "a.b c",
                "1.2.3.4",
                "localhost.localdomain",
                "[300.1.1.1]",
                "[::1]",
                "a.b\n",
            )
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
            {"type": "smtp", "host": "a", "dkim_domain": "ex ample"},
            "providers.mail.dkim_domain: expected `str` matching",
        ),
        (
            {"type": "smtp", "host": "a", "ca_file": "/nowhere"},
            "providers.mail.ca_file: cannot be used: No such file",
        ),
        ({"type": "smtp", "host": "a", "ca_file": __file__}, "providers.mail.ca_file: cannot be used"),
    ],
)
def test_an_invalid_setting_is_named(table: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("mail", table, data_dir=Path())
    assert str(caught.value).startswith(expected)
