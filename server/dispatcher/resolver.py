"""Name resolution in which slow names do not delay others."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress

__all__ = ["CONNECT_TIMEOUT", "MAX_ADDRESSES", "SHARED", "Address", "Resolver", "connect"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
CONNECT_TIMEOUT = 5.0
"""Seconds to connect to a host, divided among its addresses."""
MAX_ADDRESSES = 4
"""Maximum number of a host's addresses that are tried."""


class Resolver:
    """Resolves each name in its own thread, once for all concurrent callers.

    The event loop's own lookups share a few threads. A name whose servers do not answer would occupy one for
    half a minute, and a few such names would block all other messages.
    """

    def __init__(self) -> None:
        self._lookups: dict[str, asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """Return a host's addresses in order of preference.

        Args:
            host: A name, or an address in any notation.

        Raises:
            OSError: The name has no addresses or cannot be resolved.
        """
        with suppress(ValueError):
            return [ipaddress.ip_address(host)]
        lookup = self._lookups.get(host)
        if lookup is None or lookup.get_loop() is not asyncio.get_running_loop():
            lookup = self._look_up(host)
        return await asyncio.shield(lookup)  # cancelling this attempt must not cancel the others

    def _look_up(self, host: str) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[list[Address]] = loop.create_future()

        def settle(found: list[Address] | Exception) -> None:
            del self._lookups[host]
            if isinstance(found, Exception):
                lookup.set_exception(found)
                lookup.exception()  # mark it as retrieved, in case all waiters have been cancelled
            else:
                lookup.set_result(found)

        def work() -> None:
            found: list[Address] | Exception
            try:
                found = _resolved(host)
            except Exception as error:  # passed on to the waiters
                found = error
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(settle, found)

        # Not an executor, because the process would wait for its threads on exit.
        try:
            threading.Thread(target=work, name="resolver", daemon=True).start()
        except RuntimeError as error:
            raise OSError(str(error)) from None  # out of threads; a later lookup may succeed
        self._lookups[host] = lookup
        return lookup


SHARED = Resolver()
"""The resolver of providers and webhooks."""


async def connect(host: str, port: int, resolver: Resolver = SHARED) -> socket.socket:
    """Return a socket that is connected to the first of a host's addresses that accepts the connection.

    Raises:
        OSError: The name cannot be resolved, or no address accepts the connection.
    """
    try:
        addresses = (await resolver.addresses(host))[:MAX_ADDRESSES]
    except OSError as error:
        raise OSError(f"cannot resolve {host}: {error.strerror or error}") from None
    for address in addresses[:-1]:
        with suppress(OSError):
            return await _connect(address, port, CONNECT_TIMEOUT / len(addresses))
    return await _connect(addresses[-1], port, CONNECT_TIMEOUT / len(addresses))


async def _connect(address: Address, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET if isinstance(address, ipaddress.IPv4Address) else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - its interface
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except TimeoutError:
        connection.close()
        raise TimeoutError(f"no connection to {address} port {port} within {seconds:g} s") from None
    except OSError as error:
        connection.close()
        raise OSError(f"cannot connect to {address} port {port}: {error.strerror or error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _resolved(host: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is too long, or empty
        raise OSError("not a valid name") from None
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
