"""The ClientHello is read as a service would read it, however it is cut, and never guessed."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hellos import (
    ALPN,
    PADDING,
    POST_QUANTUM,
    SERVER_NAME,
    build_hello,
    in_records,
    message_of,
    python_hello,
    server_name,
    vector,
)
from tests.support.real_software import Programs
from transport.wire.client_hello import (
    MAX_PEEK,
    MAX_RECORDS,
    ClientHello,
    Short,
    peek_client_hello,
    scan_client_hello,
)
from transport.wire.errors import RemoteProtocolError

NAMED = build_hello([server_name(b"blog.example.com")])


def outcome(buffer: bytes) -> ClientHello | type[RemoteProtocolError] | None:
    try:
        return peek_client_hello(buffer)
    except RemoteProtocolError:
        return RemoteProtocolError


def trickle(buffer: bytes) -> ClientHello | type[RemoteProtocolError] | None:
    """The first outcome other than None when the bytes come one by one."""
    return next((found for found in prefixes(buffer) if found is not None), None)


def prefixes(buffer: bytes) -> Iterator[ClientHello | type[RemoteProtocolError] | None]:
    return (outcome(buffer[:end]) for end in range(len(buffer) + 1))


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_hello_of_openssl_gives_its_name_and_its_protocols_in_order(newest: ssl.TLSVersion) -> None:
    hello = python_hello("Blog.Example.COM", alpn=["h2", "http/1.1", "tidegate/1"], newest=newest)

    expected = ClientHello(server_name="blog.example.com", alpn=(b"h2", b"http/1.1", b"tidegate/1"))
    assert expected == peek_client_hello(hello)


def test_a_hello_without_a_name_has_none() -> None:
    assert ClientHello(server_name=None, alpn=()) == peek_client_hello(python_hello(None))
    assert ClientHello(server_name=None, alpn=()) == peek_client_hello(build_hello([]))
    assert ClientHello(server_name=None, alpn=()) == peek_client_hello(build_hello(None))


def test_an_international_name_is_read_in_its_ascii_form() -> None:
    found = peek_client_hello(python_hello("bücher.example"))

    assert found is not None
    assert found.server_name == "xn--bcher-kva.example"


def test_the_dot_of_the_root_is_no_part_of_the_name() -> None:
    found = peek_client_hello(build_hello([server_name(b"blog.example.com.")]))

    assert found == peek_client_hello(NAMED)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 512, 1400])
def test_a_post_quantum_hello_is_reassembled_from_any_number_of_records(size: int) -> None:
    records = in_records(message_of(POST_QUANTUM), size)

    expected = ClientHello(server_name="blog.example.com", alpn=(b"h2", b"http/1.1"))
    assert expected == peek_client_hello(records)
    assert all(outcome(records[:end]) is None for end in range(0, len(records), 101))


@pytest.mark.parametrize("hello", [POST_QUANTUM, in_records(message_of(POST_QUANTUM), 100)])
def test_a_hello_that_comes_byte_by_byte_is_the_same_and_is_decided_by_its_last_byte(hello: bytes) -> None:
    assert [None] * len(hello) + [outcome(hello)] == list(prefixes(hello))


def test_a_name_is_found_behind_everything_else() -> None:
    """Clients shuffle their extensions, so the name may be the last thing in the last record."""
    large = build_hello(
        [(PADDING, bytes(2**15)), (PADDING + 1000, bytes(2**14)), server_name(b"late.example")]
    )

    found = peek_client_hello(large)

    assert found is not None
    assert found.server_name == "late.example"
    assert outcome(large[:-1]) is None


def test_what_follows_the_hello_does_not_matter() -> None:
    """Early data comes right behind it, and may be anything."""
    assert peek_client_hello(NAMED) == peek_client_hello(NAMED + b"\x17\x03\x03\x00\x05hello")
    assert peek_client_hello(NAMED) == peek_client_hello(NAMED + b"garbage" * MAX_PEEK)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do_and_none_is_changed(
    kind: type[bytes] | type[bytearray] | type[memoryview],
) -> None:
    buffer = kind(NAMED)

    assert peek_client_hello(NAMED) == peek_client_hello(buffer)
    assert bytes(buffer) == NAMED


@pytest.mark.parametrize(
    "start",
    [
        b"G",
        b"\x80",  # SSL 2
        b"\x15",  # an alert
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",  # RFC 8446 section 5.1 forbids empty handshake records
        b"\x16\x03\x01\x40\x01",  # longer than 2**14
        b"\x16\x03\x03\x00\x04\x02",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x00\xff\xff",  # would need more than MAX_PEEK
        b"\x16\x03\x01\x00\x01\x01\x17",  # other content in the middle of the message
    ],
)
def test_what_is_no_hello_is_refused_at_the_first_byte_that_shows_it(start: bytes) -> None:
    assert outcome(start[:-1]) is None
    assert outcome(start) is RemoteProtocolError
    assert outcome(start + bytes(MAX_PEEK)) is RemoteProtocolError


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"bl\0og.example.com",
        b"blog.example.com\0",
        "bücher.example".encode(),
        b"blog example",
        b"*.example.com",
        b"a..b",
        b".example.com",
        b"a" * 64 + b".example",
        b"a." * 127 + b"com",
    ],
)
def test_a_name_that_is_no_host_name_is_refused(name: bytes) -> None:
    assert outcome(build_hello([server_name(name)])) is RemoteProtocolError


@pytest.mark.parametrize(
    "extensions",
    [
        [server_name(b"a.example", b"b.example")],
        [server_name(b"a.example"), server_name(b"a.example")],
        [(PADDING, b""), (PADDING, b"")],
        [(SERVER_NAME, b"")],
        [(SERVER_NAME, vector(2, b""))],
        [(SERVER_NAME, vector(2, b"\0" + vector(2, b"a.example")) + b"x")],
        [(SERVER_NAME, vector(2, b"\0\xff\xffa.example"))],
        [(ALPN, vector(2, b""))],
        [(ALPN, vector(2, vector(1, b"")))],
        [(ALPN, vector(2, b"\x09h2"))],
        [(ALPN, vector(2, b"\x02h2") + b"x")],
    ],
)
def test_a_name_that_two_readers_could_read_differently_is_refused(
    extensions: list[tuple[int, bytes]],
) -> None:
    assert outcome(build_hello(extensions)) is RemoteProtocolError


def test_a_name_of_a_kind_yet_unknown_is_passed_over() -> None:
    names = b"\x07" + vector(2, b"\xff\0") + b"\0" + vector(2, b"a.example")

    found = peek_client_hello(build_hello([(SERVER_NAME, vector(2, names))]))

    assert found == ClientHello(server_name="a.example", alpn=())


def test_a_complete_message_whose_fields_run_over_its_end_is_refused() -> None:
    """It may not wait for bytes that no length promised."""
    message = message_of(NAMED)
    for size in range(len(message) - 4):
        body = message[4 : 4 + size]
        # A hello may end before its extensions, and nowhere else.
        expected = None if size == 2 + 32 + 1 + 4 + 2 else RemoteProtocolError
        found = outcome(in_records(b"\x01" + vector(3, body), 2**14))
        assert found == (expected or ClientHello(server_name=None, alpn=()))


def test_a_hello_of_the_greatest_size_is_read_and_one_byte_more_is_refused() -> None:
    def hello_of(padding: int) -> bytes:
        return build_hello([(PADDING, bytes(padding)), server_name(b"a.example")])

    room = MAX_PEEK - len(hello_of(60_000)) + 60_000  # both in four records

    assert len(hello_of(room)) == MAX_PEEK
    assert outcome(hello_of(room)) == ClientHello(server_name="a.example", alpn=())
    assert outcome(hello_of(room + 1)) is RemoteProtocolError


def test_only_so_many_records_are_walked() -> None:
    message = message_of(build_hello([(PADDING, bytes(MAX_RECORDS)), server_name(b"a.example")]))
    surplus = len(message) - MAX_RECORDS + 1

    allowed = in_records(message[:surplus], surplus) + in_records(message[surplus:], 1)
    assert outcome(allowed) == ClientHello(server_name="a.example", alpn=())
    assert outcome(in_records(message, 1)) is RemoteProtocolError


@pytest.mark.parametrize("size", [1, 7, 2**14])
def test_whoever_waits_for_what_is_asked_makes_few_calls_and_misses_nothing(size: int) -> None:
    """However many records there are, the number of calls grows with the logarithm of the size."""
    records = in_records(message_of(POST_QUANTUM), size)
    calls = have = 0
    while isinstance(found := scan_client_hello(records[:have]), Short):
        assert found.at_least > have
        assert outcome(records[: min(found.at_least, len(records)) - 1]) is None
        have = found.at_least
        calls += 1

    assert found == peek_client_hello(records)
    assert have <= len(records)
    assert calls < 100


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"\x16\x03\x01" + tail))
def test_arbitrary_bytes_are_a_hello_or_too_few_or_refused(data: bytes) -> None:
    assert outcome(data) == trickle(data)


# Of the size and variety of a real one, yet always the same, so that a failure can be repeated.
VARIED = build_hello(
    [(10, bytes(22)), server_name(b"blog.example.com"), (ALPN, vector(2, b"\x02h2\x08http/1.1"))],
    session_id=bytes(32),
)


@given(data=st.data(), size=st.integers(min_value=1, max_value=600))
def test_a_broken_hello_is_read_or_refused_and_comes_out_the_same_byte_by_byte(
    data: st.DataObject, size: int
) -> None:
    hello = bytearray(in_records(message_of(VARIED), size))
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        hello[data.draw(st.integers(min_value=0, max_value=len(hello) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(hello[: data.draw(st.integers(min_value=0, max_value=len(hello)))])

    assert outcome(broken) == trickle(broken)


@pytest.mark.real_software("openssl")
def test_the_hello_of_the_openssl_command_is_read(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        command = [programs["openssl"], "s_client", "-connect", f"{host}:{port}"]
        command += ["-servername", "Blog.Example.com", "-alpn", "h2,http/1.1"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet):
            visitor, _ = listener.accept()
            buffer = b""
            with visitor:
                while (found := peek_client_hello(buffer)) is None:
                    received = visitor.recv(17)
                    assert received
                    buffer += received

    assert found == ClientHello(server_name="blog.example.com", alpn=(b"h2", b"http/1.1"))
