"""What a webhook's URL may be: judged when it is given, and its addresses at each attempt again."""

from __future__ import annotations

import httpx

from .address_policy import ALLOWED, AddressPolicy
from .resolver import Resolver

__all__ = ["problems_of"]

MAX_LENGTH = 2048
_PORTS = range(1, 65_536)


async def problems_of(text: str, guard: AddressPolicy, resolver: Resolver) -> list[str]:
    """Return everything that is wrong with a URL; nothing, if messages could be sent there now."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        return [f"is not a URL: {error}"]
    return _faults(url, text) or await _refusals(url, guard, resolver)


def _faults(url: httpx.URL, text: str) -> list[str]:
    faults = {
        f"must begin with https://, or http:// within the networks of {ALLOWED}": url.scheme
        not in {"https", "http"},
        "names no host": not url.host,
        "holds a user name or password: they would be kept in clear; verify the signature instead": bool(
            url.userinfo
        ),
        "has a fragment (#…), which is never sent": bool(url.fragment),
        "has a port that is none: 1 to 65535 are": url.port is not None and url.port not in _PORTS,
        f"is longer than {MAX_LENGTH} characters": len(text) > MAX_LENGTH,
    }
    return [fault for fault, is_there in faults.items() if is_there]


async def _refusals(url: httpx.URL, guard: AddressPolicy, resolver: Resolver) -> list[str]:
    host = url.raw_host.decode("ascii")
    try:
        addresses = await resolver.addresses(host)
    except OSError:
        return [f"the name {host} cannot be looked up"]
    plain = url.scheme == "http"
    refusals = (guard.refusal(address, plain=plain) for address in addresses)
    return list(dict.fromkeys(filter(None, refusals)))
