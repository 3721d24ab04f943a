"""A file of 200 tunnels changes while a download runs through one that does not."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.downloads import Download, download_server
from tests.support.listening import listening_inodes
from tests.support.site import Site, connect, read_all, site

MEGABYTES = 32


class Crowd:
    """A gateway with 200 tunnels to one client; ``tunnels[0]`` carries the download."""

    def __init__(self, place: Site, service: str) -> None:
        self.place = place
        self.tunnels = [
            {"name": f"t{n}", "listen": place.listen(), "client": "homelab", "service": "download"}
            for n in range(200)
        ]
        self.gateway, self.client = place.start_both(self.tunnels, {"download": service, "other": service})
        self.gateway.wait_for("state_in_force", generation=1)

    @property
    def inodes(self) -> dict[int, int]:
        return listening_inodes(self.place.address)

    def port(self, number: int) -> int:
        return int(self.tunnels[number]["listen"].rpartition(":")[2])

    def download(self) -> Download:
        return Download(self.tunnels[0]["listen"], megabytes=MEGABYTES)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with site(tmp_path) as place, download_server(place.address, megabytes=MEGABYTES) as service:
        yield Crowd(place, service)


def test_a_change_touches_only_what_it_changes(crowd: Crowd) -> None:
    """Tunnels come, change and go; the download is whole and every other socket is the same one."""
    before = crowd.inodes
    with crowd.download() as download:
        download.read(1 << 20)
        added = [
            {"name": f"new{n}", "listen": crowd.place.listen(), "client": "homelab", "service": "download"}
            for n in range(20)
        ]
        changed = [{**tunnel, "service": "other"} for tunnel in crowd.tunnels[1:21]]
        crowd.place.gateway_file([crowd.tunnels[0], *changed, *crowd.tunnels[41:], *added])
        crowd.gateway.wait_for("state_in_force", generation=2)
        after = crowd.inodes
        gone = {crowd.port(number) for number in range(21, 41)}
        assert {port: inode for port, inode in before.items() if port not in gone}.items() <= after.items()
        assert not gone & after.keys()
        for tunnel in (added[0], changed[0]):
            with connect(tunnel["listen"]) as visitor:
                assert visitor.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(crowd.tunnels[21]["listen"])
        download.finish()


def test_the_same_file_again_does_nothing(crowd: Crowd) -> None:
    """A turn on a state that is in force plans no action."""
    mark = crowd.gateway.mark
    crowd.place.gateway_file(crowd.tunnels)  # written anew: another inode, the same content
    crowd.gateway.process.send_signal(signal.SIGHUP)
    assert crowd.gateway.status()["source"]["generation"] == 1
    crowd.place.gateway_file([*crowd.tunnels[:-1]])
    crowd.gateway.wait_for("state_in_force", after=mark, generation=2)
    events = [line["event"] for line in crowd.gateway.lines[mark:] if line["event"].startswith("resource_")]
    assert events == ["resource_closed"]


def _clash(state: dict[str, Any]) -> str:
    state["tunnels"][7]["listen"] = state["tunnels"][3]["listen"]
    return yaml.safe_dump(state, sort_keys=False)


def _bad_yaml(state: dict[str, Any]) -> str:
    lines = yaml.safe_dump(state, sort_keys=False).splitlines()
    lines[20] = "  }" + lines[20]
    return "\n".join(lines) + "\n"


def _half(state: dict[str, Any]) -> str:
    text = yaml.safe_dump(state, sort_keys=False)
    return text[: len(text) // 2]


def _half_of_another(state: dict[str, Any]) -> str:
    """Half of a file that differs near its beginning, so that it is no prefix of the one in force."""
    state["tunnels"][0]["name"] = "renamed"
    return _half(state)


def _nothing(state: dict[str, Any]) -> str:
    return ""


@pytest.mark.parametrize("damage", [_clash, _bad_yaml, _half, _half_of_another, _nothing])
def test_a_broken_file_changes_nothing_and_is_reported_with_its_line(crowd: Crowd, damage: Any) -> None:
    """The last good state stays in force; the problem names the place; mending the file mends the state."""
    before = crowd.inodes
    path = crowd.place.directory / "gateway.yaml"
    good = path.read_text()
    with crowd.download() as download:
        download.read(1 << 20)
        path.write_text(damage(yaml.safe_load(good)))
        refused = crowd.gateway.wait_for("state_refused")
        assert refused["generation_in_force"] == 1
        assert all("gateway.yaml:" in problem for problem in refused["problems"])
        status = crowd.gateway.status()
        assert status["source"]["generation"] == 1
        assert [problem["text"] for problem in status["source"]["problems"]] == refused["problems"]
        assert all(problem["line"] for problem in status["source"]["problems"])
        assert crowd.inodes == before
        path.write_text(good)
        crowd.gateway.wait_for("state_mended")
        assert crowd.inodes == before
        download.finish()


def test_a_file_that_would_close_every_port_must_say_that_it_means_it(crowd: Crowd) -> None:
    """Without allow_empty a list of no tunnels is refused; with it, every port closes."""
    before = crowd.inodes
    crowd.place.gateway_file([])
    refused = crowd.gateway.wait_for("state_refused")
    assert any("allow_empty: true" in problem for problem in refused["problems"])
    assert crowd.inodes == before
    crowd.place.gateway_file([], allow_empty=True)
    crowd.gateway.wait_for("state_in_force", generation=2)
    assert not {crowd.port(number) for number in range(200)} & crowd.inodes.keys()


def test_a_connection_keeps_the_route_it_was_opened_with(crowd: Crowd) -> None:
    """Removing a tunnel closes its port and lets its visitors finish."""
    with crowd.download() as download:
        download.read(1 << 20)
        crowd.place.gateway_file(crowd.tunnels[1:])
        crowd.gateway.wait_for("state_in_force", generation=2)
        assert crowd.port(0) not in crowd.inodes
        download.finish()


def test_a_port_that_is_taken_stops_nothing_else_and_opens_when_it_is_free(crowd: Crowd) -> None:
    """The listener is Failed with its reason, tried again, and in force once the other program is gone."""
    taken = socket.create_server((crowd.place.address, 0))
    ports = {"taken": "{}:{}".format(*taken.getsockname()), "free": crowd.place.listen()}
    new = [
        {"name": name, "listen": port, "client": "homelab", "service": "other"}
        for name, port in ports.items()
    ]
    with taken:
        crowd.place.gateway_file([*crowd.tunnels, *new])
        failed = crowd.gateway.wait_for("resource_failed")
        assert "taken by another program" in failed["reason"]
        with connect(ports["free"]) as visitor:
            assert visitor.recv(1)
        conditions = {
            condition["type"]: condition["reason"]
            for tunnel in crowd.gateway.status()["tunnels"]
            if tunnel["name"] == "taken"
            for condition in tunnel["conditions"]
        }
        assert conditions["Programmed"] == conditions["Ready"] == "AddressInUse"
    crowd.gateway.wait_for("state_in_force", generation=2)
    with connect(ports["taken"]) as visitor:
        assert len(read_all(visitor)) == MEGABYTES << 20
