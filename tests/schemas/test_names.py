from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.names import (
    HostPort,
    ListenAddress,
    TcpTarget,
    UnixTarget,
    check_client_id,
    check_domain,
    check_name,
    parse_host_port,
    parse_hostname,
    parse_listen,
    parse_target,
)

from .reading import refusal

ANY_V4 = ListenAddress("0.0.0.0", 443)
ANY_V6 = ListenAddress("::", 443)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("0.0.0.0:443", (ANY_V4,)),
        ("[::]:443", (ANY_V6,)),
        (":443", (ANY_V4, ANY_V6)),
        ("192.0.2.1:1", (ListenAddress("192.0.2.1", 1),)),
        ("[2001:DB8:0::1]:65535", (ListenAddress("2001:db8::1", 65535),)),
        ("[fe80::1%eth0]:443", (ListenAddress("fe80::1%eth0", 443),)),
    ],
)
def test_a_listen_address_is_an_ip_address_and_a_port(
    text: str, addresses: tuple[ListenAddress, ...]
) -> None:
    assert parse_listen(text) == addresses


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("443", 'write ":443"'),
        ("*:443", 'write ":443"'),
        ("0.0.0.0", 'for example "0.0.0.0:443"'),
        ("localhost:443", 'for example "0.0.0.0:443"'),
        ("::1:443", r'write "\[::1\]:443"'),
        ("2001:db8::", r"in brackets"),
        ("[::1]", "no port after its ']'"),
        ("[::1", "no port after its ']'"),
        ("[192.0.2.1]:443", "only those stand in brackets"),
        ("[::ffff:192.0.2.1]:443", 'write "192.0.2.1:443"'),
        ("0.0.0.0:0", "from 1 to 65535"),
        ("0.0.0.0:65536", "from 1 to 65535"),
        ("0.0.0.0:http", "from 1 to 65535"),
        ("0.0.0.0:٤٤٣", "from 1 to 65535"),
        ("0.0.0.0:+443", "from 1 to 65535"),
        ("010.0.0.1:443", "not an IP address"),
        ("https://0.0.0.0:443", "is a URL"),
        ("a:b:1", "too many colons"),
        ("", "is empty"),
    ],
)
def test_anything_else_is_no_listen_address_and_the_message_says_what_to_write(
    text: str, advice: str
) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_listen(text)


def test_a_listen_address_knows_its_family_and_whether_it_is_every_address() -> None:
    assert [(address.family, address.is_wildcard) for address in (ANY_V4, ANY_V6)] == [(4, True), (6, True)]
    assert not ListenAddress("::1", 443).is_wildcard


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("0.0.0.0", False), ("192.0.2.1", False)],
)
def test_an_address_that_only_this_machine_reaches_is_known(host: str, is_loopback: bool) -> None:
    assert ListenAddress(host, 1080).is_loopback is is_loopback
    assert str(ANY_V4) == "0.0.0.0:443"
    assert str(ANY_V6) == "[::]:443"
    assert sorted([ANY_V6, ANY_V4]) == [ANY_V4, ANY_V6]


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("gw1.example.com:9056", HostPort("gw1.example.com", 9056)),
        ("192.0.2.1:9056", HostPort("192.0.2.1", 9056)),
        ("[2001:db8::1]:9056", HostPort("2001:db8::1", 9056)),
        ("my_gateway:9056", HostPort("my_gateway", 9056)),
        ("bücher.example:9056", HostPort("xn--bcher-kva.example", 9056)),
    ],
)
def test_a_gateway_is_a_host_and_a_port(text: str, there: HostPort) -> None:
    assert parse_host_port(text) == there


