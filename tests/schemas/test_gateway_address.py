from __future__ import annotations

import re

import pytest

from schemas.gateway_address import GatewayAddress, WebSocketUrl, parse_gateway_address
from schemas.names import HostPort


@pytest.mark.parametrize(
    ("text", "address", "spelled"),
    [
        ("gw1.example.com:9056", HostPort("gw1.example.com", 9056), "gw1.example.com:9056"),
        ("wss://gw1/", WebSocketUrl("gw1", 443, "/tunnel", secure=True), "wss://gw1/tunnel"),
        ("ws://gw1", WebSocketUrl("gw1", 80, "/tunnel", secure=False), "ws://gw1/tunnel"),
        ("wss://gw1:80/a/b/", WebSocketUrl("gw1", 80, "/a/b", secure=True), "wss://gw1:80/a/b"),
        ("ws://[::1]:8080/x", WebSocketUrl("::1", 8080, "/x", secure=False), "ws://[::1]:8080/x"),
        ("wss://[::1]/x", WebSocketUrl("::1", 443, "/x", secure=True), "wss://[::1]/x"),
    ],
)
def test_a_gateway_is_an_address_or_the_url_of_a_websocket(
    text: str, address: GatewayAddress, spelled: str
) -> None:
    assert parse_gateway_address(text) == address
    assert str(address) == spelled
    assert parse_gateway_address(spelled) == address


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("https://gw1/tunnel", 'write "wss://gw1/tunnel"'),
        ("http://gw1/tunnel", 'write "ws://gw1/tunnel"'),
        ("wss://me:secret@gw1/tunnel", "no user and no password"),
        ("wss://gw1/tunnel?x=1", "more than a host, a port and a path"),
        ("wss://gw1/a b", "more than a host, a port and a path"),
        ("wss:///tunnel", "no host"),
        ("gw1", "has no port"),
    ],
)
def test_what_is_neither_is_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)) as caught:
        parse_gateway_address(text)
    assert "secret" not in str(caught.value)
