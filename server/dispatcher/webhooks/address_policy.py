"""Which addresses webhooks may go to: public ones, and networks that the configuration allows. Pure.

A URL is given by people who need not be trusted with our network: what it leads to could be a database, or
the cloud's metadata service. Names are no help, for whoever owns one decides where it leads; so what is
judged is the address that a connection is about to be made to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from ...errors import ConfigError

__all__ = ["ALLOWED", "Address", "AddressPolicy"]

ALLOWED = "[webhooks] allow (CLARION_WEBHOOKS_ALLOW, for `clarion webhooks create` and for dispatchers)"
"""The setting, as errors name it, and who reads it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What some versions of Python's `is_global` let through, and what it lets through by definition.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # behind carriers' NAT
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",  # benchmarks
            "240.0.0.0/4",
            "64:ff9b:1::/48",  # local NAT64
            "2001::/23",  # protocol assignments, Teredo among them
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
    """Judges addresses."""

    def __init__(self, allowed: Sequence[str]) -> None:
        """Take networks that may be reached although they are not public, as `10.1.0.0/16`.

        Raises:
            ConfigError: one of them is no network.
        """
        try:
            self._allowed = tuple(map(ipaddress.ip_network, allowed))
        except ValueError as error:
            raise ConfigError(f"webhooks.allow: {error}; a network is for example 10.1.0.0/16") from None

    def refusal(self, address: Address, *, plain: bool) -> str:
        """Return why no connection may be made to this address, or nothing.

        `plain`: without TLS, which is for allowed networks alone.
        """
        forms = (address, *_inner(address))
        if any(form in network for form in forms for network in self._allowed):
            return ""
        if not all(map(_is_public, forms)):
            return f"{address} is not a public address, and {ALLOWED} does not have it"
        return f"http:// is only for the networks of {ALLOWED}: use https://" if plain else ""


def _inner(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """Give the IPv4 address that an IPv6 address leads to, if it is of that kind."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address.sixtofour:
        yield address.sixtofour
    elif address in _NAT64 or address in _COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & _LAST_32_BITS)


def _is_public(address: Address) -> bool:
    """Tell whether anybody's packets to this address would go out into the Internet, to one host."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return False
        if address.ipv4_mapped or address in _NAT64:
            return True  # what it leads to is judged by itself
        if address not in _GLOBAL_UNICAST:
            return False
    special = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not address.is_reserved and not special
