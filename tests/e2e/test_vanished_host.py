"""The client's machine loses its network: packets are dropped, and no connection is closed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.namespaces import Machine, two_machines
from tests.support.site import PATIENCE, Agent, Site, site

pytestmark = pytest.mark.real_software("ip", "curl")

PAGE = "from the service at home"


class Vanishing:
    """A gateway on one machine, a client and a web server on another, and a cable."""

    def __init__(self, place: Site, public: Machine, home: Machine, **gateway_settings: str) -> None:
        self.place = place
        self.public = public
        self.home = home
        self.listen = place.listen()
        tunnel = {"name": "web", "listen": self.listen, "client": "homelab", "service": "web"}
        state = place.gateway_file([tunnel], **gateway_settings)
        self.gateway = place.start("gateway", state, inside=public.inside)
        self.client = self.start_client("homelab.yaml", ping_interval="1s", ping_timeout="1s")
        self.gateway.wait_for("client_connected", client="homelab")

    def start_client(self, name: str, **settings: str) -> Agent:
        state = self.place.client_file({"web": "127.0.0.1:8000"}, **settings)
        state = state.rename(state.with_name(name))
        return self.place.start("client", state, inside=self.home.inside)

    def get(self) -> subprocess.CompletedProcess[str]:
        """What a visitor on the public machine gets."""
        return subprocess.run(
            [*self.public.inside, "curl", "-sS", "-m", str(PATIENCE), f"http://{self.listen}/page"],
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
        )


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    with two_machines() as both:
        yield both


@pytest.fixture(autouse=True)
def server(tmp_path: Path, machines: tuple[Machine, Machine]) -> Iterator[None]:
    """A web server at home, on a port of its own: nobody else is on that machine."""
    (tmp_path / "page").write_text(PAGE)
    command = [*machines[1].inside, sys.executable, "-m", "http.server", "8000", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as server:
        yield
        server.kill()


@pytest.fixture
def place(tmp_path: Path, machines: tuple[Machine, Machine]) -> Iterator[Site]:
    with site(tmp_path, machines[0].address) as place:
        yield place


def test_a_client_whose_machine_vanished_is_noticed_and_comes_back_by_itself(
    place: Site, machines: tuple[Machine, Machine]
) -> None:
    """No sign of life ends the session on both sides; the port stays; the cable brings all back."""
    run = Vanishing(place, *machines, ping_interval="1s", ping_timeout="1s")
    assert run.get().stdout == PAGE
    run.home.pull()
    lost = run.gateway.wait_for("client_disconnected", client="homelab")
    assert "nothing was heard for 1 s" in lost["reason"]
    # Told at once: the port is open, and closes on whoever comes ("empty reply", or a reset).
    assert run.get().returncode in (52, 56)
    run.client.wait_for("link_down")
    mark = run.gateway.mark
    run.home.plug_in()
    run.gateway.wait_for("client_connected", after=mark, client="homelab")
    assert run.get().stdout == PAGE


def test_a_half_open_session_is_replaced_by_the_next_one_at_once(
    place: Site, machines: tuple[Machine, Machine]
) -> None:
    """The gateway still believes in the old session when the same client connects anew."""
    run = Vanishing(place, *machines, ping_interval="1h")  # the gateway will not notice by itself
    run.home.pull()
    run.client.wait_for("link_down")
    run.client.kill()
    run.home.move("192.0.2.3")  # or its kernel would still deliver the goodbye
    run.home.plug_in()
    mark = run.gateway.mark
    run.start_client("again.yaml")
    lost = run.gateway.wait_for("client_disconnected", after=mark, client="homelab")
    assert "replaced" in lost["reason"]
    assert run.get().stdout == PAGE
