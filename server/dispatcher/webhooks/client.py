"""The HTTP client for endpoints. It checks addresses, follows no redirects, and limits replies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import httpcore
import httpx

from ...domain.delivery_errors import ProviderError, Verdict
from ...errors import ConfigError
from ..connections import ResolvedConnections
from ..providers.http import RequestProgress, retry_after
from ..redact import scrub
from ..resolver import CONNECT_TIMEOUT, SHARED, Address, Resolver
from .address_policy import AddressPolicy

__all__ = ["Poster", "Reply"]

MAX_BODY = 1024
"""Maximum bytes of a reply's body that are read."""
BODY_TIMEOUT = 1.0
"""Seconds to wait for a reply's body. It is only logged; the status alone decides."""
_KEEPALIVE = 5.0
_MAX_IDLE_CONNECTIONS = 100
_MAX_ERROR_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """An endpoint's reply: its status, the first bytes of its body, and its `Retry-After` in seconds."""

    status: int
    body: bytes
    retry_after: float | None


class _Refused(httpcore.ConnectError):
    """Clarion itself refused the connection, so the text contains nothing from the network."""


class _CheckedConnections(ResolvedConnections):
    """Connects only to addresses that the policy allows.

    The name is resolved here and nowhere else, so that the addresses that were checked are the ones connected
    to (DNS rebinding). TLS and the Host header still use the name.
    """

    def __init__(self, policy: AddressPolicy, resolver: Resolver, *, plain: bool) -> None:
        super().__init__(resolver)
        self._policy = policy
        self._plain = plain

    async def _addresses(self, host: str) -> list[Address]:
        """Return the host's addresses.

        Raises:
            httpcore.ConnectError: The host has no address, or one of its addresses is not allowed.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                addresses = await super()._addresses(host)
        except (httpcore.ConnectError, TimeoutError):
            raise _Refused("the host's name cannot be resolved") from None
        for address in addresses:
            if refusal := self._policy.refusal(address, plain=self._plain):
                raise _Refused(refusal)
        return addresses


class Poster:
    """Posts to endpoints. Must be closed with `aclose`.

    Args:
        policy: Decides which addresses may be reached.
        timeout: Seconds that one post may take.
        ca_file: A PEM file of certificate authorities to trust; empty for the system's.

    Raises:
        ConfigError: `ca_file` cannot be used.
    """

    def __init__(self, policy: AddressPolicy, *, timeout: float, ca_file: str = "") -> None:
        self._policy = policy
        self._timeout = timeout
        self._ca_file = ca_file
        self._resolver = SHARED
        if ca_file:
            _ = self._tls  # report an invalid file at once

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post once and return the reply, whatever its status.

        Raises:
            ProviderError: No reply was received. The text contains neither the URL nor a secret. The verdict
                is IN_DOUBT if the request was sent.
        """
        progress = RequestProgress()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(httpx.URL(url), headers, body, progress)
        except TimeoutError:
            text = f"no answer within {self._timeout:g} s"
        except _Refused as error:
            text = f"not sent: {error}"
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            text = f"no answer: {_describe(error)}"
        raise ProviderError(Verdict.IN_DOUBT if progress.is_sent else Verdict.PROVIDER_DOWN, text)

    async def _post(
        self, url: httpx.URL, headers: Mapping[str, str], body: bytes, progress: RequestProgress
    ) -> Reply:
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
            extensions={"timeout": {"connect": CONNECT_TIMEOUT}, "trace": progress},
        ) as response:
            lowered = {name.decode("latin-1").lower(): value for name, value in response.headers}
            wait = retry_after({"retry-after": lowered.get("retry-after", b"").decode("latin-1")})
            return Reply(response.status, await _read_start(response), wait)

    async def aclose(self) -> None:
        """Close all connections."""
        for name in ("_plain", "_secure"):
            if name in vars(self):
                await getattr(self, name).aclose()

    # Created on first use, because loading the certificates would slow the start of every dispatcher.

    @cached_property
    def _plain(self) -> httpcore.AsyncConnectionPool:
        return self._pool(_CheckedConnections(self._policy, self._resolver, plain=True), None)

    @cached_property
    def _secure(self) -> httpcore.AsyncConnectionPool:
        return self._pool(_CheckedConnections(self._policy, self._resolver, plain=False), self._tls)

    def _pool(
        self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext | None
    ) -> httpcore.AsyncConnectionPool:
        """Create a pool without a limit, because the number of connections is limited by endpoint."""
        return httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE,
            network_backend=backend,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "contains no certificate"
            raise ConfigError(f"webhooks.ca_file: cannot be used: {reason}") from None


async def _read_start(response: httpcore.Response) -> bytes:
    """Return the first bytes of the body, or those that arrived in time."""
    read = b""
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(BODY_TIMEOUT):
            async for part in response.aiter_stream():
                read += part
                if len(read) >= MAX_BODY:
                    break
    return read[:MAX_BODY]


def _describe(error: Exception) -> str:
    """Describe a network error; its text may contain addresses and certificates, but never the URL."""
    text = scrub(str(error), "")[:_MAX_ERROR_LENGTH]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
