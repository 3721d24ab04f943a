"""Which addresses lead to the machine itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from agent.gateway import own_addresses
from agent.gateway.own_addresses import can_bind, is_own
from tests.support.namespaces import Machine, two_machines
from tests.support.within import add_address, within

OWN: Final = ["127.0.0.1", "127.9.8.7", "::1", "0.0.0.0", "::"]
NOT_OWN: Final = ["8.8.8.8", "240.0.0.1", "2001:4860:4860::8888", "100::1", "fe80::1", "224.0.0.1"]


@pytest.fixture(params=["the system says", "by binding", "by the source"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it is found out."""
    if request.param != "the system says":
        monkeypatch.setattr(own_addresses, "_is_kept", lambda address: None)
    if request.param == "by the source":  # where anything can be bound
        monkeypatch.setattr(own_addresses, "_can_bind", lambda text, version: True)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("text", OWN)
def test_what_leads_to_this_machine_is_its_own(text: str) -> None:
    """Also what no interface is listed with."""
    assert is_own(ip_address(text))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("text", NOT_OWN[:-1])
def test_what_leads_elsewhere_is_not(text: str) -> None:
    assert not is_own(ip_address(text))


def test_only_what_is_its_own_can_be_bound() -> None:
    assert can_bind(ip_address("127.0.0.1"))
    assert not can_bind(ip_address("8.8.8.8"))


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with two_machines() as (public, _):
        add_address(public, "192.0.2.3")
        add_address(replace(public, interface="lo"), "2a00:db9::1", 64)  # which is ready at once
        yield public


@pytest.mark.real_software("ip")
class TestOnAMachineOfItsOwn:
    @pytest.mark.parametrize("binds", ["0", "1"])
    def test_each_address_of_an_interface_is_its_own_and_those_beside_are_not(
        self, machine: Machine, binds: str
    ) -> None:
        """Also the second one, for which the first one answers, and where anything can be bound."""

        def found() -> list[str]:
            for version in ("ipv4", "ipv6"):
                Path(f"/proc/sys/net/{version}/ip_nonlocal_bind").write_text(binds)
            others = ["192.0.2.2", "192.0.2.9", "8.8.8.8", "2a00:db9::2", "2606:4700::1111"]
            asked = ["192.0.2.1", "192.0.2.3", "2a00:db9::1", *others]
            return [text for text in asked if is_own(ip_address(text))]

        assert within(machine, found) == ["192.0.2.1", "192.0.2.3", "2a00:db9::1"]
