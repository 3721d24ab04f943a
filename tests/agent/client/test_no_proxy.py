"""Which hosts are dialed without a proxy, though the environment names one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.client.no_proxy import is_exempt


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("gw1.example.com", "*"),
        ("gw1.example.com", "gw1.example.com"),
        ("gw1.example.com", "other, example.com"),
        ("gw1.example.com", ".example.com"),
        ("gw1.example.com", "*.example.com"),
        ("gw1.example.com", "a.example  Example.COM."),
        ("gw1.example.com", "example.com:9056"),
        ("gw1.example.com.", "example.com"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.9/24"),
        ("192.0.2.7", "192.0.2.7:9056"),
        ("2001:db8::1", "2001:DB8:0::1"),
        ("2001:db8::1", "[2001:db8::1]:9056"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("2001:db8::1", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
    ],
)
def test_a_host_is_exempt_by_its_name_its_network_and_its_port(host: str, no_proxy: str) -> None:
    assert is_exempt(host, 9056, no_proxy)


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("gw1.example.com", ""),
        ("gw1.example.com", ", ,"),
        ("gw1.example.com", "."),
        ("gw1.example.com", "1.example.com"),
        ("notexample.com", "example.com"),
        ("gw1.example.com", "example.com:443"),
        ("gw1.example.com", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.8"),
        ("192.0.2.7", "2.7"),
        ("192.0.2.7", "192.0.2.0/33"),
        ("192.0.2.7", "192.0.2.7:443"),
        ("192.0.2.7", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::2"),
    ],
)
def test_no_other_host_is(host: str, no_proxy: str) -> None:
    assert not is_exempt(host, 9056, no_proxy)


@pytest.mark.parametrize("host", ["localhost", "gw.localhost", "127.0.0.1", "127.8.9.10", "::1", "LOCALHOST"])
def test_the_machine_itself_is_always_exempt(host: str) -> None:
    assert is_exempt(host, 9056, "")


@given(st.text(max_size=30), st.sampled_from(["gw1.example.com", "192.0.2.7", "2001:db8::1", "a"]))
def test_whatever_stands_there_is_no_error(no_proxy: str, host: str) -> None:
    assert is_exempt(host, 9056, no_proxy) in (True, False)
