"""Lists special networks: which addresses are not public, and which IPv6 addresses contain IPv4 addresses.

The source is IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) as of October 2025. The
`is_global` of Python's ipaddress is not used, because it changes with Python's patch level.

A network is listed unless the registry marks it as globally reachable and it contains hosts. `192.0.0.0/24`
and `2001::/23` are listed whole, because their reachable parts are anycast addresses of network services.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network

__all__ = ["EMBEDDING", "NOT_PUBLIC", "Address", "embedded", "is_public"]

Address = IPv4Address | ipaddress.IPv6Address

NOT_PUBLIC: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("0.0.0.0/8"),  # this network, RFC 791
    IPv4Network("10.0.0.0/8"),  # private use, RFC 1918
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT, RFC 6598
    IPv4Network("127.0.0.0/8"),  # loopback, RFC 1122
    IPv4Network("169.254.0.0/16"),  # link-local, RFC 3927
    IPv4Network("172.16.0.0/12"),  # private use, RFC 1918
    IPv4Network("192.0.0.0/24"),  # protocol assignments, RFC 6890
    IPv4Network("192.0.2.0/24"),  # documentation, RFC 5737
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 and 6a44, RFC 7526 and RFC 6751
    IPv4Network("192.168.0.0/16"),  # private use, RFC 1918
    IPv4Network("198.18.0.0/15"),  # benchmarks, RFC 2544
    IPv4Network("198.51.100.0/24"),  # documentation, RFC 5737
    IPv4Network("203.0.113.0/24"),  # documentation, RFC 5737
    IPv4Network("224.0.0.0/4"),  # multicast, RFC 5771
    IPv4Network("240.0.0.0/4"),  # reserved, and limited broadcast, RFC 1112 and RFC 8190
    IPv6Network("::/96"),  # unspecified, loopback and IPv4-compatible, RFC 4291
    IPv6Network("64:ff9b:1::/48"),  # NAT64 within a network, RFC 8215
    IPv6Network("100::/64"),  # discard, RFC 6666
    IPv6Network("100:0:0:1::/64"),  # dummy prefix, RFC 9780
    IPv6Network("2001::/23"),  # protocol assignments, including Teredo, RFC 2928 and RFC 4380
    IPv6Network("2001:db8::/32"),  # documentation, RFC 3849
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
    IPv6Network("5f00::/16"),  # segment routing, RFC 9602
    IPv6Network("fc00::/7"),  # unique local, RFC 4193
    IPv6Network("fe80::/10"),  # link-local, RFC 4291
    IPv6Network("fec0::/10"),  # site-local, RFC 3879
    IPv6Network("ff00::/8"),  # multicast, RFC 4291
)
# The only part of IPv6 that IANA assigns to hosts, RFC 4291 section 2.4.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ALL_BITS = 0xFFFF_FFFF

EMBEDDING: dict[IPv6Network, tuple[tuple[int, int], ...]] = {
    IPv6Network("::ffff:0:0/96"): ((0, 0),),  # IPv4-mapped, RFC 4291 section 2.5.5.2
    IPv6Network("::/96"): ((0, 0),),  # IPv4-compatible, RFC 4291 section 2.5.5.1
    IPv6Network("64:ff9b::/96"): ((0, 0),),  # NAT64, RFC 6052
    IPv6Network("64:ff9b:1::/48"): ((0, 0),),  # NAT64 within a network, with a prefix of 96 bits, RFC 8215
    IPv6Network("2002::/16"): ((80, 0),),  # 6to4, RFC 3056
    IPv6Network("2001::/32"): ((64, 0), (0, _ALL_BITS)),  # Teredo: server, and inverted client, RFC 4380
}
"""For each network whose addresses contain IPv4 addresses: how many bits to shift to the right, and a mask to
apply with exclusive or, for each of them."""
# Public if the IPv4 address in them is, although outside the global unicast addresses.
_TRANSLATED = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


def embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that are embedded in an IPv6 address."""
    if int(address) <= 1:
        return  # unspecified and loopback, which are not IPv4-compatible addresses
    for network, places in EMBEDDING.items():
        if address in network:
            yield from (IPv4Address((int(address) >> shift & _ALL_BITS) ^ mask) for shift, mask in places)


def is_public(address: Address) -> bool:
    """Return whether packets to this address are routed over the Internet to a single host.

    Addresses that are embedded in it are not checked.
    """
    if any(address in network for network in NOT_PUBLIC):
        return False
    if isinstance(address, IPv4Address):
        return True
    if address.scope_id:
        return False
    return address in _GLOBAL_UNICAST or any(address in network for network in _TRANSLATED)
