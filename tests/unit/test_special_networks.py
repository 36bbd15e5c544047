"""The table of special networks, at its edges, and IPv4 addresses within IPv6 addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import server
from server.dispatcher.webhooks.address_policy import AddressPolicy
from server.dispatcher.webhooks.special_networks import NOT_PUBLIC, Address, embedded, is_public
from tests.kit.cases import each_case

# Each network with the addresses just outside it, and whether those are public.
EDGES = {
    "0.0.0.0/8": {"1.0.0.0": True},
    "10.0.0.0/8": {"9.255.255.255": True, "11.0.0.0": True},
    "100.64.0.0/10": {"100.63.255.255": True, "100.128.0.0": True},
    "127.0.0.0/8": {"126.255.255.255": True, "128.0.0.0": True},
    "169.254.0.0/16": {"169.253.255.255": True, "169.255.0.0": True},
    "172.16.0.0/12": {"172.15.255.255": True, "172.32.0.0": True},
    "192.0.0.0/24": {"191.255.255.255": True, "192.0.1.0": True},
    "192.0.2.0/24": {"192.0.1.255": True, "192.0.3.0": True},
    "192.88.99.0/24": {"192.88.98.255": True, "192.88.100.0": True},
    "192.168.0.0/16": {"192.167.255.255": True, "192.169.0.0": True},
    "198.18.0.0/15": {"198.17.255.255": True, "198.20.0.0": True},
    "198.51.100.0/24": {"198.51.99.255": True, "198.51.101.0": True},
    "203.0.113.0/24": {"203.0.112.255": True, "203.0.114.0": True},
    "224.0.0.0/4": {"223.255.255.255": True, "240.0.0.0": False},
    "240.0.0.0/4": {"239.255.255.255": False},
    "::/96": {"::1:0:0": False},
    "64:ff9b:1::/48": {"64:ff9b:0:ffff:ffff:ffff:ffff:ffff": False, "64:ff9b:2::": False},
    "100::/64": {"ff:ffff::": False},
    "100:0:0:1::/64": {"100:0:0:2::": False},
    "2001::/23": {"2000:ffff:ffff:ffff::": True, "2001:200::": True},
    "2001:db8::/32": {"2001:db7:ffff::": True, "2001:db9::": True},
    "3fff::/20": {"3ffe:ffff::": True, "3fff:1000::": True},
    "5f00::/16": {"5eff:ffff::": False, "5f01::": False},
    "fc00::/7": {"fbff:ffff::": False, "fe00::": False},
    "fe80::/10": {"fe7f:ffff::": False},
    "fec0::/10": {"febf:ffff::": False},
    "ff00::/8": {"feff:ffff::": False},
}
PUBLIC = IPv4Address("8.8.8.8")
INVERTED = bytes(byte ^ 0xFF for byte in PUBLIC.packed)
# An IPv6 address that contains an IPv4 address, written by the RFC of each form.
FORMS: dict[str, Callable[[IPv4Address], IPv6Address]] = {
    "mapped": lambda inner: IPv6Address(f"::ffff:{inner}"),
    "compatible": lambda inner: IPv6Address(f"::{inner}"),
    "NAT64": lambda inner: IPv6Address(f"64:ff9b::{inner}"),
    "local NAT64": lambda inner: IPv6Address(f"64:ff9b:1::{inner}"),
    "6to4": lambda inner: IPv6Address(b"\x20\x02" + inner.packed + bytes(10)),
    "Teredo server": lambda inner: IPv6Address(b"\x20\x01\0\0" + inner.packed + bytes(4) + INVERTED),
    "Teredo client": lambda inner: IPv6Address(
        b"\x20\x01\0\0" + PUBLIC.packed + bytes(4) + bytes(byte ^ 0xFF for byte in inner.packed)
    ),
}
ALWAYS_REFUSED = {"compatible", "local NAT64", "Teredo server", "Teredo client"}
ANY_IPV4 = st.ip_addresses(v=4).filter(lambda address: int(address) > 1)
SPECIAL_IPV4 = st.sampled_from([net for net in NOT_PUBLIC if isinstance(net, IPv4Network)]).flatmap(
    lambda network: st.ip_addresses(network=network)
)


def refusal(address: Address, *allowed: str, plain: bool = False) -> str:
    return AddressPolicy(allowed).refusal(address, plain=plain)


def test_each_network_has_edges() -> None:
    assert list(EDGES) == [str(network) for network in NOT_PUBLIC]


@each_case("network", NOT_PUBLIC, ids=str)
def test_a_network_is_refused_up_to_its_edges(network: IPv4Network | IPv6Network) -> None:
    for address in (network[0], network[1], network[network.num_addresses // 2], network[-1]):
        assert not is_public(address)
        assert refusal(address) != ""
    for text, public in EDGES[str(network)].items():
        outside = ipaddress.ip_address(text)
        assert outside not in network
        assert is_public(outside) is public
        assert (refusal(outside) == "") is public


@pytest.mark.parametrize("text", ["::", "::1", "0.0.0.0"])  # noqa: S104 - nothing is bound to it
def test_a_single_special_address_can_be_allowed(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert refusal(address) != ""
    assert refusal(address, text, plain=True) == ""


@given(ANY_IPV4, st.sampled_from(sorted(FORMS)))
def test_embedded_addresses_are_found(inner: IPv4Address, form: str) -> None:
    assert inner in set(embedded(FORMS[form](inner)))


@given(ANY_IPV4, st.sampled_from(sorted(FORMS)))
def test_a_form_is_public_if_the_embedded_address_is(inner: IPv4Address, form: str) -> None:
    accepted = refusal(FORMS[form](inner)) == ""
    assert accepted is (is_public(inner) and form not in ALWAYS_REFUSED)


@given(SPECIAL_IPV4.filter(lambda inner: int(inner) > 1), st.sampled_from(sorted(FORMS)))
def test_an_allowed_form_opens_no_private_network(inner: IPv4Address, form: str) -> None:
    address = FORMS[form](inner)
    allowed = ("::/96", "64:ff9b::/32", "2001::/16", "2002::/16")
    assert f"{address} contains {inner}, which is not a public address" in refusal(address, *allowed)
    assert refusal(address, *allowed, f"{inner}/32", plain=True) == ""


@given(st.ip_addresses())
def test_ipv4_addresses_and_others_embed_nothing(address: Address) -> None:
    known = ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
    if not any(address in ipaddress.ip_network(network) for network in known):
        assert list(embedded(address)) == []


def test_nothing_relies_on_pythons_own_table() -> None:
    """Its answers differ by patch level, for example for 2002:808:808::1."""
    names = re.compile(r"\.is_(global|private|reserved|site_local|link_local)\b")
    sources = Path(server.__file__).parents[1]
    for part in ("server", "gateway", "client"):
        for path in (sources / part).rglob("*.py"):
            assert not names.search(path.read_text(encoding="utf-8")), path
