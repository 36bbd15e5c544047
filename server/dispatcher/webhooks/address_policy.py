"""Which addresses webhooks may be sent to: public ones, and networks that the configuration allows.

A URL comes from a user, and could point into our network: at a database, or at the cloud's metadata service
(SSRF). Checking the host name is not enough, because its owner can change the address that it resolves to. So
the policy is applied to the IP address of each connection, just before it is opened.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from ...errors import ConfigError

__all__ = ["ALLOWED", "Address", "AddressPolicy"]

ALLOWED = "[webhooks] allow (CLARION_WEBHOOKS_ALLOW, for `clarion webhooks create` and for dispatchers)"
"""The name of the setting in errors, with the environment variable and the programs that read it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Networks that are not public, although `is_global` accepts them in some versions of Python or by definition.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # 6to4 relays
            "198.18.0.0/15",  # benchmarks
            "240.0.0.0/4",
            "64:ff9b:1::/48",  # local NAT64
            "2001::/23",  # protocol assignments, including Teredo
            "2001:db8::/32",
            "3fff::/20",  # documentation
        ),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LAST_32_BITS = 0xFFFF_FFFF


class AddressPolicy:
    """Decides which addresses may be reached.

    Args:
        allowed: Networks that may be reached although they are not public, such as `10.1.0.0/16`.

    Raises:
        ConfigError: One of them is not a network.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        try:
            self._allowed = tuple(map(ipaddress.ip_network, allowed))
        except ValueError as error:
            raise ConfigError(f"webhooks.allow: {error}; give networks such as 10.1.0.0/16") from None

    def refusal(self, address: Address, *, plain: bool) -> str:
        """Return why no connection may be made to this address, or an empty string.

        Args:
            address: The address of the connection.
            plain: Whether the connection is without TLS, which is accepted only in allowed networks.
        """
        forms = (address, *_inner(address))
        if any(form in network for form in forms for network in self._allowed):
            return ""
        if not all(map(_is_public, forms)):
            return f"{address} is not a public address; to allow it, add its network to {ALLOWED}"
        return f"http:// is only allowed for the networks in {ALLOWED}; use https://" if plain else ""


def _inner(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 address that is embedded in an IPv6 address (mapped, 6to4, NAT64), if any."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address.sixtofour:
        yield address.sixtofour
    elif address in _NAT64 or address in _COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & _LAST_32_BITS)


def _is_public(address: Address) -> bool:
    """Return whether packets to this address are routed over the Internet to a single host."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return False
        if address.ipv4_mapped or address in _NAT64:
            return True  # the embedded IPv4 address is checked separately
        if address not in _GLOBAL_UNICAST:
            return False
    special = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not address.is_reserved and not special
