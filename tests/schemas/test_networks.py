from __future__ import annotations

import re
from ipaddress import IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.networks import Network, parse_network, spell_network

NETWORKS = st.builds(
    lambda address, cut: ip_network((address, max(0, address.max_prefixlen - cut)), strict=False),
    st.ip_addresses(),
    st.integers(0, 128),
)


@given(NETWORKS)
def test_a_network_that_is_spelled_and_read_again_is_the_same(network: Network) -> None:
    spelled = spell_network(network)
    disguised = IPv6Network("::ffff:0:0/96")
    if isinstance(network, IPv6Network) and network.subnet_of(disguised):
        with pytest.raises(ValueError, match="in disguise"):
            parse_network(spelled)
    else:
        assert parse_network(spelled) == network


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10.0.0.5/8", 'write "10.0.0.0/8" for the network or "10.0.0.5" for the address'),
        ("::ffff:10.0.0.0/104", 'write "10.0.0.0/8"'),
        ("::ffff:10.0.0.5", 'write "10.0.0.5/32"'),
        ("balancer", "write an address or a network"),
        ("10.1", "write an address or a network"),
        ("fe80::1%eth0", "write an address or a network"),
        ("10.0.0.5/33", "write an address or a network"),
    ],
)
def test_what_is_no_network_is_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        parse_network(text)


def test_a_mask_is_a_prefix_in_other_words() -> None:
    assert parse_network("10.0.0.0/255.0.0.0") == parse_network("10.0.0.0/8")
