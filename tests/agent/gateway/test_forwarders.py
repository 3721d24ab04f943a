"""Who is believed when he says for whom a connection is, and what of it."""

from __future__ import annotations

import pytest

from agent.gateway.forwarders import Forwarders, complaint, silence
from schemas.networks import parse_network
from transport.wire.errors import RemoteProtocolError
from transport.wire.proxy_protocol import Endpoint, NoProxyHeaderError

FORWARDERS = Forwarders(tuple(parse_network(text) for text in ("10.0.0.5", "10.1.0.0/16", "2001:db8::/32")))


@pytest.mark.parametrize(
    "host", ["10.0.0.5", "10.1.255.1", "2001:db8::7", "::ffff:10.0.0.5", "2001:db8::7%eth0"]
)
def test_who_is_named_is_known_also_on_a_port_of_both_families(host: str) -> None:
    assert host in FORWARDERS


@pytest.mark.parametrize(
    "host", ["10.0.0.6", "10.2.0.0", "2001:db9::", "::ffff:10.0.0.6", "?", "", "localhost"]
)
def test_nobody_else_is(host: str) -> None:
    assert host not in FORWARDERS


def test_a_port_without_any_has_none() -> None:
    assert not Forwarders()
    assert FORWARDERS
    assert "10.0.0.5" not in Forwarders()


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (["192.0.2.7"], Endpoint("192.0.2.7", 0)),
        (["192.0.2.7:50000"], Endpoint("192.0.2.7", 50_000)),
        (["[2001:db9::7]:50000"], Endpoint("2001:db9::7", 50_000)),
        (["[2001:db9::7]"], Endpoint("2001:db9::7", 0)),
        (["2001:db9:0::7"], Endpoint("2001:db9::7", 0)),
        (["::ffff:192.0.2.7"], Endpoint("192.0.2.7", 0)),
        (["192.0.2.9", "192.0.2.7", "10.0.0.5", "10.1.2.3"], Endpoint("192.0.2.7", 0)),
        (["10.1.2.3", "10.0.0.5"], Endpoint("10.1.2.3", 0)),  # it asks for itself
    ],
)
def test_the_last_who_is_no_proxy_is_the_source(names: list[str], source: Endpoint) -> None:
    """Whatever stands before it was written by him."""
    assert FORWARDERS.source(names) == source


@pytest.mark.parametrize(
    "names",
    [[], ["unknown"], ["unknown", "10.0.0.5"], ["192.0.2.7", "unknown"], ["192.0.2.7:http"],
     ["192.0.2.7:70000"], ["192.0.2.7:²"], ["[::1"], [""],
     ["fe80::1%eth0"], ["fe80::1%\x1b[31mthis is an address", "10.0.0.5"]],
)  # fmt: skip
def test_who_names_nobody_or_nonsense_says_nothing(names: list[str]) -> None:
    """Nor is the one before believed, who may have put him there."""
    assert FORWARDERS.source(names) is None


def test_each_complaint_names_the_balancer_and_what_to_do() -> None:
    missing = complaint("10.0.0.5", NoProxyHeaderError("no header"))
    bad = complaint("10.0.0.5", RemoteProtocolError("a PROXY line has a lone LF"))

    assert missing.startswith(
        "10.0.0.5 is in accept_proxy_protocol and sent no PROXY header: turn it on there"
    )
    assert "a lone LF" in bad
    assert bad.endswith("look at what it sends")
    assert silence("10.0.0.5", seconds=3.0).startswith("10.0.0.5 is in accept_proxy_protocol")
    assert "within 3 s" in silence("10.0.0.5", seconds=3.0)
    assert "check-send-proxy" in silence("10.0.0.5", seconds=None)
