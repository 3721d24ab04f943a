from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.proxy_url import ProxyKind, ProxyUrl, parse_proxy_url

SECRETS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=40)


@given(kind=st.sampled_from(ProxyKind), user=SECRETS, password=SECRETS, port=st.integers(1, 65535))
def test_a_proxy_that_is_written_and_read_again_is_the_same(
    kind: ProxyKind, user: str, password: str, port: int
) -> None:
    if kind is not ProxyKind.SOCKS5:
        user = user.replace(":", "_")
    proxy = ProxyUrl(kind=kind, host="proxy.test", port=port, user=user, password=password)

    assert parse_proxy_url(proxy.whole) == proxy


def test_a_password_is_shown_to_nobody_who_does_not_ask_for_the_whole() -> None:
    proxy = parse_proxy_url("http://me:hunter2@proxy:3128")

    assert str(proxy) == "http://me@proxy:3128"
    assert "hunter2" not in repr(proxy)
    assert proxy.whole == "http://me:hunter2@proxy:3128"


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy", ProxyUrl(kind=ProxyKind.HTTP, host="proxy", port=80)),
        ("https://proxy", ProxyUrl(kind=ProxyKind.HTTPS, host="proxy", port=443)),
        ("SOCKS5://proxy/", ProxyUrl(kind=ProxyKind.SOCKS5, host="proxy", port=1080)),
        ("socks5h://gateway:9", ProxyUrl(kind=ProxyKind.SOCKS5, host="gateway", port=9)),
        ("http://[::1]:3128", ProxyUrl(kind=ProxyKind.HTTP, host="::1", port=3128)),
        ("socks5://u:@p", ProxyUrl(kind=ProxyKind.SOCKS5, host="p", port=1080, user="u", password="")),
    ],
)
def test_what_is_left_out_is_what_is_usual(text: str, proxy: ProxyUrl) -> None:
    assert parse_proxy_url(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "proxy:3128", "https://u%3av:hunter2@proxy", "ftp://u:hunter2@proxy", "http://u:hunter2@",
        "http://:hunter2@p", "http://u:hunter2@p/x", "http://u:hunter2%00@p", "http://u:hunter2%ff@p",
        f"http://u:{'hunter2' * 40}@p", "http://a%3ab:hunter2@p", "http://u:hunter2@p:0",
    ],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_showing_a_password(text: str) -> None:
    with pytest.raises(ValueError, match="write") as caught:
        parse_proxy_url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("secret", ["p@ss", "pa/ss", "@", "p@/:s"])
def test_a_password_that_is_not_encoded_is_told_how_to_be(secret: str) -> None:
    with pytest.raises(ValueError, match=r"is percent-encoded: write @ as %40") as raised:
        parse_proxy_url(f"http://bob:{secret}@proxy:3128")

    assert "bob" not in str(raised.value)
    assert secret == "@" or secret not in str(raised.value)


@pytest.mark.parametrize("text", ["http://proxy:3128/path", "http://bob:x@proxy/path", "proxy:3128"])
def test_what_is_wrong_elsewhere_is_not_blamed_on_the_password(text: str) -> None:
    with pytest.raises(ValueError, match="this is not the URL of a proxy"):
        parse_proxy_url(text)
