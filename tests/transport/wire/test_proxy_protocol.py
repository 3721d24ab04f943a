"""The PROXY header is written as the specification's examples are, and read no more kindly than it says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.errors import LocalProtocolError, RemoteProtocolError
from transport.wire.proxy_protocol import (
    MAX_V1,
    MAX_V2,
    Endpoint,
    ProxyHeader,
    build_v1,
    build_v2,
    peek_proxy_header,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = (Endpoint("192.168.0.1", 56324), Endpoint("192.168.0.11", 443))
V6 = (Endpoint("2001:db8::1", 65535), Endpoint("::1", 0))
V4_BLOCK = bytes.fromhex("c0a80001 c0a8000b dc04 01bb")


def outcome(buffer: bytes) -> ProxyHeader | type[RemoteProtocolError] | None:
    try:
        return peek_proxy_header(buffer)
    except RemoteProtocolError:
        return RemoteProtocolError


def trickle(buffer: bytes) -> ProxyHeader | type[RemoteProtocolError] | None:
    """The first outcome other than None when the bytes come one by one."""
    prefixes = (outcome(buffer[:end]) for end in range(len(buffer) + 1))
    return next((found for found in prefixes if found is not None), None)


def v2(content: bytes, *, command: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return SIGNATURE + bytes((command, kind)) + size.to_bytes(2, "big") + content


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def test_version_1_is_the_line_of_the_specification() -> None:
    assert build_v1(*V4) == b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert build_v1(*V6) == b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"


def test_version_2_is_the_block_of_the_specification() -> None:
    assert v2(V4_BLOCK) == build_v2(*V4)
    block = IPv6Address("2001:db8::1").packed + IPv6Address("::1").packed + b"\xff\xff\0\0"
    assert v2(block, kind=0x21) == build_v2(*V6)


@pytest.mark.parametrize(("source", "destination"), [(None, None), (V4[0], None), (None, V6[1])])
def test_with_an_end_that_is_not_known_the_header_names_none(
    source: Endpoint | None, destination: Endpoint | None
) -> None:
    assert build_v1(source, destination) == b"PROXY UNKNOWN\r\n"
    assert build_v2(source, destination) == SIGNATURE + b"\x20\x00\x00\x00"


def test_next_to_an_ipv6_end_an_ipv4_end_becomes_a_mapped_address() -> None:
    assert build_v1(V4[0], V6[1]) == b"PROXY TCP6 ::ffff:c0a8:1 ::1 56324 0\r\n"
    assert build_v1(V6[0], V4[1]) == b"PROXY TCP6 2001:db8::1 ::ffff:c0a8:b 65535 443\r\n"
    block = IPv6Address("::ffff:192.168.0.1").packed + IPv6Address("::1").packed + b"\xdc\x04\0\0"
    assert v2(block, kind=0x21) == build_v2(V4[0], V6[1])


def test_an_ipv4_visitor_of_a_dual_stack_port_is_an_ipv4_visitor() -> None:
    mapped = (Endpoint("::ffff:192.168.0.1", 56324), Endpoint("::ffff:c0a8:b", 443))

    assert build_v1(*V4) == build_v1(*mapped)
    assert build_v2(*V4) == build_v2(*mapped)


def test_the_zone_of_a_link_local_address_stays_at_home() -> None:
    assert build_v1(Endpoint("fe80::1%eth0", 1), V6[1]) == b"PROXY TCP6 fe80::1 ::1 1 0\r\n"
    assert build_v2(Endpoint("fe80::1%eth0", 1), V6[1]) == build_v2(Endpoint("fe80::1", 1), V6[1])


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("localhost", 1),
        Endpoint("", 1),
        Endpoint("1.2.3.4\r\n", 1),
        Endpoint("[::1]", 1),
        Endpoint("1.2.3.4", -1),
        Endpoint("1.2.3.4", 65536),
    ],
)
def test_an_end_that_is_no_address_with_a_port_is_our_mistake(endpoint: Endpoint) -> None:
    for build in (build_v1, build_v2):
        with pytest.raises(LocalProtocolError):
            build(endpoint, V4[1])
        with pytest.raises(LocalProtocolError):
            build(V4[0], endpoint)


ADDRESSES = st.ip_addresses().map(str)
ENDPOINTS = st.builds(Endpoint, ADDRESSES, st.integers(min_value=0, max_value=65535))


def widened(endpoint: Endpoint) -> tuple[IPv6Address, int]:
    address = ip_address(endpoint.host)
    if isinstance(address, IPv4Address):
        address = IPv6Address(f"::ffff:{address}")
    return address, endpoint.port


@given(source=ENDPOINTS, destination=ENDPOINTS)
def test_what_is_written_is_read_again(source: Endpoint, destination: Endpoint) -> None:
    for build in (build_v1, build_v2):
        header = build(source, destination)
        found = peek_proxy_header(header + b"hello")
        assert found is not None
        assert found.source is not None
        assert found.destination is not None
        assert widened(source) == widened(found.source)
        assert widened(destination) == widened(found.destination)
        assert len(header) == found.size
        assert found == trickle(header)
        assert outcome(header[:-1]) is None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(kind: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    for header in (build_v1(*V4), build_v2(*V4)):
        assert peek_proxy_header(header) == peek_proxy_header(kind(header + b"hello"))


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
        b"PROXY UNKNOWN whatever \xff\r\n",
        b"PROXY UNKNOWN".ljust(MAX_V1 - 2) + b"\r\n",
    ],
)
def test_an_unknown_line_names_no_end_whatever_follows(line: bytes) -> None:
    expected = ProxyHeader(version=1, source=None, destination=None, size=len(line))
    assert expected == outcome(line + b"rest")
    assert expected == trickle(line)


def test_the_longest_line_is_read() -> None:
    full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    end = Endpoint(full, 65535)

    assert outcome(f"PROXY TCP6 {full} {full.upper()} 65535 65535\r\n".encode()) == ProxyHeader(
        version=1, source=end, destination=end, size=104
    )


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXYTCP4",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 ::1%1 ::1 1 2\r\n",
        b"PROXY TCP6 [::1] ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 \xb2 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx",
        b"PROXY UNKNOWN \n\r\n",
        b"PROXY UNKNOWN".ljust(MAX_V1 - 1) + b"\r\n",
    ],
)
def test_a_line_that_does_not_exactly_match_is_refused(line: bytes) -> None:
    assert outcome(line) is RemoteProtocolError
    assert trickle(line) is RemoteProtocolError


@pytest.mark.parametrize(
    "start", [b"p", b"PROXX", b"\r\nx", SIGNATURE[:-1] + b"\r", SIGNATURE + b"\x11", SIGNATURE + b"\x22"]
)
def test_what_is_no_header_is_refused_at_the_first_byte_that_shows_it(start: bytes) -> None:
    assert outcome(start[:-1]) is None
    assert outcome(start) is RemoteProtocolError


@pytest.mark.parametrize("tail", [b"", tlv(4, b""), tlv(1, b"h2") + tlv(0x20, bytes(300)) + tlv(4, b"\0")])
def test_the_tlvs_of_version_2_are_passed_over(tail: bytes) -> None:
    header = v2(V4_BLOCK + tail)

    expected = ProxyHeader(version=2, source=V4[0], destination=V4[1], size=len(header))
    assert expected == outcome(header + b"rest")
    assert expected == trickle(header)


@pytest.mark.parametrize("tail", [b"\x01", b"\x01\0", b"\x01\0\x01", tlv(1, b"h2") + b"\x04\xff\xffx"])
def test_a_tlv_that_runs_over_the_end_of_the_header_is_refused(tail: bytes) -> None:
    assert outcome(v2(V4_BLOCK + tail)) is RemoteProtocolError


@pytest.mark.parametrize(
    "header",
    [
        v2(b"", command=0x20, kind=0x00),
        v2(b"whatever", command=0x20, kind=0x00),
        v2(V4_BLOCK, command=0x20),
        v2(b"", command=0x20, kind=0xFF),  # section 2.2: with LOCAL the family is ignored
        v2(b"", kind=0x00),
        v2(b"whatever", kind=0x00),
        v2(V4_BLOCK, kind=0x10),
        v2(V4_BLOCK, kind=0x01),
        v2(bytes(216), kind=0x31),
        v2(bytes(216) + tlv(4, b"x"), kind=0x32),
    ],
)
def test_a_header_that_says_no_internet_address_names_no_end(header: bytes) -> None:
    expected = ProxyHeader(version=2, source=None, destination=None, size=len(header))
    assert expected == outcome(header + b"rest")
    assert expected == trickle(header)


@pytest.mark.parametrize(
    "header",
    [
        v2(V4_BLOCK, command=0x2F),
        v2(V4_BLOCK, command=0x31),
        v2(V4_BLOCK, kind=0x41),
        v2(V4_BLOCK, kind=0x13),
        v2(V4_BLOCK[:-1]),
        v2(V4_BLOCK, kind=0x21),
        v2(bytes(215), kind=0x31),
        v2(b"", length=MAX_V2 - 15),
    ],
)
def test_a_header_that_says_what_is_not_assigned_is_refused(header: bytes) -> None:
    assert outcome(header) is RemoteProtocolError
    assert trickle(header) is RemoteProtocolError


def test_a_header_of_the_greatest_size_is_read() -> None:
    header = v2(V4_BLOCK + tlv(4, bytes(MAX_V2 - 16 - 12 - 3)))

    assert len(header) == MAX_V2
    assert outcome(header) == ProxyHeader(version=2, source=V4[0], destination=V4[1], size=MAX_V2)


@given(
    st.binary(max_size=120)
    | st.binary(max_size=120).map(lambda tail: SIGNATURE + b"\x21" + tail)
    | st.text("TCP46UNKOW 0123456789.:f\r\n", max_size=120).map(lambda tail: b"PROXY " + tail.encode())
)
def test_arbitrary_bytes_are_a_header_or_too_few_or_refused(data: bytes) -> None:
    assert outcome(data) == trickle(data)


@given(
    data=st.data(),
    valid=st.sampled_from([build_v1(*V4), build_v1(*V6), build_v2(*V6), v2(V4_BLOCK + tlv(4, b"x"))]),
)
def test_a_broken_header_is_read_or_refused_and_comes_out_the_same_byte_by_byte(
    data: st.DataObject, valid: bytes
) -> None:
    header = bytearray(valid)
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        header[data.draw(st.integers(min_value=0, max_value=len(header) - 1))] = data.draw(
            st.integers(0, 255)
        )

    assert outcome(bytes(header)) == trickle(bytes(header))
