"""Opens SMTP sessions: connects, greets the server, encrypts and logs in."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from typing import NamedTuple

import aiosmtplib

from ...resolver import connect

__all__ = ["Offers", "SessionOptions", "default_name", "is_full_name", "open_session"]

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The last label must contain a letter, unlike in an IP address. `localhost` and `localdomain` are defaults of
# machines without a configured name.
_FULL_NAME = re.compile(
    rf"(?:{_LABEL}\.)+(?!local(?:host|domain)\Z)(?=[0-9-]*[A-Za-z]){_LABEL}", re.IGNORECASE
)
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f.:]+)\]")
_METHODS = ("plain", "login", "cram-md5")
"""In order of preference. A server that lists PLAIN can check every password with it, while CRAM-MD5 fails if
the server stores only hashes."""
_NOT_TRIED = frozenset({500, 501, 502, 504, 534, 538})
"""Replies to AUTH of servers that have not checked the password (RFC 4954 section 6)."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How sessions are opened."""

    host: str
    port: int
    name: str
    """The name in EHLO; empty for the connection's own address, in brackets."""
    starttls: bool
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """The user name and the password."""


class Offers(NamedTuple):
    """What a server offers."""

    pipelining: bool
    max_size: int | None
    """The maximum size of a message in octets, 0 if unlimited, None if it must not be declared (RFC 1870)."""


def is_full_name(name: str) -> bool:
    """Return whether a name is fully qualified or an address in brackets, as EHLO needs it.

    RFC 5321 section 4.1.4.
    """
    literal = _LITERAL.fullmatch(name)
    if literal is None:
        return len(name) <= 253 and _FULL_NAME.fullmatch(name) is not None  # noqa: PLR2004 (RFC 1035 section 2.3.4)
    try:
        return ipaddress.ip_address(literal[2]).version == (6 if literal[1] else 4)
    except ValueError:
        return False


def default_name() -> str:
    """Return this machine's name if it is fully qualified, otherwise an empty string. It uses no DNS."""
    name = socket.gethostname()
    return name if is_full_name(name) else ""


async def open_session(client: aiosmtplib.SMTP, options: SessionOptions) -> Offers:
    """Open a session over a client that is not connected, and return what the server offers.

    Raises:
        SMTPException: The server rejected a command, closed the connection, or does not speak SMTP.
        OSError: The network failed.
    """
    sock = await connect(options.host, options.port)
    await client.connect(sock=sock, start_tls=False, local_hostname=options.name or "localhost")
    client.local_hostname = options.name or _own_address(client)
    await _greet(client)
    if options.starttls:
        await client.starttls()
        await _greet(client)
    if options.credentials:
        await _log_in(client, *options.credentials)
    return Offers(client.supports_extension("pipelining"), _max_size(client))


def _own_address(client: aiosmtplib.SMTP) -> str:
    """Return the address of this end of the connection as an address literal (RFC 5321 section 4.1.3)."""
    address = ipaddress.ip_address(client.get_transport_info("sockname")[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return f"[{mapped or address}]" if mapped or address.version == 4 else f"[IPv6:{address}]"  # noqa: PLR2004


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()


async def _log_in(client: aiosmtplib.SMTP, username: str, password: str) -> None:
    """Log in, and present the password once: servers lock accounts after a few failed logins."""
    logins = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    methods = [method for method in _METHODS if method in client.server_auth_methods]
    if not methods:
        raise aiosmtplib.SMTPException("the server offers no login by PLAIN, LOGIN or CRAM-MD5")
    for method in methods:
        try:
            await logins[method](username, password)
        except aiosmtplib.SMTPAuthenticationError as error:
            if error.code not in _NOT_TRIED or method == methods[-1]:
                raise
        else:
            return


def _max_size(client: aiosmtplib.SMTP) -> int | None:
    offered = client.esmtp_extensions.get("size")
    if offered is None:
        return None
    digits = offered.strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 20 else 0  # noqa: PLR2004
