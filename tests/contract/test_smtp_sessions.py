"""How SMTP sessions begin: the name in EHLO, the login, and the size of messages."""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from server.domain.delivery_errors import Verdict
from tests.kit.smtp_provider import failure, make_email, provider_for
from tests.kit.smtp_servers import (
    CERTIFICATE,
    GREETING,
    OK,
    mail_server,
    scripted_server,
    server_tls,
)


@pytest.mark.parametrize(
    ("machine", "settings", "name"),
    [
        ("web1", {}, "[127.0.0.1]"),
        ("web1.shop.example", {}, "web1.shop.example"),
        ("localhost.localdomain", {}, "[127.0.0.1]"),
        ("10.1.2.3", {}, "[127.0.0.1]"),
        ("web1", {"local_hostname": "mailer.example.com"}, "mailer.example.com"),
        ("web1", {"local_hostname": "[192.0.2.1]"}, "[192.0.2.1]"),
        ("web1", {"local_hostname": "[IPv6:2001:db8::1]"}, "[IPv6:2001:db8::1]"),
        ("web1", {"local_hostname": ""}, "[127.0.0.1]"),
    ],
)
async def test_the_name_in_ehlo_is_complete(
    monkeypatch: pytest.MonkeyPatch, machine: str, settings: dict[str, str], name: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    async with mail_server() as server, provider_for(server.port, **settings) as provider:
        await provider.send(make_email())
    assert server.names == [name]


async def test_the_name_is_the_same_after_starttls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    settings = {"security": "starttls", "host": "localhost", "ca_file": str(CERTIFICATE)}
    async with (
        mail_server(tls_context=server_tls()) as server,
        provider_for(server.port, **settings) as provider,
    ):
        await provider.send(make_email())
    assert server.names == ["[127.0.0.1]", "[127.0.0.1]"]


async def test_an_ipv6_address_is_marked_in_ehlo(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    async with mail_server(host="::1") as server, provider_for(server.port, host="::1") as provider:
        await provider.send(make_email())
    assert server.names == ["[IPv6:::1]"]


async def test_the_size_is_declared() -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        await provider.send(make_email(text=".dots\n..\n" * 100))
    assert server.declared == [[f"SIZE={len(server.contents[0])}"]]


@pytest.mark.parametrize("pipelining", [False, True])
async def test_a_message_above_the_size_is_not_sent(*, pipelining: bool) -> None:
    async with (
        mail_server(pipelining=pipelining, data_size_limit=5000) as server,
        provider_for(server.port) as provider,
    ):
        for _ in range(2):
            error = await failure(provider, make_email(text="x" * 5000))
            assert error.verdict is Verdict.NEVER
            assert str(error).startswith("the email has 5")
            assert str(error).endswith(" octets; the server accepts at most 5000")
        assert not server.declared
        await provider.send(make_email())
    assert (server.connections, len(server.mails)) == (1, 1)


@pytest.mark.parametrize("offer", [b"250-SIZE\r\n", b"250-SIZE 0\r\n", b"250-SIZE much\r\n"])
async def test_a_size_without_a_limit_is_declared(offer: bytes) -> None:
    commands: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        while line := await reader.readline():
            commands.append(line)
            if line == b"DATA\r\n":
                writer.write(b"354 Go ahead\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250-mail.example.com\r\n" + offer + OK if line.startswith(b"EHLO") else OK)

    async with scripted_server(serve) as port, provider_for(port) as provider:
        await provider.send(make_email(text="x" * 10_000))
    assert b"SIZE=1" in commands[1]


LOGIN = {"username": "shop", "password": "open sesame"}


async def test_a_wrong_password_is_presented_once() -> None:
    logins: list[str] = []

    def refuse(server: SMTP, _: Session, __: Envelope, mechanism: str, ___: Any) -> AuthResult:
        logins.append(mechanism)
        return AuthResult(success=False, handled=False)

    async with (
        mail_server(authenticator=refuse, auth_require_tls=False) as server,
        provider_for(server.port, **LOGIN) as provider,
    ):
        assert (await failure(provider)).verdict is Verdict.PROVIDER_DOWN
    assert logins == ["PLAIN"]


async def login(*answers: bytes, methods: bytes = b"CRAM-MD5 LOGIN PLAIN") -> tuple[list[bytes], str]:
    """Log in to a server with these answers to AUTH; return its commands and the error, if any."""
    commands: list[bytes] = []
    rest = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        while line := await reader.readline():
            if line.startswith(b"EHLO"):
                writer.write(b"250-mail.example.com\r\n250 AUTH " + methods + b"\r\n")
            elif line.startswith(b"MAIL"):
                writer.write(b"550 5.7.1 That is all\r\n")
            else:
                commands.append(line.strip())
                writer.write(rest.pop(0) if rest else OK)

    async with scripted_server(serve) as port, provider_for(port, **LOGIN) as provider:
        return commands, str(await failure(provider))


async def test_a_method_that_does_not_work_is_replaced() -> None:
    name, password = (base64.b64encode(LOGIN[part].encode()) for part in ("username", "password"))
    commands, error = await login(b"504 5.5.4 Not here\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 2.7.0 OK\r\n")
    assert [command.split()[:2] for command in commands[:2]] == [[b"AUTH", b"PLAIN"], [b"AUTH", b"LOGIN"]]
    assert (commands[1].split()[2], commands[2]) == (name, password)
    assert "That is all" in error


@pytest.mark.parametrize("answer", [b"535 5.7.8 Wrong\r\n", b"454 4.7.0 Not now\r\n", b"530 5.7.0 No\r\n"])
async def test_a_rejected_login_is_not_repeated(answer: bytes) -> None:
    commands, error = await login(answer)
    assert len([command for command in commands if command.startswith(b"AUTH")]) == 1
    assert error.startswith("the server refuses the login: SMTP ")


async def test_no_known_method_is_an_error() -> None:
    commands, error = await login(methods=b"GSSAPI XOAUTH2")
    assert not commands
    assert "the server offers no login by PLAIN, LOGIN or CRAM-MD5" in error


async def test_cram_md5_is_used_if_there_is_nothing_else() -> None:
    commands, error = await login(b"334 PDEuMkBleGFtcGxlPg==\r\n", b"235 OK\r\n", methods=b"CRAM-MD5")
    assert commands[0] == b"AUTH CRAM-MD5"
    assert base64.b64decode(commands[1]).startswith(b"shop ")
    assert "That is all" in error
