"""Counts how often one address has failed to sign in."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from .errors import TooManyAttempts

__all__ = ["Throttle"]

_PER_MINUTE = 10
_SECONDS = 60.0
_MAX_ADDRESSES = 10_000
_IPV6_NETWORK = 64
"""The prefix that one site usually has (RFC 6177)."""


class Throttle:
    """Counts failures per address or IPv6 network.

    It does not protect keys, which have 122 random bits. It saves the servers work.

    Args:
        advice: What to do when there are too many.
        clock: Returns seconds.
    """

    def __init__(self, advice: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._advice = advice
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of addresses that it remembers."""
        return len(self._failures)

    def check(self, address: str) -> None:
        """Check that an address has not failed too often.

        Raises:
            TooManyAttempts: It has failed too often within a minute.
        """
        since = self._clock() - _SECONDS
        if sum(one > since for one in self._failures.get(_network(address), ())) >= _PER_MINUTE:
            raise TooManyAttempts(f"{(TooManyAttempts.__doc__ or '').strip()} {self._advice}")

    def failed(self, address: str) -> None:
        """Count a failure."""
        name = _network(address)
        times = self._failures.setdefault(name, [])
        times.append(self._clock())
        del times[:-_PER_MINUTE]
        self._failures.move_to_end(name)
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004 - the protocol's name
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))
