"""Opens HTTP connections to names that our own resolver resolves, and lets httpx use them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import suppress
from typing import Protocol, cast, runtime_checkable

import httpcore
import httpx

from .resolver import CONNECT_TIMEOUT, MAX_ADDRESSES, SHARED, Address, Resolver

__all__ = ["BROKEN", "ResolvedConnections", "ResolvingTransport"]

BROKEN = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError)
"""The errors of a connection, and of a server that does not speak HTTP."""


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


class ResolvedConnections(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that a resolver returns."""

    def __init__(self, resolver: Resolver = SHARED) -> None:
        self._resolver = resolver
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that accepts the connection.

        Raises:
            httpcore.ConnectError: The host has no address, or none accepts the connection.
            httpcore.ConnectTimeout: The last address did not accept the connection in time.
        """
        addresses = (await self._addresses(host))[:MAX_ADDRESSES]
        each = CONNECT_TIMEOUT / len(addresses)
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
        """Raise an error, because URLs do not refer to Unix sockets."""
        raise httpcore.ConnectError("URLs do not refer to Unix sockets")

    async def sleep(self, seconds: float) -> None:
        """Sleep for this many seconds."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str) -> list[Address]:
        try:
            return await self._resolver.addresses(host)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None


class _Body(httpx.AsyncByteStream):
    """The body of a response."""

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        if isinstance(self._stream, _Closable):
            await self._stream.aclose()


class ResolvingTransport(httpx.AsyncBaseTransport):
    """The transport of an httpx client. Its errors are those of httpcore, see `BROKEN`.

    httpx's own transport resolves names in the event loop's thread pool. A name that cannot be resolved
    occupies a thread for half a minute, so a few such names would stop all providers.

    Args:
        tls: How to check the server's certificate.
        limits: The number of connections, and how long they may be idle.
        http2: Whether to use HTTP/2 instead of HTTP/1.1.
    """

    def __init__(self, tls: ssl.SSLContext, limits: httpx.Limits, *, http2: bool) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=not http2,
            http2=http2,
            network_backend=ResolvedConnections(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response, whose body is not read yet."""
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=target,
                headers=request.headers.raw,
                content=cast("AsyncIterable[bytes]", request.stream),
                extensions=request.extensions,
            )
        )
        body = _Body(cast("AsyncIterable[bytes]", answer.stream))
        return httpx.Response(
            answer.status, headers=answer.headers, stream=body, extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
