"""Every parser of the wire, whatever it is fed: an event, "need more", or the peer's error, and nothing else.

It does not depend on how the bytes were cut: what is decided of a prefix is decided of the whole.
The parsers' own tests say what is read; this one says what holds for all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import (
    ControlMessage,
    Drain,
    FailureCode,
    Hello,
    Refusal,
    RefusalCode,
    Services,
    StreamDialed,
    StreamFailed,
    Welcome,
)
from schemas.names import ProxyProtocol
from tests.support.hellos import ALPN, POST_QUANTUM, build_hello, in_records, message_of, server_name, vector
from tests.support.mutations import cuts, mutated
from transport.wire.client_hello import Short, peek_client_hello, scan_client_hello
from transport.wire.control import ControlDecoder, encode_message
from transport.wire.egress_header import EgressHeader, encode_egress_header, peek_egress_header
from transport.wire.errors import RemoteProtocolError
from transport.wire.http_head import looks_like_http, peek_http_head
from transport.wire.open_header import OpenHeader, encode_open_header, peek_open_header
from transport.wire.proxy_protocol import Endpoint, build_v1, build_v2, peek_proxy_header

V4: Final = (Endpoint("192.0.2.7", 50_000), Endpoint("198.51.100.1", 443))
V6: Final = (Endpoint("2001:db8::7", 50_000), Endpoint("2001:db8::1", 443))

HELLO: Final = build_hello(
    [server_name(b"blog.example.com"), (10, bytes(8)), (ALPN, vector(2, b"\x02h2\x08http/1.1"))],
    session_id=bytes(32),
)
OPENED: Final = [
    OpenHeader(tunnel="blog", service="web", source=ends[0], destination=ends[1], proxy_protocol=version)
    for ends, version in zip([V4, V6, V4], ProxyProtocol, strict=True)
]
SAID: Final[Sequence[ControlMessage]] = [
    Hello(protocol=1, id="homelab", software="x/1", services=("web", "smtp"), instance="5e1f", session=3),
    Welcome(protocol=1, gateway="gw1", software="x/1"),
    Refusal(code=RefusalCode.NOT_DECLARED, message="add it under clients"),
    Services(services=("web",)),
    StreamFailed(stream=2, code=FailureCode.SERVICE_DOWN, message="nothing answers"),
    StreamDialed(stream=3, source=("192.0.2.7", 50_000)),
    Drain(),
]

Outcome: TypeAlias = object  # what a peek found: None for "need more", the error's text, or the value


def _one_line(error: RemoteProtocolError) -> str:
    """What ends in a log, whatever the peer put into it."""
    assert str(error).isprintable()
    return str(error)


@dataclass(frozen=True, slots=True)
class Peek:
    """A parser that looks at all bytes so far, and inputs that it reads."""

    look: Callable[[bytes], object]
    valid: Sequence[bytes]
    starts: Sequence[bytes]  # behind which noise gets past the first check

    def __call__(self, data: bytes) -> Outcome:
        try:
            return self.look(data)
        except RemoteProtocolError as error:
            return _one_line(error)


PEEKS: Final = {
    "open header": Peek(
        peek_open_header,
        [encode_open_header(header) for header in OPENED],
        [b"", b"\x00\x10", b'\x00\x1f{"tunnel":"a","service":"b",'],
    ),
    "egress header": Peek(
        peek_egress_header,
        [
            encode_egress_header(EgressHeader(host=host, port=port))
            for host, port in [("192.0.2.7", 1), ("2001:db8::7", 65_535), ("mx.example.com", 25)]
        ],
        [b"", b"\x00\x10", b'\x00\x1a{"egress":['],
    ),
    "ClientHello": Peek(
        peek_client_hello,
        [HELLO, build_hello(None), in_records(message_of(HELLO), 9), in_records(message_of(HELLO), 60)],
        [b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x60\x01\x00\x00\x5c\x03\x03"],
    ),
    "HTTP head": Peek(
        peek_http_head,
        [
            b"GET /a?b=c HTTP/1.1\r\nHost: blog.example.com\r\nAccept: */*\r\n\r\n",
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
            b"GET http://[::1]:80/ HTTP/1.0\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost:\r\nX: \xff\t\r\n\r\n",
        ],
        [b"", b"GET ", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a"],
    ),
    "PROXY header": Peek(
        peek_proxy_header,
        [build(*ends) for build in (build_v1, build_v2) for ends in (V4, V6, (None, None))],
        [
            b"",
            b"PROXY ",
            b"PROXY TCP4 ",
            b"\r\n\r\n\x00\r\nQUIT\n",
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x14",
        ],
    ),
}
every_peek = pytest.mark.parametrize("peek", PEEKS.values(), ids=list(PEEKS))


@every_peek
def test_a_valid_input_is_read_with_its_last_byte_and_not_before(peek: Peek) -> None:
    for valid in peek.valid:
        found = peek(valid)
        assert not isinstance(found, str)
        assert found is not None
        assert all(peek(valid[:end]) is None for end in range(len(valid)))
        assert peek(valid + b"and more") == found


@every_peek
@given(data=st.data())
def test_noise_is_read_or_too_short_or_refused_in_the_same_way_byte_by_byte(
    peek: Peek, data: st.DataObject
) -> None:
    start = data.draw(st.sampled_from(peek.starts), label="start")
    _decided_once(peek, start + data.draw(st.binary(max_size=150), label="noise"))


@every_peek
@given(data=st.data())
def test_a_damaged_input_is_read_or_too_short_or_refused_in_the_same_way_byte_by_byte(
    peek: Peek, data: st.DataObject
) -> None:
    _decided_once(peek, data.draw(mutated(peek.valid), label="damaged"))


def _decided_once(peek: Peek, wire: bytes) -> None:
    """Not a byte too early: what is decided of a prefix stays decided, whatever comes."""
    decided: Outcome = None
    for end in range(len(wire) + 1):
        found = peek(wire[:end])
        if isinstance(decided, str):
            assert isinstance(found, str)  # refused for good; of two reasons either may be told
        elif decided is not None:
            assert found == decided
        else:
            decided = found


def test_a_large_hello_is_decided_the_same_at_every_cut() -> None:
    """Of a size that no test tries byte by byte with damage in it."""
    records = in_records(message_of(POST_QUANTUM), 100)
    broken = bytearray(records)
    broken[len(records) // 2 // 105 * 105] ^= 0x80  # the type of a record in the middle
    for wire in (records, bytes(broken)):
        _decided_once(PEEKS["ClientHello"], wire)


@given(mutated(PEEKS["ClientHello"].valid))
def test_whoever_waits_for_as_many_bytes_as_a_hello_asks_for_misses_none(wire: bytes) -> None:
    """The front door looks again only then. What will be refused may be refused later, a hello not."""
    peek = PEEKS["ClientHello"]
    have = 0
    while have < len(wire):
        try:
            found = scan_client_hello(wire[:have])
        except RemoteProtocolError:
            break
        if not isinstance(found, Short):
            break
        assert found.at_least > have
        skipped = (peek(wire[:end]) for end in range(have, min(found.at_least, len(wire) + 1)))
        assert all(early is None or isinstance(early, str) for early in skipped)
        have = found.at_least


@given(st.binary(max_size=60) | mutated(PEEKS["HTTP head"].valid))
def test_what_looks_like_http_goes_on_to_do_so(wire: bytes) -> None:
    """A port that takes anything gives up waiting for TLS on the strength of it."""
    looks = [looks_like_http(wire[:end]) for end in range(len(wire) + 1)]
    first = looks.index(True) if True in looks else len(looks)
    assert all(looks[first:]) or isinstance(PEEKS["HTTP head"](wire), str)


# The control stream takes its bytes once, and keeps what is no whole line


LINES: Final = [encode_message(message) for message in SAID]
CONVERSATIONS: Final = [*LINES, b"".join(LINES), b'{"type":"of the future","services":[1]}\n' + LINES[-1]]


def read_lines(pieces: Sequence[bytes]) -> tuple[list[ControlMessage], str | None]:
    """The messages that were told before the error, and the error."""
    decoder, messages = ControlDecoder(), []
    try:
        for piece in pieces:
            messages += decoder.receive_data(memoryview(piece))
    except RemoteProtocolError as error:
        return messages, _one_line(error)
    return messages, None


@given(
    st.binary(max_size=120).map(lambda noise: LINES[0] + noise + b"\n") | mutated(CONVERSATIONS),
    st.lists(st.integers(1, 400), max_size=8),
)
def test_lines_are_messages_or_the_peers_error_in_the_same_way_wherever_they_are_cut(
    wire: bytes, places: list[int]
) -> None:
    """Only what came in one piece with the error may be lost to it: the session is over anyway."""
    whole, error = read_lines([wire])
    trickled, last_error = read_lines([wire[at : at + 1] for at in range(len(wire))])
    pieces, piece_error = read_lines(list(cuts(wire, places)))

    assert error == last_error == piece_error
    assert trickled[: len(pieces)] == pieces
    assert pieces[: len(whole)] == whole
    assert error is not None or whole == trickled