@pytest.mark.parametrize(
    "text", ["gw1", ":9056", "gw 1:9056", "-gw:9056", "a..b:1", "*.example.com:1", "x@y:1"]
)
def test_what_cannot_be_dialed_is_no_gateway(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_host_port(text)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:8443", TcpTarget("127.0.0.1", 8443)),
        ("[::1]:22", TcpTarget("::1", 22)),
        ("name:80", TcpTarget("name", 80)),
        ("unix:/run/x.sock", UnixTarget("/run/x.sock")),
        ("unix:@abstract", UnixTarget("@abstract")),
    ],
)
def test_a_target_gives_its_text_back(text: str, target: TcpTarget | UnixTarget) -> None:
    assert parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize("text", ["unix:", "unix:a\nb", "8443", "http://127.0.0.1:80/", "", "127.0.0.1"])
def test_anything_else_is_no_target_and_the_message_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "hostname"),
    [
        ("Blog.Example.COM", "blog.example.com"),
        ("*.blog.example.com", "*.blog.example.com"),
        ("*", "*"),
        ("web-*.example.com", "web-*.example.com"),
        ("**.example.com", "*.example.com"),
        ("example.com.", "example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("STRASSE。example", "strasse.example"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_hostname_is_lower_cased_and_in_ascii(text: str, hostname: str) -> None:
    assert parse_hostname(text) == hostname


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("https://example.com/", 'write the name alone: "example.com"'),
        ("example.com/path", 'write the name alone: "example.com"'),
        ("http://example.com:9056/x", 'write the name alone: "example.com"'),
        ("example.com:443", "the port belongs in listen"),
        ("a.example.com, b.example.com", "several as a list"),
        ("", "leave hostname out"),
        (".", "leave hostname out"),
        (".example.com", "two dots"),
        ("a..b", "two dots"),
        ("[a-z].example.com", "may hold only"),
        ("a?.example.com", "may hold only"),
        ("x" * 64, "more than 63"),
        ("a." * 127 + "aa", "more than 253"),
        ("bü*.example", "ASCII form"),
    ],
)
def test_anything_else_is_no_hostname_and_the_message_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_hostname(text)


@pytest.mark.parametrize("text", ["example.com", "EXAMPLE.com.", "bücher.example", "localdomain"])
def test_a_domain_is_a_dns_name(text: str) -> None:
    assert check_domain(text).islower()


@pytest.mark.parametrize("text", ["@example.com", "*.example.com", "192.0.2.1", "-a.com", "a-.com", ""])
def test_anything_else_is_no_domain(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        check_domain(text)


@pytest.mark.parametrize("text", ["a", "0", "web-1.2_x", "A" * 128])
def test_a_name_is_letters_digits_dots_underscores_and_hyphens(text: str) -> None:
    assert check_name(text) == text
    assert check_client_id(text) == text


@pytest.mark.parametrize("text", ["", " a", "a ", "-a", ".a", "_a", "a/b", "ä", "a\n", "A" * 129])
def test_anything_else_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        check_name(text)


def test_a_client_id_with_its_domain_is_told_to_go_without() -> None:
    with pytest.raises(ValueError, match="only the part before it"):
        check_client_id("homelab@example.com")


_HOSTISH = st.text(alphabet="abz019.-_*:[]@/%ü。 ", max_size=40) | st.text(max_size=40)


@given(
    _HOSTISH,
    st.sampled_from([parse_listen, parse_host_port, parse_target, parse_hostname, check_domain, check_name]),
)
def test_any_text_is_read_or_refused_with_a_value_error_of_one_line(
    text: str, parse: Callable[[str], object]
) -> None:
    assert (refusal(parse, text) or "").isprintable()


@given(_HOSTISH)
def test_a_spelling_that_was_accepted_is_read_again_as_itself(text: str) -> None:
    for parse in (parse_host_port, parse_target, parse_hostname):
        try:
            read: object = parse(text)
        except ValueError:
            continue
        assert parse(str(read)) == read


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(1, 65535))
def test_every_ip_address_may_be_listened_on_and_keeps_its_spelling(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    assume(isinstance(address, IPv4Address) or address.ipv4_mapped is None)
    text = str(ListenAddress(str(address), port))
    assert [str(read) for read in parse_listen(text)] == [text]
