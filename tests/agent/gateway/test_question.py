"""A question as it is typed."""

from __future__ import annotations

import pytest

from agent.gateway.question import parse_question
from agent.gateway.refusal import TrafficKind


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        ("203.0.113.7:443", ["203.0.113.7:443"]),
        ("[2001:db8::7]:443", ["[2001:db8::7]:443"]),
        (":443", ["0.0.0.0:443", "[::]:443"]),
        ("443", ["0.0.0.0:443", "[::]:443"]),
    ],
)
def test_an_address_is_itself_and_a_port_is_any_of_them(listen: str, addresses: list[str]) -> None:
    question = parse_question(listen)

    assert [str(address) for address in question.addresses] == addresses
    assert (question.port, question.kind, question.name) == (443, TrafficKind.RAW, None)


def test_a_name_says_what_the_visitor_speaks_and_is_read_as_in_a_state_file() -> None:
    tls, http = parse_question("443", sni="Blog.Example.com."), parse_question("443", host="bücher.example")

    assert (tls.kind, tls.name, str(tls)) == (
        TrafficKind.TLS,
        "blog.example.com",
        "443 with the TLS server name blog.example.com",
    )
    assert (http.kind, http.name) == (TrafficKind.HTTP, "xn--bcher-kva.example")


@pytest.mark.parametrize(
    ("listen", "more", "message"),
    [
        (
            "blog.example.com:443",
            {},
            r'443" is no address of the gateway; ask for :443 --sni blog\.example\.com, or',
        ),
        ("blog.example.com", {}, r"ask for :443 --sni blog\.example\.com, or with --host in place of --sni"),
        (
            "https://Blog.example.com/a",
            {},
            r'/a" is no address of the gateway; ask for :443 --sni blog\.example\.com$',
        ),
        ("https://blog.example.com:8443", {}, r"ask for :8443 --sni blog\.example\.com$"),
        ("http://blog.example.com/", {}, r"ask for :80 --host blog\.example\.com$"),
        ("https://203.0.113.7/", {}, r"ask for 203\.0\.113\.7:443$"),
        ("https://[2001:db8::7]/", {}, r"ask for \[2001:db8::7\]:443$"),
        ("https://[::1", {}, "is a URL"),
        ("ftp://a.test/", {}, "is a URL"),
        ("https:///a", {}, "is a URL"),
        ("203.0.113.7", {}, "has no port"),
        ("", {}, "empty"),
        ("99999", {}, "is not a port"),
        ("[::1", {}, "has no port"),
        ("::ffff:1.2.3.4:443", {}, "brackets"),
        ("443", {"sni": "*.example.com"}, "is a pattern; write the one name"),
        ("443", {"sni": "a b"}, "holds a space"),
        ("443", {"sni": ""}, "empty"),
        ("443", {"sni": "a.test:80"}, "holds ':'"),
        ("443", {"sni": "a.test", "host": "a.test"}, "not both"),
        ("٤٤٣", {}, "no port"),
    ],
)
def test_what_is_no_question_says_how_to_ask(listen: str, more: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_question(listen, **more)


def test_a_host_may_come_with_its_port_as_in_a_request() -> None:
    assert parse_question(":80", host="blog.example.com:8080").name == "blog.example.com"
    with pytest.raises(ValueError, match="port belongs in listen"):
        parse_question(":80", sni="blog.example.com:8080")
