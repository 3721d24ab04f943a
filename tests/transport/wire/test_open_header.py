"""An open header is read as it was written, fed in any pieces, or is the peer's error."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import ProxyProtocol
from transport.wire.errors import RemoteProtocolError
from transport.wire.open_header import MAX_HEADER, OpenHeader, encode_open_header, peek_open_header
from transport.wire.proxy_protocol import Endpoint, build_v1, build_v2

endpoints = st.builds(Endpoint, st.ip_addresses().map(str), st.integers(0, 65_535))
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
headers = st.builds(
    OpenHeader,
    tunnel=names,
    service=names,
    source=endpoints,
    destination=endpoints,
    proxy_protocol=st.sampled_from(ProxyProtocol),
)

PLAIN: dict[str, object] = {
    "tunnel": "blog",
    "service": "web",
    "source": ["203.0.113.9", 50_000],
    "destination": ["192.0.2.1", 443],
    "proxy_protocol": "v2",
}


def wire(value: object) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return len(text).to_bytes(2, "big") + text


@given(headers, st.binary(max_size=50))
def test_a_header_is_read_as_it_was_written_and_what_follows_is_left(header: OpenHeader, rest: bytes) -> None:
    encoded = encode_open_header(header)

    assert peek_open_header(encoded + rest) == (header, len(encoded))


@given(headers)
def test_a_header_fed_byte_by_byte_appears_with_its_last_byte(header: OpenHeader) -> None:
    encoded = encode_open_header(header)

    assert all(peek_open_header(bytearray(encoded[:end])) is None for end in range(len(encoded)))
    assert peek_open_header(encoded) == (header, len(encoded))


@given(names, names)
def test_the_longest_names_fit(tunnel: str, service: str) -> None:
    far = Endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 65_535)
    header = OpenHeader(
        tunnel=tunnel.ljust(128, "x"),
        service=service.ljust(128, "y"),
        source=far,
        destination=far,
        proxy_protocol=ProxyProtocol.OFF,
    )

    found = peek_open_header(encode_open_header(header))

    assert found is not None
    assert found[0] == header
    assert found[1] < MAX_HEADER


starts = st.sampled_from(
    [
        '"blog"',
        '"blog","service":"web"',
        '"blog","service":"web","proxy_protocol":"v1"',
        '1,"service":"web"',
        "{",
        '"a"}',
    ]
)
more = st.sampled_from(
    [
        "",
        ',"source":1',
        ',"tunnel":"other","service":"b"',
        ',"a":{"b":1',
        ',"a":[',
        ',"c":[1]',
        ",",
        ',"x":"',
        " ",
    ]
)
hosts = st.sampled_from(["192.0.2.1", "::1", "1.2.3", "fe80::1", "abc", "::ffff:192.0.2.1"])
ports = st.sampled_from(["0", "80", "080", "65535", "65536", "99999", "1.0", "-1"])


@given(starts, more, hosts, ports, hosts, ports, st.sampled_from(["}", "}}", "} ", ",}"]))
def test_what_is_written_as_we_write_it_is_read_like_everything_else(
    start: str, between: str, source: str, source_port: str, destination: str, destination_port: str, end: str
) -> None:
    """A space anywhere makes another text of the same value, which goes another way."""
    text = (
        f'{{"tunnel":{start}{between},"source":["{source}",{source_port}],'
        f'"destination":["{destination}",{destination_port}]{end}'
    )

    assert outcome(wire(text.encode())) == outcome(wire(f" {text}".encode()))


def outcome(data: bytes) -> OpenHeader | str | None:
    try:
        found = peek_open_header(data)
    except RemoteProtocolError as error:
        return str(error)
    return None if found is None else found[0]


def test_a_key_that_we_do_not_know_is_passed_over_and_proxy_protocol_is_off_unless_said() -> None:
    value = {key: PLAIN[key] for key in PLAIN if key != "proxy_protocol"} | {"color": [1]}
    found = peek_open_header(wire(value))

    assert found is not None
    assert found[0].proxy_protocol is ProxyProtocol.OFF


@pytest.mark.parametrize(
    "change",
    [
        {"tunnel": None},
        {"tunnel": ""},
        {"tunnel": "x" * 129},
        {"tunnel": "a\nb"},
        {"tunnel": "a\x1b[2J"},
        {"tunnel": "\udcff"},
        {"service": 7},
        {"source": None},
        {"source": "203.0.113.9"},
        {"source": ["203.0.113.9"]},
        {"source": ["203.0.113.9", "443"]},
        {"source": ["203.0.113.9", True]},
        {"source": ["203.0.113.9", 1.0]},
        {"source": ["203.0.113.9", -1]},
        {"source": ["203.0.113.9", 65_536]},
        {"source": ["203.0.113.9", 1, 2]},
        {"source": ["example.com", 443]},
        {"source": ["1.2.3.4 5.6.7.8 1 2\r\nGET /", 443]},
        {"source": ["fe80::1%\r\nHost: evil", 443]},
        {"destination": ["", 443]},
        {"proxy_protocol": "v3"},
        {"proxy_protocol": None},
        {"proxy_protocol": ["v1"]},
    ],
)
def test_a_header_that_could_mislead_what_comes_after_it_is_the_peers_error(
    change: dict[str, object],
) -> None:
    with pytest.raises(RemoteProtocolError):
        peek_open_header(wire(PLAIN | change))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xff",
        b"[" * MAX_HEADER,
        b"9" * MAX_HEADER,
        b'{"tunnel":' + b"[" * 4_000,
        json.dumps(PLAIN).encode()[:-1],
    ],
)
def test_what_is_no_json_object_is_the_peers_error(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        peek_open_header(wire(text))


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(RemoteProtocolError):
        peek_open_header((MAX_HEADER + 1).to_bytes(2, "big"))
    assert peek_open_header(MAX_HEADER.to_bytes(2, "big")) is None


@given(st.binary(max_size=200))
def test_noise_gives_nothing_or_the_peers_error_and_nothing_else(noise: bytes) -> None:
    for data in (noise, wire(noise)):
        with contextlib.suppress(RemoteProtocolError):
            assert peek_open_header(data) is None


@given(headers, st.data())
def test_a_header_that_is_read_never_breaks_what_is_made_of_it(
    header: OpenHeader, data: st.DataObject
) -> None:
    """Damaged or not: a PROXY header can be built of its addresses, and its names fit on a line."""
    encoded = bytearray(encode_open_header(header))
    for _ in range(data.draw(st.integers(0, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = peek_open_header(encoded)
    except RemoteProtocolError:
        return
    if found is not None:
        assert build_v1(found[0].source, found[0].destination).count(b"\r\n") == 1
        assert build_v2(found[0].source, found[0].destination)
        assert (found[0].tunnel + found[0].service).isprintable()
