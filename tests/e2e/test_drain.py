"""Agents that are told to stop while they carry something: what finishes, what is cut, and how they end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.downloads import Download, download_server
from tests.support.services import answering, service
from tests.support.site import PATIENCE, Agent, Site, connect, read_all, site, tidegate
from tests.support.visitors import Visitors

MEGABYTES = 32


class Downloading:
    """A gateway and a client, and a download that has begun."""

    def __init__(self, place: Site, target: str, **settings: Any) -> None:
        self.place = place
        self.listen = place.listen()
        tunnel = {"name": "download", "listen": self.listen, "client": "homelab", "service": "download"}
        self.gateway = place.start("gateway", place.gateway_file([tunnel], **settings))
        self.client = place.start("client", place.client_file({"download": target}, **settings))
        self.gateway.wait_for("client_connected", client="homelab")

    def begun(self) -> Download:
        download = Download(self.listen, megabytes=MEGABYTES)
        download.read(1 << 20)
        return download


@pytest.fixture
def place(tmp_path: Path, loop: tuple[str, ...]) -> Iterator[Site]:
    with site(tmp_path, options=loop) as made:
        yield made


@pytest.fixture
def target(place: Site) -> Iterator[str]:
    with download_server(place.address, megabytes=MEGABYTES) as made:
        yield made


def ended(agent: Agent) -> int:
    return agent.process.wait(PATIENCE)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_download_finishes_after_the_gateway_was_told_to_stop(
    place: Site, target: str, how: signal.Signals, status: int
) -> None:
    here = Downloading(place, target)
    with here.begun() as download:
        here.gateway.process.send_signal(how)
        here.gateway.wait_for("drain_began", open=1)
        with pytest.raises(ConnectionRefusedError):
            connect(here.listen)
        here.client.wait_for("gateway_drains")
        assert here.gateway.process.poll() is None

        download.finish()

    assert ended(here.gateway) == status
    here.gateway.wait_for("drain_ended", dropped=0)
    assert here.client.wait_for("link_down")["reason"] == "the gateway stopped, as it had announced"


def test_a_download_finishes_after_the_client_was_told_to_stop(place: Site, target: str) -> None:
    here = Downloading(place, target)
    with here.begun() as download:
        here.client.process.send_signal(signal.SIGTERM)
        here.client.wait_for("drain_began", open=1)

        download.finish()

    assert ended(here.client) == 0
    here.gateway.wait_for("client_disconnected")


@pytest.mark.parametrize("role", ["gateway", "client"])
def test_a_download_that_does_not_finish_is_cut_at_the_limit(place: Site, target: str, role: str) -> None:
    here = Downloading(place, target, drain="100ms")
    stopped: Agent = getattr(here, role)
    with here.begun() as download:
        stopped.process.send_signal(signal.SIGTERM)

        assert ended(stopped) == 0
        stopped.wait_for("drain_ended", dropped=1)
        with pytest.raises((ConnectionResetError, AssertionError)):
            download.finish()


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain_at_once(place: Site, target: str, again: signal.Signals) -> None:
    here = Downloading(place, target)
    with here.begun():
        here.gateway.process.send_signal(signal.SIGTERM)
        here.gateway.wait_for("drain_began")
        here.gateway.process.send_signal(again)

        assert ended(here.gateway) == -again


def test_an_agent_that_drains_answers_on_its_socket_and_is_not_ready(place: Site, target: str) -> None:
    here = Downloading(place, target)
    with here.begun() as download:
        here.gateway.process.send_signal(signal.SIGTERM)
        here.gateway.wait_for("drain_began")

        assert here.gateway.status()["life"] == "Draining"
        shown = tidegate("status", "--socket", str(here.gateway.socket_path)).stdout
        assert "Draining" in shown.splitlines()[0]
        readiness, body = asked(here.gateway, "/readyz")
        assert (readiness, asked(here.gateway, "/healthz")[0]) == (503, 200)
        assert "takes on nothing new" in json.dumps(body)
        (link,) = here.client.status()["links"]
        assert link["phase"] == "Draining"
        download.finish()
    assert ended(here.gateway) == 0


def test_a_hangup_and_a_changed_file_open_nothing_while_a_gateway_drains(place: Site, target: str) -> None:
    here = Downloading(place, target)
    with here.begun() as download:
        here.gateway.process.send_signal(signal.SIGTERM)
        here.gateway.wait_for("drain_began")
        other = place.listen()
        place.gateway_file([{"name": "a", "listen": other, "client": "homelab", "service": "download"}])
        here.gateway.process.send_signal(signal.SIGHUP)
        assert here.gateway.status()["source"]["generation"] == 1

        for port in (other, here.listen, place.control):
            with pytest.raises(ConnectionRefusedError):
                connect(port)
        download.finish()
    assert ended(here.gateway) == 0


def test_a_visitor_whose_sending_has_ended_may_still_read_to_the_end(place: Site, target: str) -> None:
    here = Downloading(place, target)
    with connect(here.listen) as visitor:
        visitor.shutdown(socket.SHUT_WR)
        assert visitor.recv(1)
        here.gateway.process.send_signal(signal.SIGTERM)
        here.gateway.wait_for("drain_began", open=1)

        assert len(read_all(visitor)) == (MEGABYTES << 20) - 1
    assert ended(here.gateway) == 0


def test_a_gateway_that_came_back_is_dialed_again_by_itself(place: Site, target: str) -> None:
    here = Downloading(place, target)
    assert here.gateway.stop() == 0
    here.client.wait_for("link_down")

    again = place.start("gateway", here.gateway.state)

    again.wait_for("client_connected", client="homelab")


def test_no_request_fails_while_one_of_two_clients_is_stopped_and_started_again(place: Site) -> None:
    """A tunnel has two clients, and each is restarted in turn under visitors who come without a pause."""
    listen = place.listen()
    tunnel = {"name": "web", "listen": listen, "client": ["homelab", "office"], "service": "web"}
    gateway = place.start("gateway", place.gateway_file([tunnel]))
    with (
        service(answering(b"HTTP/1.0 200 OK\r\n\r\nhomelab")) as one,
        service(answering(b"HTTP/1.0 200 OK\r\n\r\noffice")) as two,
    ):
        homelab = place.start("client", place.client_file({"web": one}, id="homelab"))
        place.start("client", place.client_file({"web": two}, id="office"))
        gateway.wait_for("client_connected", client="homelab")
        gateway.wait_for("client_connected", client="office")
        with Visitors(listen, 8) as visitors:
            for _ in range(3):
                visitors.wait_for_more(50)
                mark = gateway.mark
                assert homelab.stop() == 0
                visitors.wait_for_more(50)
                assert visitors.served[-1] == "office"
                homelab = place.start("client", homelab.state)
                gateway.wait_for("client_connected", after=mark, client="homelab")
        assert visitors.refused + visitors.failures == []
        assert {"homelab", "office"} == set(visitors.served)


def test_no_request_fails_while_the_sessions_of_a_client_are_changed_and_lowered(place: Site) -> None:
    """Another certificate, other intervals, fewer sessions: each is an edit of the client's file."""
    listen = place.listen()
    tunnel = {"name": "web", "listen": listen, "client": "homelab", "service": "web"}
    gateway = place.start("gateway", place.gateway_file([tunnel]))
    with service(answering(b"HTTP/1.0 200 OK\r\n\r\nhomelab")) as web:
        client = place.start("client", place.client_file({"web": web}, sessions=3))
        for number in (1, 2, 3):
            gateway.wait_for("client_connected", session=number)
        (place.pki / "other.crt").write_bytes((place.pki / "homelab.crt").read_bytes())
        tls = {"cert": "pki/other.crt", "key": "pki/homelab.key", "ca": "pki/ca.crt"}
        edits: list[dict[str, Any]] = [
            {"sessions": 3, "ping_interval": "7s"},
            {"sessions": 1, "ping_interval": "7s"},
            {"sessions": 2, "tls": tls},
            {"sessions": 2, "tls": tls, "half_close_timeout": "1m"},
        ]
        with Visitors(listen, 8) as visitors:
            for generation, edit in enumerate(edits, start=2):
                mark = client.mark
                visitors.wait_for_more(50)
                place.client_file({"web": web}, **edit)
                client.wait_for("state_in_force", after=mark, generation=generation)
                visitors.wait_for_more(50)
        assert visitors.refused + visitors.failures == []
        assert not [line for line in client.lines if line["event"] == "link_down"]


def asked(agent: Agent, path: str) -> tuple[int, Any]:
    """What the agent answers on its socket."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    with connection.sock:
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(str(agent.socket_path))
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    return answer.status, json.loads(body) if body.startswith(b"{") else body


@pytest.mark.parametrize(("stopped", "frozen"), [("gateway", "client"), ("client", "gateway")])
def test_an_agent_ends_whatever_has_become_of_its_peer(tmp_path: Path, stopped: str, frozen: str) -> None:
    """The peer's machine hangs: it answers nothing, and takes nothing that is said to it."""
    with site(tmp_path) as place, download_server(place.address, megabytes=MEGABYTES) as target:
        here = Downloading(place, target, drain="100ms")
        with here.begun():
            getattr(here, frozen).process.send_signal(signal.SIGSTOP)

            assert getattr(here, stopped).stop() == 0
