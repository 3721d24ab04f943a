"""Agents stop, are killed, and vanish: ports stay as the file says, and traffic resumes by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.downloads import Download, download_server
from tests.support.listening import listening_inodes
from tests.support.site import Agent, Site, connect, read_all, site

MEGABYTES = 4


class Home:
    """One tunnel ``listen`` to a service that sends 4 MiB."""

    def __init__(self, place: Site, service: str) -> None:
        self.place = place
        self.service = service
        self.listen = place.listen()
        tunnel = {"name": "t", "listen": self.listen, "client": "homelab", "service": "download"}
        self.gateway, self.client = place.start_both([tunnel], {"download": service})

    def start_gateway(self) -> Agent:
        return self.place.start("gateway", self.place.directory / "gateway.yaml")

    def start_client(self) -> Agent:
        return self.place.start("client", self.place.directory / "homelab.yaml")

    def assert_served(self) -> None:
        with Download(self.listen, megabytes=MEGABYTES) as download:
            download.finish()

    def assert_turned_away(self) -> None:
        """The port is open, and whoever comes is told at once that nobody is there."""
        with connect(self.listen) as visitor:
            assert read_all(visitor) == b""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with site(tmp_path) as place, download_server(place.address, megabytes=MEGABYTES) as service:
        yield Home(place, service)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_port_outlives_its_client_and_serves_again_when_it_is_back(
    home: Home, how: signal.Signals
) -> None:
    """The socket is the same before, during and after; nobody touched the gateway."""
    home.assert_served()
    before = listening_inodes(home.place.address)
    home.client.stop(how)
    home.gateway.wait_for("client_disconnected", client="homelab")
    home.assert_turned_away()
    mark = home.gateway.mark
    home.start_client()
    home.gateway.wait_for("client_connected", after=mark)
    home.assert_served()
    assert listening_inodes(home.place.address) == before


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_gateway_that_starts_again_opens_its_ports_and_its_clients_come_back(
    home: Home, how: signal.Signals
) -> None:
    """Stopping a gateway changes nothing that is desired, however it is stopped."""
    file = home.place.directory / "gateway.yaml"
    before = file.read_bytes()
    home.gateway.stop(how)
    home.client.wait_for("link_down")
    with pytest.raises(ConnectionRefusedError):
        connect(home.listen)
    gateway = home.start_gateway()
    gateway.wait_for("client_connected", client="homelab")
    home.assert_served()
    assert file.read_bytes() == before


def test_a_client_that_stops_says_goodbye_and_exits_with_0(home: Home) -> None:
    """SIGTERM is an orderly end: exit status 0, a stop in the log, no socket file left."""
    assert home.client.stop() == 0
    home.client.wait_for("client_stopped")
    assert not home.client.socket_path.exists()
    assert home.gateway.stop() == 0
    home.gateway.wait_for("gateway_stopped")
    assert not home.gateway.socket_path.exists()


def test_a_new_session_of_the_same_client_replaces_the_old_one_at_once(home: Home) -> None:
    """The newest wins; a visitor of the old one is reset, one that comes after is served."""
    with Download(home.listen, megabytes=MEGABYTES) as download:
        download.read(1)
        file = home.place.directory / "homelab.yaml"
        second = file.with_name("second.yaml")
        second.write_text(file.read_text())
        mark = home.gateway.mark
        home.place.start("client", second)
        home.gateway.wait_for("client_connected", after=mark)
        home.gateway.wait_for("client_disconnected", after=mark)
        with pytest.raises(ConnectionResetError):
            download.finish()
    home.client.wait_for("session_replaced")
    assert "stop one of the two" in home.client.wait_for("link_down")["reason"]
