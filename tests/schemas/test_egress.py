from __future__ import annotations

from ipaddress import ip_network

import pytest

from schemas.egress import ANY_HOST, Destination, HostGlob, parse_destination, spell_destination


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("*", ANY_HOST),
        ("*.Example.com", HostGlob("*.example.com")),
        ("mail.example.com.", HostGlob("mail.example.com")),
        ("bücher.example", HostGlob("xn--bcher-kva.example")),
        ("192.0.2.7", ip_network("192.0.2.7/32")),
        ("198.51.100.0/24", ip_network("198.51.100.0/24")),
        ("2001:db8::1", ip_network("2001:db8::1/128")),
        ("2001:db8::/32", ip_network("2001:db8::/32")),
        ("10-0-0-1.example", HostGlob("10-0-0-1.example")),
    ],
)
def test_a_destination_is_a_name_or_a_network(text: str, destination: Destination) -> None:
    assert parse_destination(text) == destination
    assert parse_destination(spell_destination(destination)) == destination


@pytest.mark.parametrize(
    "text",
    ["", "127.1", "2130706433", "0177.0.0.1", "1.2.3.4.", "a.1", "a:80", "[::1]", "https://a/", "a/b", "a b"],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_destination(text)
