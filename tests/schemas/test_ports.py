from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import parse_listen
from schemas.ports import ALL_PORTS, PortRange, parse_listen_pattern, parse_port_range

PORTS = st.integers(1, 65535)
RANGES = st.builds(lambda one, other: PortRange(min(one, other), max(one, other)), PORTS, PORTS)


@given(RANGES)
def test_a_range_that_is_written_and_read_again_is_the_same(ports: PortRange) -> None:
    assert parse_port_range(str(ports)) == ports
    assert len(ports) == ports.last - ports.first + 1
    assert ports.first in ports
    assert ports.last in ports
    assert ports.first - 1 not in ports
    assert ports.last + 1 not in ports
    assert ports.is_single == (len(ports) == 1)


def test_a_star_is_every_port() -> None:
    assert parse_port_range("*") == ALL_PORTS


@pytest.mark.parametrize("text", ["", "0", "65536", "9-8", "1-", "-1", "smtp", "1-2-3", "+1", "1 "])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_port_range(text)


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        (":443", ["0.0.0.0:443", "[::]:443", "192.0.2.1:443"], ["0.0.0.0:444"]),
        ("0.0.0.0:80-81", ["0.0.0.0:80", "192.0.2.1:81"], ["[::]:80", "[::1]:80", "0.0.0.0:82"]),
        ("[::]:*", ["[::]:1", "[2001:db8::1]:65535"], ["0.0.0.0:1"]),
        ("192.0.2.1:443", ["192.0.2.1:443"], ["192.0.2.2:443", "0.0.0.0:443"]),
        ("[0::1]:443", ["[::1]:443"], ["[::2]:443", "[::]:443"]),
    ],
)
def test_a_pattern_covers_the_addresses_that_it_names_and_no_others(
    pattern: str, covered: list[str], others: list[str]
) -> None:
    found = parse_listen_pattern(pattern)

    for text in covered:
        assert all(found.covers(address) for address in parse_listen(text)), text
    for text in others:
        assert not any(found.covers(address) for address in parse_listen(text)), text
    assert parse_listen_pattern(str(found)) == found


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("443", 'write ":443" for any address'),
        ("8000-8999", 'write ":8000-8999"'),
        ("0.0.0.0", "has no port"),
        ("example.com:80", "not an IP address"),
        ("::1:443", "with its brackets"),
        ("[1.2.3.4]:1", "with its brackets"),
        ("[]:1", "is not an IP address with its brackets"),
        ("[::1%eth0]:1", "names an interface"),
        (":", "is no port"),
    ],
)
def test_what_is_no_pattern_is_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        parse_listen_pattern(text)
