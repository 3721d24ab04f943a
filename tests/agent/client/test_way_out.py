"""Which way a client takes: the file counts, and where that says nothing the environment does."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.client.way_out import (
    InEnvironment,
    InFile,
    ProxyError,
    Straight,
    Way,
    choose,
    read,
    resolves_here,
    spell,
)
from reconcile.desired import WayOut
from schemas.names import HostPort
from schemas.proxy_url import NoProxy, ProxyKind, ProxyUrl, parse_proxy_url
from schemas.references import EnvRef, FileRef

GATEWAY = HostPort("gw1.example.com", 9056)
PROXY = parse_proxy_url("socks5://mail:secret@proxy.example.com:1080")
ENVIRONMENT = {"https_proxy": "http://env.example.com:3128"}


def test_without_a_word_the_way_is_straight() -> None:
    assert choose(WayOut(), GATEWAY, {}) == Straight()
    assert choose(WayOut(), GATEWAY, {"http_proxy": "http://a:1", "https_proxy": " "}) == Straight()


def test_the_file_counts_before_the_environment() -> None:
    assert choose(WayOut(proxy=PROXY), GATEWAY, ENVIRONMENT) == InFile(PROXY)
    assert choose(WayOut(proxy=NoProxy.NONE), GATEWAY, ENVIRONMENT) == Straight()


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        (
            {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1", "all_proxy": "http://c:1"},
            "https_proxy",
        ),
        ({"HTTPS_PROXY": "http://b:1", "all_proxy": "http://c:1"}, "HTTPS_PROXY"),
        ({"all_proxy": "http://c:1", "ALL_PROXY": "http://d:1"}, "all_proxy"),
        ({"ALL_PROXY": "http://d:1"}, "ALL_PROXY"),
    ],
)
def test_of_the_variables_the_first_that_says_something_counts(
    environment: dict[str, str], variable: str
) -> None:
    assert choose(WayOut(), GATEWAY, environment) == InEnvironment(variable, environment[variable])


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_what_the_environment_exempts_is_dialed_straight_but_not_for_the_file(variable: str) -> None:
    environment = {**ENVIRONMENT, variable: "example.com"}

    assert choose(WayOut(), GATEWAY, environment) == Straight()
    assert choose(WayOut(proxy=PROXY), GATEWAY, environment) == InFile(PROXY)


def test_loopback_is_never_sent_to_a_proxy_of_the_environment() -> None:
    assert choose(WayOut(), HostPort("127.0.0.1", 9056), ENVIRONMENT) == Straight()
    assert choose(WayOut(proxy=PROXY), HostPort("127.0.0.1", 9056), {}) == InFile(PROXY)


def test_a_name_is_looked_up_here_only_where_no_proxy_does() -> None:
    assert resolves_here(WayOut(), GATEWAY, {})
    assert not resolves_here(WayOut(), GATEWAY, ENVIRONMENT)
    assert not resolves_here(WayOut(), HostPort("2001:db8::1", 9056), {})


@pytest.mark.parametrize(
    ("text", "kind", "host", "port"),
    [
        ("http://env.example.com:3128", ProxyKind.HTTP, "env.example.com", 3128),
        ("https://env.example.com", ProxyKind.HTTPS, "env.example.com", 443),
        ("env.example.com:3128", ProxyKind.HTTP, "env.example.com", 3128),
        ("socks5h://gateway:1080/", ProxyKind.SOCKS5, "gateway", 1080),
    ],
)
def test_a_variable_is_read_as_others_read_it(text: str, kind: ProxyKind, host: str, port: int) -> None:
    proxy, said_in = read(InEnvironment("all_proxy", text))

    assert (proxy.kind, proxy.host, proxy.port, said_in) == (kind, host, port, "all_proxy")


def test_a_variable_that_makes_no_sense_is_told_by_its_name_and_without_its_password() -> None:
    way = InEnvironment("HTTPS_PROXY", "ftp://mail:secret@proxy:443")

    with pytest.raises(ProxyError, match=r'^HTTPS_PROXY: "ftp" is no kind of proxy') as caught:
        read(way)
    assert "secret" not in f"{caught.value}{way!r}"


def test_a_proxy_in_a_file_or_a_variable_of_its_own_is_read_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "proxy"
    file.write_text("socks5://mail:secret@proxy.example.com:1080\n")
    monkeypatch.setenv("THE_PROXY", file.read_text())

    assert read(InFile(FileRef(str(file)))) == (PROXY, "client.proxy")
    assert read(InFile(EnvRef("THE_PROXY"))) == (PROXY, "client.proxy")
    assert read(InFile(PROXY)) == (PROXY, "client.proxy")


@pytest.mark.parametrize(
    "content", [b"", b"ftp://mail:secret@proxy:21\n", b"http://secret:\xff\xfe@proxy:80"]
)
def test_a_file_that_holds_something_else_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "proxy"
    file.write_bytes(content)

    with pytest.raises(ProxyError, match=r"^client\.proxy: .*proxy") as caught:
        read(InFile(FileRef(str(file))))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        (Straight(), ""),
        (InFile(PROXY), "socks5://proxy.example.com:1080"),
        (InFile(FileRef("/etc/proxy")), "the proxy in /etc/proxy"),
        (InFile(EnvRef("THE_PROXY")), "the proxy in $THE_PROXY"),
        (InEnvironment("https_proxy", "http://mail:secret@proxy:80"), "the proxy in $https_proxy"),
    ],
)
def test_a_way_is_shown_without_who_takes_it(way: Way, shown: str) -> None:
    assert spell(way) == shown


def test_a_password_is_not_in_a_repr() -> None:
    proxy = ProxyUrl(kind=ProxyKind.HTTP, host="a", port=1, user="mail", password="secret")

    assert "secret" not in repr(InFile(proxy))
