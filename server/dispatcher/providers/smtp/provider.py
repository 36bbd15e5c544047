"""SMTP: email over pooled connections."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

import aiosmtplib
import msgspec

from ....channels.base import Message
from ....channels.email_message import Email, compose, envelope_address, sender_of
from ....domain.campaign import Channel
from ....domain.delivery_errors import ProviderError, Verdict
from ....domain.wording import quoted
from ....errors import ConfigError
from ..base import SendingPolicy
from .classify import Stage, classify, is_lost
from .connection import CONTENT_SECONDS, Connection, TimeLimits
from .dkim import Signer
from .pool import Pool
from .queue_id import queue_id
from .session import SessionOptions, default_name, is_full_name

__all__ = ["SmtpProvider", "SmtpSettings"]

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_STEPS = 6
"""Maximum number of waits before the content: to open the session, for RSET, MAIL, RCPT, DATA, the rest."""
_LARGE = 100_000
"""Size in octets from which an email is signed in a thread. It would block the event loop for 2 ms."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=255)]
DnsName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]*$", max_length=253)]


class SmtpSettings(SendingPolicy, frozen=True, kw_only=True):
    """Settings of an SMTP server. Times are in seconds."""

    host: Name
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    """Default: 25 without encryption, 587 with `starttls`, 465 with `tls`."""
    security: Literal["none", "starttls", "tls"] = "starttls"
    """With `starttls`, nothing is sent to a server that does not support it."""
    username: str = ""
    password: str = ""
    timeout: Seconds = 20.0
    """To connect and log in, and again for each reply before the content."""
    answer_timeout: Seconds = 600.0
    """For the reply to the content, the minimum of RFC 5321 section 4.5.3.2.6. A message that is cut off here
    may have arrived."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """How many messages may be in flight at once, each on its own connection."""
    local_hostname: str = ""
    """The name in EHLO: fully qualified, or an address in brackets. Default: this machine's name, or its
    address if the name is not fully qualified."""
    ca_file: str = ""
    """A PEM file of certificate authorities to trust instead of the system's."""
    verify: bool = True
    """Whether the server's certificate is verified."""
    idle_limit: Seconds = 30.0
    """A connection that is idle for longer is closed."""
    max_messages: Annotated[int, msgspec.Meta(ge=1)] = 100
    """Messages after which a connection is closed."""
    dkim_domain: DnsName = ""
    """Emails are signed with DKIM for this domain. Set all three DKIM settings or none."""
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
        _reject_clear_text_credentials(name, settings)
        self.name = name
        self.policy = settings
        self.timeout = _STEPS * settings.timeout + CONTENT_SECONDS + settings.answer_timeout
        self.concurrency = settings.connections
        self._settings = settings
        self._options = _session_options(name, settings)
        self._tls = _tls_context(name, settings)
        self._signer = _signer(name, settings)
        self._pool = Pool(self._connection, settings.idle_limit, settings.max_messages)

    async def send(self, message: Message) -> str:
        """Send an email.

        If a pooled connection turns out to be closed, the message is sent over another one, but not if its
        content was already being sent, because that could cause a duplicate.
        """
        if not isinstance(message, Email):
            raise ProviderError(Verdict.NEVER, "SMTP sends only email", reached_provider=False)
        sender, recipient = sender_of(message.sender).address, envelope_address(message.to)
        reply = await self._transmit(sender, recipient, await self._signed(compose(message)))
        return queue_id(reply) or message.message_id

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
                reply = await connection.carry(sender, recipient, content)
            except (aiosmtplib.SMTPException, OSError) as error:
                connection.record_failure(error)
                self._pool.give_back(connection)
                timed_out = isinstance(error, TimeoutError)
                if reused and is_lost(error) and not timed_out and connection.stage is not Stage.CONTENT:
                    continue
                failure = classify(error, connection.stage, recipient)
                if connection.is_in_doubt:
                    failure = ProviderError(Verdict.IN_DOUBT, str(failure))
                raise failure from None
            except ProviderError:
                self._pool.give_back(connection)
                raise
            except BaseException:
                connection.abort()
                if connection.is_in_doubt:
                    raise ProviderError(Verdict.IN_DOUBT, "cut off before the reply to the content") from None
                raise
            self._pool.give_back(connection)
            return reply

    def _connection(self) -> Connection:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            timeout=None,
            use_tls=settings.security == "tls",
            tls_context=self._tls,
        )
        limits = TimeLimits(settings.timeout, settings.answer_timeout)
        return Connection(client, self._options, limits)


def _reject_clear_text_credentials(name: str, settings: SmtpSettings) -> None:
    if not settings.username:
        return
    if not settings.password:
        raise ConfigError(f"providers.{name}.password: is required with a username")
    if settings.security == "none" and settings.host not in _LOOPBACK:
        raise ConfigError(
            f"providers.{name}.security: must be starttls or tls, or the password would be sent unencrypted"
        )


def _session_options(name: str, settings: SmtpSettings) -> SessionOptions:
    own = settings.local_hostname
    if own and not is_full_name(own):
        raise ConfigError(
            f"providers.{name}.local_hostname: {quoted(own)} is not a fully qualified name, such as "
            "mailer.example.com, or an address in brackets, such as [192.0.2.1]"
        )
    credentials = (settings.username, settings.password) if settings.username else None
    port = settings.port or _PORTS[settings.security]
    starttls = settings.security == "starttls"
    return SessionOptions(settings.host, port, own or default_name(), starttls, credentials)


def _tls_context(name: str, settings: SmtpSettings) -> ssl.SSLContext | None:
    if settings.security == "none":
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "contains no certificate"
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
            raise ConfigError(f"providers.{name}.{field}: is required: set all three DKIM settings or none")
    try:
        return Signer(*given.values())
    except ValueError as error:
        raise ConfigError(f"providers.{name}.dkim_key_file: {error}") from None
