"""A pattern takes whatever its parser takes, and most of what it takes is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import patterns
from schemas.egress import parse_destination
from schemas.fields import parse_services
from schemas.gateway_address import parse_gateway_address
from schemas.names import check_domain, check_name, parse_host_port, parse_hostname, parse_listen
from schemas.networks import parse_network
from schemas.ports import parse_listen_pattern, parse_port_range
from schemas.proxy_url import parse_proxy_url
from schemas.quantities import parse_duration
from schemas.references import parse_reference, resolve_path
from schemas.revocation import parse_fingerprint, parse_serial

from .reading import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """A pattern, what reads the texts it is for, and texts that both refuse."""

    pattern: str
    parse: Callable[[str], object]
    wrong: tuple[str, ...]


SPELLINGS: Final = {
    "a name": Spelling(
        pattern=patterns.NAME, parse=check_name, wrong=("", "-a", ".a", "a b", "ä", "a/b", "a@b", "A" * 129)
    ),
    "an environment variable": Spelling(
        pattern=patterns.ENVIRONMENT_VARIABLE,
        parse=lambda text: parse_reference({"env": text}, directory=""),
        wrong=("", "1A", "A-B", "A B", "A" * 257),
    ),
    "a path": Spelling(
        pattern=patterns.PATH,
        parse=lambda text: resolve_path(text, directory=""),
        wrong=("", "  ", "~", "~/x", "a\tb", "a\nb", "\x85", "\x7f"),
    ),
    "a duration": Spelling(
        pattern=patterns.DURATION,
        parse=parse_duration,
        wrong=("", "30", "s", "30 sec", "-1s", "1.s", ".5s", "1,5s", "1e3s", "30  s", "1" * 19 + "s"),
    ),
    "a listen address": Spelling(
        pattern=patterns.LISTEN_ADDRESS,
        parse=parse_listen,
        wrong=(
            "", "443", "*:443", "0.0.0.0", "localhost:443", "::1:443", "[::1]", "[192.0.2.1]:443", ":0",
            ":65536", ":65540", ":65600", ":66000", ":70000", ":000001", ":http", ":+443", "010.0.0.1:443",
            "256.0.0.1:443", "1.2.3:443", "[:1]:443", "[12345::]:443", "[::g]:443", "[::1%]:443", "https://0.0.0.0:443",
        ),
    ),
    "a host and a port": Spelling(
        pattern=patterns.HOST_AND_PORT,
        parse=parse_host_port,
        wrong=(
            "", "gw1", ":9056", "gw 1:9056", "-gw:9056", "gw-:9056", "a..b:1", ".a:1", "*.a:1", "x@y:1",
            "gw1:0", "ü ü:1", "ü..a:1", "https://gw1:1", "[gw1]:1", f"{'a' * 64}:1",
        ),
    ),
    "a target": Spelling(
        pattern=patterns.TARGET,
        parse=lambda text: parse_services({"web": text}, directory=""),
        wrong=("", "unix:", "unix: ", "unix:~/x", "unix:a\nb", "8443", "http://127.0.0.1:80/", "a", ":80"),
    ),
    "a hostname": Spelling(
        pattern=patterns.HOSTNAME,
        parse=parse_hostname,
        wrong=("", ".", ".a", "a..b", "https://a/", "a/b", "a:443", "a, b", "[a-z].a", "a?.b", "ü/a", "ü..a"),
    ),
    "a domain": Spelling(
        pattern=patterns.DOMAIN,
        parse=check_domain,
        wrong=("", "@example.com", "*.example.com", "-a.com", "a-.com", "a b", "a..b", "a/b"),
    ),
    "a network": Spelling(
        pattern=patterns.NETWORK,
        parse=parse_network,
        wrong=("", "a", "10.0.0", "10.0.0.256", "10.0.0.0/", "[::1]", "::1%eth0", "10.0.0.1:80", " 10.0.0.1"),
    ),
    "ports": Spelling(
        pattern=patterns.PORTS,
        parse=parse_port_range,
        wrong=("", "0", "65536", "-", "1-", "-1", "smtp", "1-2-3", "1 - 2", "**", "1-0"[:2]),
    ),
    "a pattern of listen addresses": Spelling(
        pattern=patterns.LISTEN_PATTERN,
        parse=parse_listen_pattern,
        wrong=("", "443", "*", "a:1", "::1:443", "[192.0.2.1]:443", ":0", "[]:1", "*:443"),
    ),
    "a gateway": Spelling(
        pattern=patterns.GATEWAY,
        parse=parse_gateway_address,
        wrong=("", "gw1", "http://gw1:1", "wss://", "wss:///tunnel", "wss://u@gw1/x", "ws://gw1/x?y", "ws://gw1/x#y"),
    ),
    "a proxy": Spelling(
        pattern=patterns.PROXY_URL,
        parse=parse_proxy_url,
        wrong=("", "proxy:3128", "http://", "http://a@", "http://a/b", "http://a?b", "://a:1", "http:a"),
    ),
    "an address of this machine": Spelling(
        pattern=patterns.LOCAL_ADDRESS,
        parse=ip_address,
        wrong=("", "eth0", "1.2.3", "[::1]", "10.0.0.1/8", "*"),
    ),
    "a serial number": Spelling(
        pattern=patterns.SERIAL,
        parse=parse_serial,
        wrong=("", "x", "4f:2", "0x", "-1", "4f2a", ":4f", "4f:", "1.5"),
    ),
    "a fingerprint": Spelling(
        pattern=patterns.FINGERPRINT,
        parse=parse_fingerprint,
        wrong=("", "ab", "5e" * 31, "5e" * 33, "xx" * 32, "md5:" + "5e" * 32),
    ),
}  # fmt: skip

# What the parsers look at, in pieces, so that texts come together which are nearly right.
_BEGINNINGS: Final = ("", "", "unix:", "[", "192.0.2.", "ü", "*.", "~", " ", "a.", "1", "0.")
_PIECES: Final = (*"019aZ_-.:]*%/@ \nü。\u00ad\u2488", "::", "ffff:", "192.0.2.1", "fe80", "xn--", "a" * 63)
_ENDS: Final = ("", "", ":1", ":65535", ":00443", ":65536", "]:22", "s", " ms", "h", ".", "\n")
TEXTS: Final = st.text(max_size=20) | st.tuples(
    st.sampled_from(_BEGINNINGS),
    st.lists(st.sampled_from(_PIECES), max_size=5).map("".join),
    st.sampled_from(_ENDS),
).map("".join)

every_spelling = pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)


@every_spelling
@given(TEXTS)
def test_a_pattern_takes_whatever_its_parser_takes(spelling: Spelling, text: str) -> None:
    if refusal(spelling.parse, text) is None:
        assert re.search(spelling.pattern, text)


@every_spelling
def test_a_pattern_refuses_what_is_plainly_wrong(spelling: Spelling) -> None:
    assert [text for text in spelling.wrong if refusal(spelling.parse, text) is None] == []
    assert [text for text in spelling.wrong if re.search(spelling.pattern, text)] == []


@given(st.integers(0, 99_999), st.integers(1, 5))
def test_the_ports_are_exactly_those_that_a_parser_takes(port: int, digits: int) -> None:
    text = f":{port:0{digits}}"

    assert (re.search(patterns.LISTEN_ADDRESS, text) is not None) == (refusal(parse_listen, text) is None)


@given(st.ip_addresses(v=6) | st.integers(0, 2**32).map(lambda low: IPv6Address(low << 64 | low)))
def test_every_spelling_of_an_ipv6_address_is_taken(address: IPv6Address) -> None:
    dotted = f"{address.exploded[:30]}192.0.2.{address.packed[-1]}"
    for text in (address.compressed, address.exploded, address.exploded.upper(), dotted, f"{address}%eth0"):
        parse_host_port(f"[{text}]:22")
        assert re.search(patterns.HOST_AND_PORT, f"[{text}]:22")


@pytest.mark.parametrize("text", ["::", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::8", "::ffff:192.0.2.1"])
def test_an_ipv6_address_may_be_cut_short_anywhere(text: str) -> None:
    parse_host_port(f"[{text}]:22")
    assert re.search(patterns.HOST_AND_PORT, f"[{text}]:22")


@given(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})? ?(ms|s|m|h)", fullmatch=True))
def test_a_duration_of_zero_and_no_other_is_one(text: str) -> None:
    assert (re.search(patterns.ZERO_DURATION, text) is not None) == (parse_duration(text) == 0)


@given(TEXTS)
def test_what_is_no_network_and_looks_like_numbers_is_no_destination(text: str) -> None:
    is_name = re.search(patterns.HOSTNAME, text) and not re.search(patterns.LIKE_NUMBERS, text)
    if refusal(parse_destination, text) is None:
        assert is_name or re.search(patterns.NETWORK, text)


@pytest.mark.parametrize(
    ("text", "is_like_numbers"),
    [
        *(("10.0.0.*", True), ("10.*", True), ("10.0.0.1*.", True), ("a.1", True)),
        *(("1*", False), ("1*.", False), ("*", False), ("*.*", False), ("10.*.example.com", False)),
    ],
)
def test_a_network_written_as_a_pattern_of_names_is_no_destination(text: str, is_like_numbers: bool) -> None:
    assert (re.search(patterns.LIKE_NUMBERS, text) is not None) is is_like_numbers
    assert (refusal(parse_destination, text) is not None) is is_like_numbers


@pytest.mark.parametrize(
    ("text", "is_address"), [("192.0.2.1", True), ("192.0.2.1.", True), ("192.0.2", False)]
)
def test_an_ipv4_address_is_told_from_a_domain(text: str, is_address: bool) -> None:
    assert (re.search(patterns.IPV4_ADDRESS, text) is not None) is is_address
    assert (refusal(check_domain, text) is not None) is is_address


@every_spelling
def test_a_pattern_is_one_for_every_language(spelling: Spelling) -> None:
    assert spelling.pattern.isascii()
    assert re.search(r"\(\?[^:]|\\[a-wyzA-Z]", spelling.pattern) is None
