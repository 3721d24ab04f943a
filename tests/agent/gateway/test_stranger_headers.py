"""Which PROXY headers of load balancers that nobody has named are told of, and how often."""

from __future__ import annotations

from typing import Final

import pytest

from agent.gateway.stranger_headers import StrangerHeaders
from transport.wire.proxy_protocol import Endpoint, build_v1, build_v2

HEADER: Final = build_v2(Endpoint("192.0.2.7", 50_000), Endpoint("198.51.100.1", 443))


def test_the_first_visitor_is_looked_at_and_after_it_has_spoken_nobody_for_a_minute() -> None:
    headers = StrangerHeaders()

    assert headers.is_due(100.0)
    assert not headers.found(b"GET / HTTP/1.1", 100.2)
    assert not headers.is_due(160.1)
    assert headers.is_due(160.3)


def test_after_one_that_says_nothing_the_next_is_looked_at_in_a_second() -> None:
    headers = StrangerHeaders()

    assert headers.is_due(100.0)
    assert not headers.found(b"", 100.2)
    assert not headers.is_due(100.9)
    assert headers.is_due(101.1)


def test_one_header_a_minute_is_told_of() -> None:
    headers = StrangerHeaders()

    assert headers.found(HEADER, 100.0)
    assert not headers.found(HEADER, 159.0)
    assert headers.found(HEADER, 160.0)


@pytest.mark.parametrize("first", [b"", HEADER[:11], b"GET / HTTP/1.1\r\n", b"PROXY of mine", b"PROXY TCP"])
def test_what_only_begins_like_a_header_is_none(first: bytes) -> None:
    assert not StrangerHeaders().found(first, 100.0)


@pytest.mark.parametrize(
    "first", [HEADER[:12], HEADER + b"more", build_v1(None, None), b"PROXY TCP6 nonsense"]
)
def test_a_header_is_one_whether_it_is_complete_and_correct_or_not(first: bytes) -> None:
    assert StrangerHeaders().found(first, 100.0)
