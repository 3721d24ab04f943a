"""What a client makes of the answer to its request for a WebSocket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import cuts, mutated
from transport.wire.errors import RemoteProtocolError
from transport.wire.upgrade_request import peek_upgrade_request
from transport.wire.upgrade_response import UpgradeAttempt


def attempt(path: str = "/base/tunnel") -> UpgradeAttempt:
    return UpgradeAttempt(host="gw1.example.com", port=443, path=path, secure=True)


def is_one_line(error: RemoteProtocolError) -> None:
    """As a log wants it, whatever the peer put into it."""
    assert str(error).isprintable()


def answer_of_a_gateway(asked: UpgradeAttempt) -> bytes:
    request = peek_upgrade_request(asked.request)
    assert request is not None
    return request.answer().text


def refusal(answer: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        attempt().peek(answer)
    assert str(caught.value).isprintable()
    return str(caught.value)


@given(st.lists(st.integers(0, 300), max_size=20))
def test_a_gateway_and_a_client_understand_each_other(places: list[int]) -> None:
    asked = attempt()
    buffer = bytearray()
    *first, last = cuts(answer_of_a_gateway(asked), places)
    for piece in first:
        buffer += piece
        assert asked.peek(buffer) is None

    found = asked.peek(buffer + last + b"first bytes")

    assert found is not None
    end, size = found
    assert size == len(buffer + last)
    assert not end.has_ended


def test_the_request_is_for_the_path_and_names_the_host() -> None:
    lines = attempt("/base/tunnel?key=1").request.split(b"\r\n")

    assert lines[0] == b"GET /base/tunnel?key=1 HTTP/1.1"
    assert b"Host: gw1.example.com" in lines
    assert not any(line.lower().startswith(b"sec-websocket-extensions") for line in lines)


def test_the_host_of_another_port_is_named_with_it() -> None:
    asked = UpgradeAttempt(host="2001:db8::7", port=9056, path="/tunnel", secure=False)

    assert b"\r\nHost: [2001:db8::7]:9056\r\n" in asked.request


def test_an_answer_to_another_request_is_no_answer_to_this_one() -> None:
    """A cache in between that gives everybody the same answer."""
    said = refusal(answer_of_a_gateway(attempt()))

    assert "Sec-WebSocket-Accept" in said
    assert said.endswith("a proxy in between has changed it, or is no gateway")


@pytest.mark.parametrize(
    ("status", "what_to_do"),
    [
        ("404 Not Found", "check the path"),
        ("502 Bad Gateway", "does not reach the gateway"),
        ("503 Service Unavailable", "does not reach the gateway"),
        ("504 Gateway Timeout", "does not reach the gateway"),
        ("500 Internal Server Error", "look into the log"),
        ("200 OK", "log in first"),
        ("511 Network Authentication Required", "log in first"),
        ("426 Upgrade Required", "Upgrade and Connection"),
        ("400 Bad Request", "Upgrade and Connection"),
        ("407 Proxy Authentication Required", "client.proxy"),
        ("401 Unauthorized", "without one"),
        ("403 Forbidden", "does not let this client in"),
        ("418 I'm a teapot", "check the path"),
    ],
)
def test_each_refusal_says_what_was_answered_and_what_to_do(status: str, what_to_do: str) -> None:
    """The page below it may be endless, and nobody waits for it."""
    said = refusal(f"HTTP/1.1 {status}\r\nContent-Length: 99999999\r\n\r\n<html>".encode())

    assert said.startswith(f"the answer was {status}: ")
    assert what_to_do in said


def test_a_port_that_may_want_tls_is_told_of_as_well() -> None:
    asked = UpgradeAttempt(host="gw1.example.com", port=443, path="/tunnel", secure=False)

    with pytest.raises(RemoteProtocolError, match=r"or this port wants TLS: write wss://$"):
        asked.peek(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_login_page_is_named() -> None:
    said = refusal(b"HTTP/1.1 302 Found\r\nServer: x\r\nLocation: http://login.hotel.example/?a=b\r\n\r\n")

    assert said.startswith("the answer was 302 Found to http://login.hotel.example/?a=b: ")
    assert "log in" in said


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"220 mail\r\n", b"HTTP/2 200\r\n\r\n",
     b"HTTP/1.1 abc\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_web_server_is_told(answer: bytes) -> None:
    assert refusal(answer) == "what answers there does not speak HTTP/1: check host and port of the URL"


def test_a_head_without_an_end_is_not_kept() -> None:
    assert "a head of more than" in refusal(b"HTTP/1.1 101 X\r\n" + b"X: y\r\n" * 20_000)


@given(
    mutated(
        [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n",
        ]
    )
)
def test_a_damaged_answer_is_an_error_or_needs_more(data: bytes) -> None:
    try:
        assert attempt().peek(data) is None
    except RemoteProtocolError as error:
        is_one_line(error)
