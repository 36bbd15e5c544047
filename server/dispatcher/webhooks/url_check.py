"""Checks a webhook's URL when it is configured. Its addresses are checked again at each attempt."""

from __future__ import annotations

import httpx

from ..resolver import Resolver
from .address_policy import ALLOWED, AddressPolicy

__all__ = ["problems_of"]

MAX_LENGTH = 2048
_PORTS = range(1, 65_536)


async def problems_of(text: str, policy: AddressPolicy, resolver: Resolver) -> list[str]:
    """Return every problem of a URL; an empty list if messages could be sent to it now."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        return [f"is not a URL: {error}"]
    return _faults(url, text) or await _refusals(url, policy, resolver)


def _faults(url: httpx.URL, text: str) -> list[str]:
    faults = [
        (
            url.scheme not in {"https", "http"},
            f"must start with https:// (or http:// for networks in {ALLOWED})",
        ),
        (not url.host, "must have a host"),
        (url.userinfo, "must not contain a user name or password: verify the signature instead"),
        (url.fragment, "must not have a fragment (#…), which is never sent"),
        (url.port is not None and url.port not in _PORTS, "port must be between 1 and 65535"),
        (len(text) > MAX_LENGTH, f"must be at most {MAX_LENGTH} characters long"),
    ]
    return [fault for wrong, fault in faults if wrong]


async def _refusals(url: httpx.URL, policy: AddressPolicy, resolver: Resolver) -> list[str]:
    host = url.raw_host.decode("ascii")
    try:
        addresses = await resolver.addresses(host)
    except OSError:
        return [f"the name {host} cannot be resolved"]
    plain = url.scheme == "http"
    refusals = (policy.refusal(address, plain=plain) for address in addresses)
    return list(dict.fromkeys(filter(None, refusals)))
