"""Looking names up without waiting for each other."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress

from .address_policy import Address

__all__ = ["Resolver"]


class Resolver:
    """Looks each name up in a thread of its own, once for all who wait.

    The event loop's own look-ups share a few threads. A name whose servers do not answer would keep one for
    half a minute, and a few of them would keep everything else from being sent.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """Return the addresses of a name, or of an address in whatever form, in the order of preference.

        Raises:
            OSError: there are none, or the name cannot be looked up.
        """
        with suppress(ValueError):
            return [ipaddress.ip_address(host)]
        looking = self._under_way.get(host) or self._look_up(host)
        return await asyncio.shield(looking)  # others wait on when this attempt is cancelled

    def _look_up(self, host: str) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        looking: asyncio.Future[list[Address]] = loop.create_future()

        def settle(found: list[Address] | Exception) -> None:
            del self._under_way[host]
            if isinstance(found, Exception):
                looking.set_exception(found)
                looking.exception()  # nobody may be left to hear of it
            else:
                looking.set_result(found)

        def work() -> None:
            found: list[Address] | Exception
            try:
                found = _resolved(host)
            except Exception as error:  # whatever it is: those who wait must hear of it
                found = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        # Not an executor's: those are waited for when the process ends.
        try:
            threading.Thread(target=work, name="webhook-resolver", daemon=True).start()
        except RuntimeError as error:
            raise OSError(str(error)) from None  # no more threads: the next one may get one
        self._under_way[host] = looking
        return looking


def _resolved(host: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is too long, or empty
        raise OSError("not a name") from None
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
