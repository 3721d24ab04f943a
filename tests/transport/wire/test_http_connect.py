"""A way through an HTTP proxy, or what it answered instead and what to do about it."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import cuts, mutated
from transport.wire.errors import LocalProtocolError, RemoteProtocolError
from transport.wire.http_connect import MAX_ANSWER, HttpConnect
from transport.wire.http_head import peek_http_head

ANSWERS = [
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
    b"HTTP/1.1 204\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\nX: y\n\n",
]


def attempt(user: str | None = None, password: str | None = None) -> HttpConnect:
    return HttpConnect("gw1.example.com", 9056, user, password)


def refusal(answer: bytes, *, user: str | None = None) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        attempt(user, "secret").peek(answer)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)
    return str(caught.value)


def outcome(wire: bytes) -> int | str | None:
    """How long the answer is, that it is no answer, or that there is more to come."""
    try:
        return attempt().peek(wire)
    except RemoteProtocolError as error:
        return "refused" if str(error).isprintable() else str(error)


@pytest.mark.parametrize(
    ("host", "authority"),
    [("gw1.example.com", b"gw1.example.com:9056"), ("2001:db8::1", b"[2001:db8::1]:9056")],
)
def test_the_request_names_the_far_end_twice_and_is_one_that_a_parser_reads(
    host: str, authority: bytes
) -> None:
    request = HttpConnect(host, 9056).request

    head = peek_http_head(request)
    assert head is not None
    assert (head.method, head.host) == ("CONNECT", host)
    assert request.split(b"\r\n") == [b"CONNECT " + authority + b" HTTP/1.1", b"Host: " + authority, b"", b""]


def test_user_and_password_are_said_in_utf_8() -> None:
    (line,) = [
        line for line in attempt("zoë", "pass: wörd").request.split(b"\r\n") if line.startswith(b"Proxy-Auth")
    ]

    assert line.startswith(b"Proxy-Authorization: Basic ")
    assert b64decode(line.rpartition(b" ")[2]).decode() == "zoë:pass: wörd"


@pytest.mark.parametrize(
    ("host", "user", "password"),
    [("a b", None, None), ("a\r\nX: y", None, None), ("a", "b:c", ""), ("a", "b", "c\nd"), ("ä", None, None)],
)
def test_what_cannot_be_said_is_not(host: str, user: str | None, password: str | None) -> None:
    with pytest.raises(LocalProtocolError):
        HttpConnect(host, 1, user, password)


@pytest.mark.parametrize("answer", ANSWERS)
@given(places=st.lists(st.integers(0, 200), max_size=20))
def test_what_follows_the_answer_is_the_far_ends(answer: bytes, places: list[int]) -> None:
    asked, buffer = attempt(), bytearray()
    *first, last = cuts(answer, places)
    for piece in first:
        buffer += piece
        assert asked.peek(buffer) is None

    assert asked.peek(buffer + last + b"\x16\x03\x01") == len(answer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 Filtered\r\n\r\n", ["403 Filtered", "its rules do not allow it"]),
        (b"HTTP/1.1 405 \r\n\r\n", ["405", "its rules do not allow it"]),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", ["502 Bad Gateway", "does not reach the gateway"]),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ["404", "no proxy"]),
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n", ["302", "log in first"]),
        (b"HTTP/1.1 101 Switching\r\n\r\n", ["101"]),
        (b"HTTP/1.1 418 I'm a teapot\r\n\r\n", ["418", "its log"]),
        (b"HTTP/1.1 500 \x1b[2J\r\n\r\n", ["500: it"]),
        (b"HTTP/2 200 OK\r\n\r\n", ["does not speak HTTP/1"]),
        (b"\x05\xff", ["does not speak HTTP/1"]),
        (b"HTTP/1.1 OK\r\n\r\n", ["does not speak HTTP/1"]),
    ],
)
def test_any_other_answer_is_told_with_what_to_do(answer: bytes, says: list[str]) -> None:
    told = refusal(answer)

    assert all(part in told for part in says), told


def test_a_proxy_that_asks_for_a_password_and_one_that_refuses_it_are_told_apart() -> None:
    answer = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n'
    assert "refuses the user or the password" in refusal(answer.replace(b"407", b"401"), user="mail")
    assert "no proxy" in refusal(answer.replace(b"407", b"401"))

    assert "wants to know who asks: set user and password in its URL" in refusal(answer)
    assert "refuses the user or the password" in refusal(answer, user="mail")


def test_a_proxy_that_wants_something_else_than_a_password_is_told() -> None:
    answer = b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n\r\n"

    assert "wants Negotiate or NTLM" in refusal(answer, user="mail")
    also = answer.replace(b"NTLM", b'basic realm="x"')
    assert "refuses the user or the password" in refusal(also, user="mail")


@pytest.mark.parametrize("line", [b"X: " + b"y" * 1000 + b"\r\n", b"\r\nHTTP/1.1 100 C\r\n"])
def test_a_proxy_that_does_not_stop_is_cut_off(line: bytes) -> None:
    endless = b"HTTP/1.1 100 C\r\n" + line * (2 * MAX_ANSWER // len(line))

    assert attempt().peek(endless[: MAX_ANSWER - 1]) is None
    assert "more than 65536 bytes" in refusal(endless[:MAX_ANSWER])
    assert "more than 65536 bytes" in refusal(endless)


@given(st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 "]), st.binary(max_size=100), mutated(ANSWERS))
def test_noise_is_read_or_too_short_or_refused_in_the_same_way_byte_by_byte(
    start: bytes, noise: bytes, damaged: bytes
) -> None:
    for wire in (start + noise, damaged):
        decided: object = None
        for end in range(len(wire) + 1):
            found = outcome(wire[:end])
            assert decided is None or found == decided
            assert found in (None, "refused") or isinstance(found, int)
            decided = found
