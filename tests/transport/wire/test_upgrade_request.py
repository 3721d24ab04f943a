"""Which requests become a WebSocket, and the plain words for all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import cuts, mutated
from transport.wire.errors import RemoteProtocolError
from transport.wire.upgrade_request import Answer, bad_request, peek_upgrade_request

FIELDS = {
    "Host": "gw1.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def request(line: str = "GET /tunnel HTTP/1.1", /, *more: str, **changes: str | None) -> bytes:
    """A request for a WebSocket, with some fields changed or left out."""
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), *more]
    return "".join(f"{text}\r\n" for text in (*lines, "")).encode("latin-1")


def is_one_line(error: RemoteProtocolError) -> None:
    """As a log wants it, whatever the peer put into it."""
    assert str(error).isprintable()


def answer_to(data: bytes) -> Answer:
    asked = peek_upgrade_request(data)
    assert asked is not None
    return asked.answer()


@pytest.mark.parametrize("path", ["/tunnel", "/base/tunnel", "/a/b/tunnel?x=1", "//tunnel"])
def test_a_path_that_ends_in_tunnel_leads_to_a_websocket(path: str) -> None:
    answer = answer_to(request(f"GET {path} HTTP/1.1"))

    assert answer.end is not None
    assert answer.text.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer.text  # RFC 6455 section 1.3


def test_no_extension_and_no_subprotocol_is_agreed_on() -> None:
    answer = answer_to(request(Sec_WebSocket_Extensions="permessage-deflate", Sec_WebSocket_Protocol="chat"))

    assert answer.end is not None
    assert b"extensions" not in answer.text.lower()
    assert b"protocol:" not in answer.text.lower()


@pytest.mark.parametrize("path", ["/", "/tunnels", "/tunnel/", "/x?/tunnel", "http://gw1/tunnel", "/TUNNEL"])
def test_other_paths_are_answered_404_in_plain_words(path: str) -> None:
    answer = answer_to(request(f"GET {path} HTTP/1.1"))

    assert answer.end is None
    assert answer.text.startswith(b"HTTP/1.1 404 ")
    assert b"control port of a Tidegate gateway" in answer.text
    assert b"client.gateways" in answer.text
    assert answer.why == f"answered 404 Not Found to GET {path}"


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
def test_other_methods_are_answered_405(method: str) -> None:
    answer = answer_to(request(f"{method} /tunnel HTTP/1.1"))

    assert answer.end is None
    assert answer.text.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in answer.text


@pytest.mark.parametrize(
    "data",
    [
        request(Upgrade=None),
        request(Connection=None),
        request(Connection="close"),
        request(Upgrade="h2c"),
        request("GET /tunnel HTTP/1.0"),
    ],
    ids=["no Upgrade", "no Connection", "Connection: close", "another protocol", "HTTP/1.0"],
)
def test_what_asks_for_no_websocket_is_answered_426(data: bytes) -> None:
    answer = answer_to(data)

    assert answer.end is None
    assert answer.text.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nUpgrade: websocket\r\n" in answer.text
    assert b"headers Upgrade and Connection" in answer.text


@pytest.mark.parametrize(
    "changes",
    [{"Sec_WebSocket_Key": None}, {"Sec_WebSocket_Key": "x"}, {"Sec_WebSocket_Version": "8"}],
    ids=["no key", "a bad key", "an old version"],
)
def test_a_websocket_of_another_kind_is_answered_400(changes: dict[str, str | None]) -> None:
    answer = answer_to(request(**changes))

    assert answer.end is None
    assert answer.text.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data",
    [
        request() + b"GET /admin HTTP/1.1\r\nHost: inside\r\n\r\n",
        request() + b"\x82\x80\x00\x00\x00\x00",
        request(Content_Length="5") + b"hello",
        request(Content_Length="5"),
        request("GET /tunnel HTTP/1.1", "Transfer-Encoding: chunked"),
        request("GET /tunnel HTTP/1.1", "Host: another"),
        request().replace(b"\r\n", b"\n"),
        b"POST /tunnel\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request("GET /tunnel HTTP/1.1", "X: " + "a" * 9000),
        request("GET /tunnel HTTP/1.1", *["X: a"] * 200),
    ],
    ids=[
        "another request", "a frame", "a body", "a body to come", "a chunked body", "two hosts",
        "lone LFs", "no version", "HTTP/2", "a long line", "many lines",
    ],
)  # fmt: skip
def test_what_two_readers_could_understand_differently_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        peek_upgrade_request(data)

    assert str(caught.value).isprintable()
    assert bad_request(str(caught.value)).text.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], ()),
        (["X-Forwarded-For: 192.0.2.7"], ("192.0.2.7",)),
        (["X-Forwarded-For: 192.0.2.7, 10.0.0.5", "x-forwarded-for: 10.0.0.6,"],
         ("192.0.2.7", "10.0.0.5", "10.0.0.6")),
    ],
)  # fmt: skip
def test_everybody_whom_the_proxies_name_is_there_in_order(lines: list[str], names: tuple[str, ...]) -> None:
    asked = peek_upgrade_request(request("GET /tunnel HTTP/1.1", *lines))

    assert asked is not None
    assert asked.forwarded_for == names


def test_a_request_can_be_refused_for_what_it_does_not_say() -> None:
    asked = peek_upgrade_request(request())
    assert asked is not None

    answer = asked.refuse("It does not say for whom it is.", why="10.0.0.5 says nothing")

    assert answer.end is None
    assert answer.text.startswith(b"HTTP/1.1 400 ")
    assert b"for whom it is" in answer.text
    assert b"10.0.0.5" not in answer.text
    assert answer.why == "10.0.0.5 says nothing"


@given(st.lists(st.integers(0, 400), max_size=20))
def test_nothing_is_decided_before_the_head_is_there(places: list[int]) -> None:
    """And then it does not depend on how the bytes came."""
    buffer = bytearray()
    *first, last = cuts(request("GET /base/tunnel HTTP/1.1"), places)
    for piece in first:
        buffer += piece
        assert peek_upgrade_request(buffer) is None

    asked = peek_upgrade_request(buffer + last)

    assert asked is not None
    assert asked.answer().end is not None


@given(mutated([request(), request("GET /x/tunnel HTTP/1.1", "X-Forwarded-For: ::1")]))
def test_damaged_requests_are_answered_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        asked = peek_upgrade_request(data)
    except RemoteProtocolError as error:
        is_one_line(error)
        return
    if asked is not None:
        answer = asked.answer()
        assert answer.text.startswith(b"HTTP/1.1 ")
        assert (answer.end is None) is bool(answer.why)
        assert answer.why.isprintable()
