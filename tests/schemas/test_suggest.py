from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.suggest import suggest

KEYS = ("name", "listen", "hostname", "client", "service", "proxy_protocol")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("lisen", "listen"),
        ("Listen", "listen"),
        ("hostnames", "hostname"),
        ("proxy-protocol", "proxy_protocol"),
        ("ProxyProtocol", "proxy_protocol"),
        ("colour", None),
        ("", None),
        ("listen" * 100, None),
    ],
)
def test_a_slip_of_the_keyboard_is_recognized(written: str, meant: str | None) -> None:
    assert suggest(written, KEYS) == meant


@given(st.text())
def test_a_guess_is_always_one_of_the_options(text: str) -> None:
    assert suggest(text, KEYS) in (None, *KEYS)
    assert suggest(text, ()) is None
