"""A message is one line; a line is one message, an unknown one, or the peer's error."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import (
    ControlMessage,
    Declare,
    DeclaredTunnel,
    Drain,
    FailureCode,
    Hello,
    Refusal,
    RefusalCode,
    Replaced,
    Services,
    StreamDialed,
    StreamFailed,
    Welcome,
)
from transport.wire.control import MAX_LINE, ControlDecoder, encode_message
from transport.wire.errors import LocalProtocolError, RemoteProtocolError
from transport.wire.window import INITIAL_WINDOW

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
texts = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=50)
messages: st.SearchStrategy[ControlMessage] = st.one_of(
    st.builds(
        Hello,
        protocol=st.integers(0, 99),
        id=names,
        software=texts,
        services=st.lists(names, max_size=5).map(tuple),
    ),
    st.builds(Welcome, protocol=st.integers(0, 99), gateway=texts, software=texts),
    st.builds(Refusal, code=st.sampled_from(RefusalCode), message=texts),
    st.builds(Services, services=st.lists(names, max_size=5).map(tuple)),
    st.builds(
        StreamFailed, stream=st.integers(1, 2**32 - 1), code=st.sampled_from(FailureCode), message=texts
    ),
    st.builds(
        StreamDialed,
        stream=st.integers(1, 2**32 - 1),
        source=st.tuples(st.ip_addresses().map(str), st.integers(0, 65_535)),
    ),
    st.just(Replaced()),
    st.just(Drain()),
)


def decode(data: bytes, *, pieces: int | None = None) -> list[ControlMessage]:
    decoder = ControlDecoder()
    step = pieces or max(1, len(data))
    return [
        message
        for start in range(0, len(data), step)
        for message in decoder.receive_data(memoryview(data)[start : start + step])
    ]


@given(st.lists(messages, max_size=5), st.integers(1, 200))
def test_messages_are_read_as_they_were_written_wherever_the_bytes_are_cut(
    said: list[ControlMessage], pieces: int
) -> None:
    wire = b"".join(encode_message(message) for message in said)

    assert decode(wire, pieces=pieces) == said
    assert wire.count(b"\n") == len(said)


@given(messages)
def test_a_message_fed_byte_by_byte_appears_with_its_last_byte(message: ControlMessage) -> None:
    decoder = ControlDecoder()
    *most, last = encode_message(message)

    assert [decoder.receive_data(bytes([byte])) for byte in most] == [[]] * len(most)
    assert decoder.receive_data(bytes([last])) == [message]


def test_a_type_that_we_do_not_know_is_passed_over() -> None:
    wire = b'{"type":"news","from":{"a":[1]}}\n' + encode_message(Drain())

    assert decode(wire) == [Drain()]


def test_a_key_that_we_do_not_know_is_passed_over() -> None:
    assert decode(b'{"type":"welcome","protocol":1,"gateway":"gw1","software":"x","motto":"hi"}\n') == [
        Welcome(protocol=1, gateway="gw1", software="x")
    ]


def test_a_reason_that_we_do_not_know_still_arrives_with_its_text() -> None:
    assert decode(
        b'{"type":"refusal","code":"too_many_clients","message":"close one"}\n'
        b'{"type":"stream_failed","stream":2,"code":"too_busy","message":"wait"}\n'
    ) == [
        Refusal(code=RefusalCode.OTHER, message="close one"),
        StreamFailed(stream=2, code=FailureCode.OTHER, message="wait"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"hello"',
        b"{}",
        b'{"type":"hello"',
        b'{"type":"hello"}',
        b'{"type":"hello","protocol":"1","id":"a","software":"","services":[]}',
        b'{"type":"hello","protocol":-1,"id":"a","software":"","services":[]}',
        b'{"type":"hello","protocol":' + b"9" * 4_000 + b',"id":"a","software":"","services":[]}',
        b'{"type":"hello","protocol":true,"id":"a","software":"","services":[]}',
        b'{"type":"hello","protocol":1,"id":"","software":"","services":[]}',
        b'{"type":"hello","protocol":1,"id":"a b","software":"","services":[]}',
        b'{"type":"hello","protocol":1,"id":"a","software":"","services":["../x"]}',
        b'{"type":"hello","protocol":1,"id":"a","software":"","services":{"a":1}}',
        b'{"type":"hello","protocol":1,"id":"a","software":7,"services":[]}',
        b'{"type":"services","services":["' + b"x" * 129 + b'"]}',
        b'{"type":"services","services":[' + b",".join([b'"x"'] * 1_001) + b"]}",
        b'{"type":"stream_failed","stream":-1,"code":"malformed","message":""}',
        b'{"type":"stream_failed","stream":4294967296,"code":"malformed","message":""}',
        b'{"type":"stream_failed","stream":2,"code":7,"message":""}',
        b'{"type":"refusal","code":null,"message":""}',
        b'{"type":"drain","x":' + b"[" * 10_000,
        b'{"type":"unknown","x":' + b"9" * 10_000 + b"}",
        b'{"type":"hello","protocol":' + b"9" * 10_000 + b',"id":"a","software":"","services":[]}',
    ],
)
def test_a_line_that_is_no_message_is_the_peers_error(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(line + b"\n")

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


@given(st.binary(max_size=300), st.integers(1, 50))
def test_noise_gives_messages_or_the_peers_error_and_nothing_else(noise: bytes, pieces: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode(noise + b"\n", pieces=pieces)


@given(messages, st.data())
def test_a_damaged_message_gives_messages_or_the_peers_error_and_nothing_else(
    message: ControlMessage, data: st.DataObject
) -> None:
    wire = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        decode(bytes(wire))


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "protocol", "id", "software", "services", "code", "message", "stream"]),
        json_values | st.sampled_from(["hello", "services", "refusal", "stream_failed", "drain"]),
    )
)
def test_any_json_object_gives_a_message_or_the_peers_error_and_nothing_else(
    value: dict[str, object],
) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode(json.dumps(value).encode() + b"\n")


def test_a_line_that_never_ends_is_given_up_on_at_the_limit() -> None:
    decoder = ControlDecoder()
    decoder.receive_data(b"x" * MAX_LINE)
    with pytest.raises(RemoteProtocolError, match="longer than"):
        decoder.receive_data(b"x")


def test_a_whole_line_beyond_the_limit_is_given_up_on_too() -> None:
    with pytest.raises(RemoteProtocolError, match="longer than"):
        decode(b'{"type":"news","x":"' + b"x" * MAX_LINE + b'"}\n')


def test_the_longest_list_of_services_fits_into_a_line_and_a_line_into_the_window() -> None:
    longest = Services(services=tuple(f"{number:x<128}" for number in range(1_000)))

    assert decode(encode_message(longest)) == [longest]
    assert MAX_LINE < INITIAL_WINDOW


def test_we_do_not_send_what_no_peer_would_read() -> None:
    tunnels = tuple(
        DeclaredTunnel(name="x", listen=(), hostname=("x" * 200,) * 256, service="x") for _ in range(10)
    )

    with pytest.raises(LocalProtocolError):
        encode_message(Declare(number=1, tunnels=tunnels))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("service down\nsee log", "service down\ufffdsee log"),
        ("\x1b[2Jboo", "\ufffd[2Jboo"),
        ("bad path \udcff", "bad path \ufffd"),
        ("a" * 5_000, "a" * 999 + "…"),
        ("grüße", "grüße"),
    ],
)
def test_a_text_for_a_person_arrives_on_one_short_line_that_no_terminal_obeys(text: str, shown: str) -> None:
    for said in (
        StreamFailed(stream=2, code=FailureCode.SERVICE_DOWN, message=text),
        Refusal(code=RefusalCode.MALFORMED, message=text),
    ):
        (heard,) = decode(encode_message(said))
        assert isinstance(heard, StreamFailed | Refusal)
        assert heard.message == shown


def test_a_peer_cannot_make_our_terminal_obey_either() -> None:
    (heard,) = decode(b'{"type":"welcome","protocol":1,"gateway":"\\u001b[2Jgw1","software":"\\u0007"}\n')

    assert heard == Welcome(protocol=1, gateway="\ufffd[2Jgw1", software="\ufffd")
