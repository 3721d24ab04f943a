"""An egress header is read as it was written, and holds a host and a port that can be logged and judged."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.egress_header import (
    EgressHeader,
    encode_egress_header,
    peek_egress_header,
    read_egress_host,
)
from transport.wire.errors import RemoteProtocolError

addresses = st.ip_addresses().map(str)
labels = st.from_regex(r"[a-z0-9_-]{1,63}", fullmatch=True)
hostnames = st.lists(labels, min_size=1, max_size=3).map(".".join)
hosts = (addresses | hostnames).map(read_egress_host)
headers = st.builds(EgressHeader, host=hosts, port=st.integers(1, 65_535))


def wire(value: object) -> bytes:
    text = json.dumps(value).encode()
    return len(text).to_bytes(2, "big") + text


def read(value: object) -> EgressHeader:
    found = peek_egress_header(wire(value))
    assert found is not None
    return found[0]


def test_it_is_written_as_the_wire_says() -> None:
    assert encode_egress_header(EgressHeader(host="mx.example.com", port=25)) == (
        b'\x00\x20{"egress":["mx.example.com",25]}'
    )


@given(headers, st.binary(max_size=50))
def test_a_header_is_read_as_it_was_written_and_what_follows_is_left(
    header: EgressHeader, rest: bytes
) -> None:
    encoded = encode_egress_header(header)

    assert peek_egress_header(encoded + rest) == (header, len(encoded))
    assert all(peek_egress_header(bytearray(encoded[:end])) is None for end in range(len(encoded)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MX.Example.COM.", "mx.example.com"),
        ("192.0.2.7.", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_smtp.example", "_smtp.example"),
    ],
)
def test_a_host_has_one_spelling(written: str, meant: str) -> None:
    assert read({"egress": [written, 25]}) == EgressHeader(host=meant, port=25)


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.01"])
def test_what_only_a_resolver_takes_for_an_address_stays_a_name(spelling: str) -> None:
    """So whoever judges it judges what it leads to."""
    assert read({"egress": [spelling, 25]}).host == spelling


def test_an_address_of_version_4_within_version_6_stays_what_it_is() -> None:
    assert ip_address(read({"egress": ["::ffff:127.0.0.1", 25]}).host) == ip_address("::ffff:127.0.0.1")


def test_a_key_that_we_do_not_know_is_passed_over() -> None:
    assert read({"egress": ["a", 1], "color": [1]}) == EgressHeader(host="a", port=1)


@pytest.mark.parametrize(
    "egress",
    [
        None,
        "a:1",
        [],
        ["a"],
        ["a", 1, 2],
        ["a", "1"],
        ["a", True],
        ["a", 1.0],
        ["a", 0],
        ["a", -1],
        ["a", 65_536],
        [1, 1],
        ["", 1],
        [".", 1],
        ["a..b", 1],
        ["x" * 254, 1],
        ["x" * 64, 1],
        ["a b", 1],
        ["a\r\nb", 1],
        ["a\x00", 1],
        ["bücher.example", 1],
        ["\udcff", 1],
        ["[::1]", 1],
        ["::1%lo", 1],
        ["fe80::1%\r\n", 1],
        [":::", 1],
        ["192.0.2.7:25", 1],
        ["user@host", 1],
        ["a/b", 1],
        ["*", 1],
    ],
)
def test_what_could_mislead_whoever_judges_or_logs_it_is_the_peers_error(egress: object) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^the egress header is malformed: ") as caught:
        peek_egress_header(wire({"egress": egress}))
    assert str(caught.value).isprintable()


def test_the_header_of_a_visitors_stream_is_no_egress_header() -> None:
    with pytest.raises(RemoteProtocolError):
        read({"tunnel": "blog", "service": "web"})


@given(st.text(max_size=300) | hosts)
def test_a_host_that_is_read_is_read_the_same_again_and_prints(text: str) -> None:
    try:
        host = read_egress_host(text)
    except RemoteProtocolError as error:
        host = str(error)
    else:
        assert read_egress_host(host) == host
        assert not set(host) & set(" /@%[]*")
    assert host.isascii()
    assert host.isprintable()
