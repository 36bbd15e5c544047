"""The network of a caller's address, which limits for strangers count."""

from __future__ import annotations

import ipaddress

__all__ = ["network_of"]

_IPV6_NETWORK = 64
"""The prefix that one site usually has (RFC 6177)."""


def network_of(address: str) -> str:
    """Return an IPv4 address itself, the /64 network of an IPv6 address, and any other text unchanged."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004 - the protocol's name
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))
