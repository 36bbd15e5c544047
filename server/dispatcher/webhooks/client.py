"""Posting a message to an endpoint: to a checked address, without redirects, proxies or endless answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import httpcore
import httpx

from ...errors import ConfigError, Transient
from ..providers.http import retry_after
from ..redact import scrub
from .address_policy import AddressPolicy
from .resolver import Resolver

__all__ = ["Poster", "Reply"]

CONNECT = 5.0
"""Seconds for a connection, and again for its TLS."""
MAX_ANSWER = 1024
"""Bytes of an answer's body that are read."""
ANSWER_SECONDS = 1.0
"""For its body: the status has said yes or no."""
ADDRESSES_TRIED = 4
_IDLE = 5.0
_IDLE_CONNECTIONS = 100
_OWN_WORDS = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered, `body` being its first bytes."""

    status: int
    body: bytes
    retry_after: float | None


class _Refused(httpcore.ConnectError):
    """No connection was made, and these are our own words."""


class _CheckedConnections(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the guard lets pass, and to nothing else.

    The name is looked up here and nowhere after, so that nobody can answer once with a harmless address and
    then with another (DNS rebinding). TLS and the header Host go on with the name.
    """

    def __init__(self, guard: AddressPolicy, resolver: Resolver, *, plain: bool) -> None:
        self._guard = guard
        self._resolver = resolver
        self._plain = plain
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the name's addresses that takes the connection.

        Raises:
            httpcore.ConnectError: none does, there is none, or one of them must not be reached.
        """
        addresses = (await self._checked(host))[:ADDRESSES_TRIED]
        each = CONNECT / len(addresses)
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._backend.connect_tcp(str(address), port, each, None, socket_options)
        return await self._backend.connect_tcp(str(addresses[-1]), port, each, None, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL leads to one."""
        raise _Refused("no webhook goes to a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def _checked(self, host: str) -> list[str]:
        try:
            async with asyncio.timeout(CONNECT):
                addresses = await self._resolver.addresses(host)
        except (OSError, TimeoutError):
            raise _Refused("the host's name cannot be looked up") from None
        for address in addresses:
            if refusal := self._guard.refusal(address, plain=self._plain):
                raise _Refused(refusal)
        return [str(address) for address in addresses]


class Poster:
    """Posts to whatever endpoints there are. Closed by `aclose`."""

    def __init__(self, guard: AddressPolicy, *, timeout: float, ca_file: str = "") -> None:
        """Take who may be reached, seconds for one post, and a PEM file of authorities to trust.

        Raises:
            ConfigError: the file cannot be used.
        """
        self._guard = guard
        self._timeout = timeout
        self._ca_file = ca_file
        self._resolver = Resolver()
        if ca_file:
            _ = self._tls  # a wrong file is told at once

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post once and return the answer, whatever its status.

        Raises:
            Transient: there was no answer. The text holds neither the URL nor a secret.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(httpx.URL(url), headers, body)
        except TimeoutError:
            raise Transient(f"no answer within {self._timeout:g} s") from None
        except _Refused as error:
            raise Transient(f"not sent: {error}") from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise Transient(f"no answer: {_words(error)}") from None

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Reply:
        pool = self._plain if url.scheme == "http" else self._secure
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        fields = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Accept-Encoding": "identity",
            "User-Agent": "clarion-webhooks",
            **headers,
        }
        async with pool.stream(
            "POST",
            target,
            headers=list(fields.items()),
            content=body,
            extensions={"timeout": {"connect": CONNECT}},
        ) as answer:
            lowered = {name.decode("latin-1").lower(): value for name, value in answer.headers}
            wait = retry_after({"retry-after": lowered.get("retry-after", b"").decode("latin-1")})
            return Reply(answer.status, await _beginning(answer), wait)

    async def aclose(self) -> None:
        """Close all connections."""
        for name in ("_plain", "_secure"):
            if name in vars(self):
                await getattr(self, name).aclose()

    # None of these is made before it is needed: an installation without webhooks starts as fast as ever.

    @cached_property
    def _plain(self) -> httpcore.AsyncConnectionPool:
        return self._pool(_CheckedConnections(self._guard, self._resolver, plain=True), None)

    @cached_property
    def _secure(self) -> httpcore.AsyncConnectionPool:
        return self._pool(_CheckedConnections(self._guard, self._resolver, plain=False), self._tls)

    def _pool(
        self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext | None
    ) -> httpcore.AsyncConnectionPool:
        """Make a pool without a bound of its own: an endpoint's slots are its bound, and nobody else's."""
        return httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE,
            network_backend=backend,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "holds no certificate"
            raise ConfigError(f"webhooks.ca_file: cannot be used: {reason}") from None


async def _beginning(answer: httpcore.Response) -> bytes:
    """Return an answer's first bytes, or what came of them: the status has said yes or no."""
    read = b""
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(ANSWER_SECONDS):
            async for part in answer.aiter_stream():
                read += part
                if len(read) >= MAX_ANSWER:
                    break
    return read[:MAX_ANSWER]


def _words(error: Exception) -> str:
    """Return what went wrong on the way. Such errors know addresses and certificates, but no URL."""
    text = scrub(str(error), "")[:_OWN_WORDS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
