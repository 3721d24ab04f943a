"""Which addresses are not of the public internet, in whatever spelling."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.special_addresses import Special, destination, is_within, special_range, unwrapped

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0"),
    *("169.253.255.255", "193.0.0.1", "198.17.255.255", "223.255.255.255", "168.63.129.15"),
    *("2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2001:200::1", "2003::1"),
    *("::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8"),
]

SPECIAL = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared by a provider's customers",
    "100.100.100.200": "a cloud's metadata service",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's metadata service",
    "169.254.1.1": "link-local",
    "169.254.169.254": "a cloud's metadata service",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "reserved",
    "192.0.2.1": "for documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "for benchmarks",
    "198.51.100.1": "for documentation",
    "203.0.113.1": "for documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::2": "unspecified",
    "::127.0.0.1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:7f00:1": "loopback",
    "::ffff:169.254.169.254": "a cloud's metadata service",
    "::ffff:0:127.0.0.1": "a translator's",
    "64:ff9b::10.0.0.1": "private",
    "64:ff9b:1::10.0.0.1": "a translator's",
    "100::1": "reserved",
    "2001::1": "Teredo to what is unspecified",
    "2001:0:808:808:0:0:f7f7:f7f7": "Teredo",
    "2001:0:808:808:0:0:80ff:fffe": "Teredo to what is loopback",
    "2001:2::1": "for benchmarks",
    "2001:10::1": "reserved",
    "2001:db8::1": "for documentation",
    "2002:808:808::1": "6to4",
    "2002:7f00:1::1": "6to4 to what is loopback",
    "2002:a9fe:a9fe::1": "6to4 to what is a cloud's metadata service",
    "3fff::1": "for documentation",
    "4000::1": "reserved",
    "5f00::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "a cloud's metadata service",
    "fd12:3456::1": "private",
    "fe80::1": "link-local",
    "fe80::1%2": "link-local",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_public_internet_is_not_special(text: str) -> None:
    assert special_range(ip_address(text)) is None


@pytest.mark.parametrize("text", SPECIAL)
def test_every_other_address_is_special_and_said_to_be_what_it_is(text: str) -> None:
    special = special_range(ip_address(text))

    assert special is not None
    assert special.kind == SPECIAL[text]
    assert destination(ip_address(text)) in special.network


@given(address=st.ip_addresses())
def test_what_python_says_of_an_address_is_special_here_too(address: IPv4Address | IPv6Address) -> None:
    """Its own tables are of another day, and know neither clouds nor all disguises, but are no smaller."""
    plain = destination(address)
    if not plain.is_global or plain.is_multicast or plain.is_reserved:
        assert special_range(address) is not None


@given(address=st.ip_addresses(v=4))
def test_an_ipv4_address_in_another_spelling_is_itself(address: IPv4Address) -> None:
    number = int(address)
    mapped, translated = IPv6Address(0xFFFF << 32 | number), IPv6Address(0x64FF9B << 96 | number)

    assert unwrapped(mapped) == unwrapped(address) == address
    assert (unwrapped(translated), destination(translated)) == (translated, address)
    assert special_range(mapped) == special_range(translated) == special_range(address)
    if number > 1:
        assert unwrapped(IPv6Address(number)) == address


@given(address=st.ip_addresses(v=4))
def test_a_tunnel_to_a_special_address_is_a_range_of_its_own(address: IPv4Address) -> None:
    """Whoever names 6to4 has not named the neighbors of the gateway."""
    tunnel = IPv6Address(0x2002 << 112 | int(address) << 80 | 1)
    special = special_range(tunnel)

    assert special is not None
    if special_range(address) is None:
        assert special == Special(IPv6Network("2002::/16"), "6to4")
    else:
        assert special.network == IPv6Network(int(tunnel))


@pytest.mark.parametrize(
    ("network", "special", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8", True),
        ("10.1.0.0/16", "10.0.0.0/8", True),
        ("0.0.0.0/0", "10.0.0.0/8", False),
        ("fd00::/8", "fc00::/7", True),
        ("::/0", "fc00::/7", False),
        ("10.0.0.0/8", "fc00::/7", False),
        ("::1", "127.0.0.0/8", False),
    ],
)
def test_a_network_is_within_a_range_if_it_holds_nothing_else(
    network: str, special: str, expected: bool
) -> None:
    assert is_within(ip_network(network), Special(ip_network(special), "")) == expected
