"""Which addresses webhooks may go to."""

from __future__ import annotations

import ipaddress

import pytest

from server.dispatcher.webhooks.address_policy import ALLOWED, AddressPolicy
from server.errors import ConfigError
from tests.kit.cases import each_case

PUBLIC = (
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",  # how a host without IPv4 reaches 8.8.8.8
    "2002:808:808::1",
)
NOT_PUBLIC = (
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # metadata of clouds
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_need_https(text: str) -> None:
    guard, address = AddressPolicy([]), ipaddress.ip_address(text)
    assert guard.refusal(address, plain=False) == ""
    assert guard.refusal(address, plain=True).startswith("http:// is only allowed for the networks")


@each_case("text", NOT_PUBLIC)
def test_other_addresses_are_refused(text: str) -> None:
    refusal = AddressPolicy([]).refusal(ipaddress.ip_address(text), plain=False)
    assert refusal.endswith(f"is not a public address; to allow it, add its network to {ALLOWED}")


@each_case(
    ("text", "passes"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("64:ff9b::a01:203", True),
        ("10.2.0.1", False),
        ("::ffff:10.2.0.1", False),
        ("fd00:1::5", True),
        ("fd00:2::5", False),
        ("127.0.0.1", False),
    ],
)
@each_case("plain", [False, True])
def test_allowed_networks_work_with_and_without_tls(text: str, *, passes: bool, plain: bool) -> None:
    guard = AddressPolicy(["10.1.0.0/16", "fd00:1::/64"])
    assert (guard.refusal(ipaddress.ip_address(text), plain=plain) == "") is passes


@pytest.mark.parametrize("network", ["localhost", "10.1.2.3/16", "10.0.0.0/33", ""])
def test_an_invalid_network_is_reported(network: str) -> None:
    with pytest.raises(ConfigError, match=r"webhooks\.allow: .*give networks such as 10\.1\.0\.0/16"):
        AddressPolicy([network])
