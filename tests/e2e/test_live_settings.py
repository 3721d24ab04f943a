"""Settings that change while an agent runs: nobody restarts, and no session ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.downloads import Download, download_server
from tests.support.site import Agent, Site, site, tidegate

LIVE: dict[str, Any] = {
    "name": "gw-renamed",
    "peek_timeout": "1s",
    "ping_interval": "7s",
    "ping_timeout": "3s",
    "half_close_timeout": "1m",
    "drain": "5s",
    "log_level": "debug",
    "admins": ["homelab"],
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


@pytest.mark.parametrize("setting", LIVE)
def test_a_setting_of_a_gateway_takes_effect_and_a_download_goes_on(place: Site, setting: str) -> None:
    with download_server(place.address, megabytes=16) as service:
        tunnels = [{"name": "web", "listen": place.listen(), "client": "homelab", "service": "web"}]
        gateway, client = place.start_both(tunnels, {"web": service})
        with Download(tunnels[0]["listen"], megabytes=16) as download:
            download.read(1 << 20)
            mark = gateway.mark

            place.gateway_file(tunnels, **{setting: LIVE[setting]})
            gateway.wait_for("state_in_force", after=mark, generation=2)

            download.finish()
    for agent in (gateway, client):
        events = {line["event"] for line in agent.lines}
        assert not events & {"client_disconnected", "link_down", "restart_needed", "resource_failed"}


def test_a_gateway_is_called_by_its_new_name(place: Site) -> None:
    gateway = place.start("gateway", place.gateway_file([]))

    place.gateway_file([], name="gw-renamed")
    gateway.wait_for("state_in_force", generation=2)

    assert gateway.status()["name"] == "gw-renamed"


def test_a_log_says_less_or_more_as_its_file_says(place: Site) -> None:
    """What is logged of a change is what the changed file asks for."""
    gateway = place.start("gateway", place.gateway_file([]))

    place.gateway_file([], log_level="error")
    reload(gateway)
    place.gateway_file([], log_level="error", name="quiet")
    reload(gateway)
    place.gateway_file([], name="loud")
    gateway.wait_for("state_in_force", generation=4)

    assert gateway.status()["name"] == "loud"
    assert {line["generation"] for line in gateway.lines if "generation" in line} == {1, 4}


def reload(agent: Agent) -> None:
    """Let it look at its file, and wait until it has."""
    tidegate("reload", "--socket", str(agent.socket_path)).check_returncode()
