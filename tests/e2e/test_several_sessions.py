"""A client with three sessions: what a lost connection takes with it, and a change of their number."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cutting import CuttingProxy, cutting_proxy
from tests.support.downloads import Download, download_server
from tests.support.services import echo, service
from tests.support.site import Site, connect, site

MEGABYTES = 32


class Home:
    """A client that reaches its gateway through a network which can be cut, and has two services."""

    def __init__(self, place: Site, network: CuttingProxy, dialed: str, targets: dict[str, str]) -> None:
        self.place = place
        self.network = network
        self._dialed = dialed
        self._targets = targets
        self.listen = {name: place.listen() for name in targets}
        tunnels = [
            {"name": name, "listen": listen, "client": "homelab", "service": name}
            for name, listen in self.listen.items()
        ]
        self.gateway = place.start("gateway", place.gateway_file(tunnels))

    def start(self, *, sessions: int) -> None:
        self.write(sessions=sessions)
        self.client = self.place.start("client", self.place.directory / "homelab.yaml")
        for number in range(1, sessions + 1):
            self.gateway.wait_for("client_connected", session=number)

    def write(self, *, sessions: int) -> None:
        self.place.client_file(self._targets, gateways=[self._dialed], sessions=sessions)

    def break_one(self) -> int:
        """Break the oldest connection; the number of the session that is lost, and is back already."""
        mark = self.gateway.mark
        assert self.network.reset(1) == 1
        lost: int = self.gateway.wait_for("client_disconnected", after=mark)["session"]
        self.client.wait_for("link_down", session=lost)
        self.gateway.wait_for("client_connected", after=mark, session=lost)
        return lost

    def download(self) -> Download:
        return Download(self.listen["download"], megabytes=MEGABYTES)

    def sessions(self) -> int:
        """How many the gateway counts."""
        (client,) = self.gateway.status()["clients"]
        count: int = client["sessions"]
        return count


@pytest.fixture
def home(tmp_path: Path, loop: Sequence[str]) -> Iterator[Home]:
    with (
        site(tmp_path, options=loop) as place,
        download_server(place.address, megabytes=MEGABYTES) as download,
        service(echo) as echoing,
    ):
        dialed = place.listen()
        with cutting_proxy(dialed, place.control) as network:
            yield Home(place, network, dialed, {"download": download, "echo": echoing})


def answers(visitor: socket.socket) -> bool:
    """Whether the visitor still has a service at the other end; otherwise it was reset."""
    try:
        visitor.sendall(b"?")
        return visitor.recv(1) == b"?"
    except (ConnectionResetError, BrokenPipeError):
        return False


def is_whole(download: Download) -> bool:
    """Whether all of it comes; otherwise it is reset."""
    try:
        download.finish()
    except ConnectionResetError:
        return False
    return True


def test_one_lost_connection_of_three_breaks_its_own_downloads_and_comes_back(home: Home) -> None:
    home.start(sessions=3)
    with home.download() as one, home.download() as two, home.download() as three:
        for download in (one, two, three):
            download.read(1 << 20)
        home.break_one()
        assert home.sessions() == 3
        assert sorted(is_whole(download) for download in (one, two, three)) == [False, True, True]
    with home.download() as again:
        assert is_whole(again)


def test_three_visitors_are_spread_over_three_sessions(home: Home) -> None:
    """As one connection after the other breaks, one visitor after the other is reset."""
    home.start(sessions=3)
    with ExitStack() as visitors:
        met = [visitors.enter_context(connect(home.listen["echo"])) for _ in range(3)]
        assert all(answers(visitor) for visitor in met)
        lost = set()
        for left in (2, 1, 0):
            lost.add(home.break_one())
            met = [visitor for visitor in met if answers(visitor)]
            assert len(met) == left
        assert lost == {1, 2, 3}


def test_another_number_of_sessions_cuts_no_visitor_off(home: Home) -> None:
    home.start(sessions=1)
    with ExitStack() as visitors, home.download() as download:
        download.read(1 << 20)
        home.write(sessions=3)
        home.gateway.wait_for("client_connected", session=2)
        home.gateway.wait_for("client_connected", session=3)
        assert home.sessions() == 3
        met = [visitors.enter_context(connect(home.listen["echo"])) for _ in range(2)]
        assert all(answers(visitor) for visitor in met)

        home.write(sessions=1)
        home.client.wait_for("state_in_force", generation=3)
        assert all(answers(visitor) for visitor in met)
        visitors.close()
        home.gateway.wait_for("client_disconnected", session=2)
        home.gateway.wait_for("client_disconnected", session=3)
        assert home.sessions() == 1

        assert is_whole(download)
        for agent, event in ((home.gateway, "client_disconnected"), (home.client, "link_down")):
            assert not [line for line in agent.lines if line["event"] == event and line["session"] == 1]
