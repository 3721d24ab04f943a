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


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10.0.0.*", 'for addresses write a network, for example "10.0.0.0/24"'),
        ("192.168.*", 'for addresses write a network, for example "192.168.0.0/16"'),
        ("127.*.*.*", 'for addresses write a network, for example "127.0.0.0/8"'),
        ("10.0.0.1*", 'for addresses write a network, for example "10.0.0.0/24"'),
        ("999.*", 'for addresses write a network, for example "10.0.0.0/24"'),
    ],
)
def test_a_pattern_that_no_name_is_like_names_no_addresses_either(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match="is no pattern of names") as refused:
        parse_destination(text)

    assert str(refused.value).endswith(advice)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("mx.example.com:25", 'holds a port; write "mx.example.com" here and 25 in ports'),
        ("10.0.0.1:80", 'holds a port; write "10.0.0.1" here and 80 in ports'),
        ("[::1]:80", 'holds a port; write "::1" here and 80 in ports'),
        (":25", 'holds a port; write "*" here and 25 in ports'),
    ],
)
def test_a_port_is_sent_to_where_ports_are_written(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match="holds a port") as refused:
        parse_destination(text)

    assert str(refused.value).endswith(advice)
