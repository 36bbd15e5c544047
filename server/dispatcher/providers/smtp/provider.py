"""SMTP: email over a pool of connections that are used again."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

import aiosmtplib
import msgspec

from ....channels.base import Message
from ....channels.email_message import Email, compose, envelope_address, sender_address
from ....domain.campaign import Channel
from ....errors import ConfigError, ProviderError, Verdict
from ..base import SendingPolicy
from .classify import Stage, classify, is_lost
from .dkim import Signer
from .pool import Pool

__all__ = ["SmtpProvider", "SmtpSettings"]

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LARGE = 100_000
"""Octets from which a signature takes so long (2 ms) that the event loop is not to wait for it."""
_QUEUED_AS = re.compile(r"queued as ([\w.@-]+)", re.IGNORECASE)

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=255)]
DnsName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]*$", max_length=253)]


class SmtpSettings(SendingPolicy, frozen=True, kw_only=True):
    """Settings of an SMTP server. Times in seconds."""

    host: Name
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    """25, or 587 with starttls, or 465 with tls, unless given."""
    security: Literal["none", "starttls", "tls"] = "starttls"
    """With starttls, nothing is sent to a server that does not offer it."""
    username: str = ""
    password: str = ""
    timeout: Seconds = 20.0
    """For one message, connecting included."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """How many messages may be under way at once, each on its own connection."""
    local_hostname: Name | None = None
    """What we call ourselves in EHLO: this machine's name unless given."""
    ca_file: str | None = None
    """A PEM file of the authorities to trust instead of the system's."""
    verify: bool = True
    """Whether the server's certificate must be good."""
    idle_limit: Seconds = 30.0
    """A connection that was idle for longer is not used again."""
    max_messages: Annotated[int, msgspec.Meta(ge=1)] = 100
    """A connection that has carried this many messages is closed."""
    dkim_domain: DnsName = ""
    """Emails are signed by DKIM for this domain, if the three settings are given."""
    dkim_selector: DnsName = ""
    """The public key is the TXT record of `SELECTOR._domainkey.DOMAIN`."""
    dkim_key_file: str = ""
    """A PEM file with the private RSA key."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Leave out the credentials."""
        return [("host", self.host), ("port", self.port), ("security", self.security)]


class SmtpProvider:
    """Sends email through one SMTP server."""

    channels = frozenset({Channel.EMAIL})

    def __init__(self, name: str, settings: SmtpSettings, data_dir: Path) -> None:
        _refuse_credentials_in_clear(name, settings)
        self.name = name
        self.policy = settings
        self.timeout = settings.timeout
        self.concurrency = settings.connections
        self._settings = settings
        self._tls = _tls_context(name, settings)
        self._signer = _signer(name, settings)
        self._local_hostname = settings.local_hostname or socket.gethostname()
        self._pool = Pool(self._client, settings.idle_limit, settings.max_messages)

    async def send(self, message: Message) -> str:
        """Send an email.

        A pooled connection that turns out dead is replaced, and the message sent anew, but only
        if its content had not been on its way: nobody gets it twice for that.
        """
        if not isinstance(message, Email):
            raise ProviderError(Verdict.NEVER, "SMTP sends email only", reached_provider=False)
        sender, recipient = sender_address(message.sender)[1], envelope_address(message.to)
        words = await self._transmit(sender, recipient, await self._signed(compose(message)))
        queued = _QUEUED_AS.search(words)
        return queued[1] if queued else message.message_id

    async def aclose(self) -> None:
        """Close all idle connections."""
        self._pool.close()

    async def _signed(self, mail: bytes) -> bytes:
        if self._signer is None:
            return mail
        if len(mail) < _LARGE:
            return self._signer.sign(mail)
        return await asyncio.to_thread(self._signer.sign, mail)

    async def _transmit(self, sender: str, recipient: str, content: bytes) -> str:
        while True:
            connection = self._pool.take()
            reused = connection.is_open
            try:
                words = await connection.carry(sender, recipient, content)
            except (aiosmtplib.SMTPException, OSError) as error:
                connection.refused(error)
                self._pool.give_back(connection)
                if reused and is_lost(error) and connection.stage is not Stage.CONTENT:
                    continue
                raise classify(error, connection.stage, recipient) from None
            except BaseException:
                connection.abort()
                raise
            self._pool.give_back(connection)
            return words

    def _client(self) -> aiosmtplib.SMTP:
        """Make a client. It has no timeouts of its own: whoever calls `send` ends it."""
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port or _PORTS[settings.security],
            username=settings.username or None,
            password=settings.password or None,
            local_hostname=self._local_hostname,
            timeout=None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=self._tls,
        )


def _refuse_credentials_in_clear(name: str, settings: SmtpSettings) -> None:
    if not settings.username:
        return
    if not settings.password:
        raise ConfigError(f"providers.{name}.password: is required with a username")
    if settings.security == "none" and settings.host not in _LOOPBACK:
        raise ConfigError(
            f"providers.{name}.security: must be starttls or tls, or the password would be sent in clear"
        )


def _tls_context(name: str, settings: SmtpSettings) -> ssl.SSLContext | None:
    if settings.security == "none":
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "holds no certificate"
        raise ConfigError(f"providers.{name}.ca_file: cannot be used: {reason}") from None
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _signer(name: str, settings: SmtpSettings) -> Signer | None:
    given = {field: getattr(settings, field) for field in ("dkim_domain", "dkim_selector", "dkim_key_file")}
    if not any(given.values()):
        return None
    for field, value in given.items():
        if not value:
            raise ConfigError(f"providers.{name}.{field}: is required with the other two of DKIM")
    try:
        return Signer(*given.values())
    except ValueError as error:
        raise ConfigError(f"providers.{name}.dkim_key_file: {error}") from None
