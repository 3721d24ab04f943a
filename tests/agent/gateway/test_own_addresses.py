"""Which addresses lead to the machine itself."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

import pytest

from agent.gateway import own_addresses
from agent.gateway.own_addresses import is_own

OWN: Final = ["127.0.0.1", "127.9.8.7", "::1", "0.0.0.0", "::"]
NOT_OWN: Final = ["8.8.8.8", "240.0.0.1", "2001:4860:4860::8888", "100::1", "fe80::1"]


@pytest.mark.parametrize("text", OWN)
def test_what_leads_to_this_machine_is_its_own(text: str) -> None:
    """Also what no interface is listed with."""
    assert is_own(ip_address(text))


@pytest.mark.parametrize("text", NOT_OWN)
def test_what_leads_elsewhere_is_not(text: str) -> None:
    assert not is_own(ip_address(text))


def test_where_anything_can_be_bound_the_way_there_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it can on a machine that takes over the addresses of another."""
    monkeypatch.setattr(own_addresses, "_can_bind", lambda text, version: True)

    assert [text for text in (*OWN, *NOT_OWN) if is_own(ip_address(text))] == OWN
