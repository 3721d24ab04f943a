"""Agents that a service manager runs: what they tell it, and the sockets that it hands them."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.handing_over import becoming, opened
from tests.support.real_software import Programs
from tests.support.services import answering, service
from tests.support.site import PATIENCE, Agent, Site, connect, read_all, site
from tests.support.visitors import Visitors

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\n\r\nhello"


@pytest.fixture
def place(tmp_path: Path, loop: Sequence[str]) -> Iterator[Site]:
    with site(tmp_path, options=loop) as made:
        yield made


class Ear:
    """The end of the service manager to which agents talk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._bound.bind(str(path))
        self._bound.settimeout(PATIENCE)

    def hear(self, *, passing_over: str = "STATUS=") -> dict[str, str]:
        """The next message that does not begin so."""
        while True:
            message = self._bound.recv(4096).decode()
            if not message.startswith(passing_over):
                return dict(line.split("=", 1) for line in message.split("\n"))

    def close(self) -> None:
        self._bound.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(tmp_path / "notify")
    yield made
    made.close()


@pytest.mark.parametrize("role", ["gateway", "client"])
def test_a_service_manager_is_told_of_each_step_in_order(place: Site, ear: Ear, role: str) -> None:
    gateway = place.gateway_file([])
    state = gateway if role == "gateway" else place.client_file({})
    agent = place.start(role, state, environment={"NOTIFY_SOCKET": str(ear.path)})

    ready = ear.hear()
    assert ready["READY"] == "1"
    assert (
        ready["STATUS"]
        == {
            "gateway": "0 tunnels, 0 ready, 0 clients",
            "client": "1 session, 0 connected",
        }[role]
    )

    agent.process.send_signal(signal.SIGHUP)
    reloading = ear.hear()
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert ear.hear()["READY"] == "1"

    agent.process.send_signal(signal.SIGTERM)
    stopping = ear.hear()
    assert stopping["STOPPING"] == "1"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 30_000_000
    assert agent.process.wait(PATIENCE) == 0


def test_a_status_says_how_many_there_are_and_what_a_drain_waits_for(place: Site, ear: Ear) -> None:
    listen = place.listen()
    tunnel = {"name": "web", "listen": listen, "client": "homelab", "service": "web"}
    gateway = place.start(
        "gateway", place.gateway_file([tunnel]), environment={"NOTIFY_SOCKET": str(ear.path)}
    )
    with service(answering(ANSWER)) as web:
        place.start("client", place.client_file({"web": web}))
        while ear.hear(passing_over="READY") != {"STATUS": "1 tunnel, 1 ready, 1 client"}:
            pass
        with connect(listen) as visitor:
            visitor.sendall(REQUEST[:10])
            while place.agents[0].status()["tunnels"][0]["traffic"]["open"] != 1:
                pass
            gateway.process.send_signal(signal.SIGTERM)
            while ear.hear(passing_over="STOPPING") != {"STATUS": "Draining: 1 connection open"}:
                pass
            visitor.sendall(REQUEST[10:])
            assert read_all(visitor) == ANSWER
        assert gateway.process.wait(PATIENCE) == 0


def test_a_watchdog_is_fed_while_the_agent_runs(place: Site, ear: Ear) -> None:
    environment = {"NOTIFY_SOCKET": str(ear.path), "WATCHDOG_USEC": "20000"}
    place.start("gateway", place.gateway_file([]), environment=environment)

    assert ear.hear()["READY"] == "1"
    assert [ear.hear() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3


def test_a_service_manager_that_cannot_be_told_stops_nothing(place: Site, tmp_path: Path) -> None:
    agent = place.start(
        "gateway", place.gateway_file([]), environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    )

    agent.wait_for("service_manager_not_told")
    assert agent.stop() == 0


# Sockets


class Held:
    """The sockets of a gateway, held by whoever starts it."""

    def __init__(self, place: Site) -> None:
        self.place = place
        self.listen = place.listen()
        self.state = place.gateway_file(
            [{"name": "web", "listen": self.listen, "client": "homelab", "service": "web"}]
        )
        admin = socket.socket(socket.AF_UNIX)
        admin.bind(str(self.state.with_suffix(".sock")))
        self.state.with_suffix(".sock").chmod(0o600)
        admin.listen()
        self.sockets = [_at(self.listen), _at(place.control), admin]

    def start(self) -> Agent:
        return self.place.start(
            "gateway",
            self.state,
            inside=becoming(*self.sockets),
            inherited=[held.fileno() for held in self.sockets],
        )


def _at(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    return opened(host, int(port))


@pytest.fixture
def held(place: Site) -> Iterator[Held]:
    made = Held(place)
    yield made
    for each in made.sockets:
        each.close()


def test_a_restart_refuses_no_connection_and_fails_no_request(place: Site, held: Held) -> None:
    """Whoever connects while there is no gateway waits for the next one, and for its clients."""
    gateway = held.start()
    with service(answering(ANSWER)) as web:
        client = place.start("client", place.client_file({"web": web}))
        gateway.wait_for("client_connected")
        with Visitors(held.listen, 8) as visitors:
            for _ in range(3):
                visitors.wait_for_more(20)
                assert gateway.stop() == 0
                with connect(held.listen), connect(place.control):
                    gateway = held.start()
                gateway.wait_for("client_connected")
                visitors.wait_for_more(20)
    assert visitors.refused + visitors.failures == []
    assert not [line for line in gateway.lines if line["event"] == "socket_unused"]
    assert client.process.poll() is None


def test_a_visitor_who_came_while_there_was_no_gateway_is_served_by_the_next_one(
    place: Site, held: Held
) -> None:
    """Here the port has hostnames, and so the visitor is not led anywhere before the client has come back."""
    held.place.gateway_file(
        [
            {
                "name": "web",
                "listen": held.listen,
                "hostname": "a.example",
                "client": "homelab",
                "service": "web",
            }
        ],
        peek_timeout="30s",
    )
    with connect(held.listen) as visitor, service(answering(ANSWER)) as web:
        visitor.sendall(b"GET / HTTP/1.0\r\n")
        gateway = held.start()
        place.start("client", place.client_file({"web": web}))
        gateway.wait_for("client_connected")
        visitor.sendall(b"Host: a.example\r\n\r\n")

        assert read_all(visitor) == ANSWER


def test_the_admin_socket_that_was_handed_over_answers_and_stays(held: Held) -> None:
    gateway = held.start()
    path = held.state.with_suffix(".sock")
    assert gateway.status()["ready"]

    assert gateway.stop() == 0

    assert path.is_socket()
    waiting = http.client.HTTPConnection("localhost")
    waiting.sock = socket.socket(socket.AF_UNIX)
    with waiting.sock:
        waiting.sock.settimeout(PATIENCE)
        waiting.sock.connect(str(path))
        waiting.request("GET", "/healthz")
        held.start()
        assert waiting.getresponse().status == 200


def test_a_port_that_an_edit_takes_away_is_closed_and_one_that_nobody_asked_for_is_told(
    place: Site, held: Held
) -> None:
    other = place.listen()
    held.sockets.append(_at(other))
    gateway = held.start()
    told = gateway.wait_for("socket_unused")["reason"]
    assert f"the socket {other} (socket3) was handed over and is not used" in told
    assert told in gateway.status()["warnings"]

    place.gateway_file([{"name": "web", "listen": other, "client": "homelab", "service": "web"}])
    gateway.wait_for("state_in_force", generation=2)
    assert gateway.status()["warnings"] == []
    place.gateway_file([{"name": "web", "listen": held.listen, "client": "homelab", "service": "web"}])
    failed = gateway.wait_for("resource_failed")
    assert "was given up by an earlier state" in failed["reason"]
    assert "restart the service" in failed["reason"]


@pytest.mark.real_software("systemd-socket-activate")
def test_systemd_hands_its_sockets_over(place: Site, programs: Programs) -> None:
    """The first client's connection starts the gateway, and waits until that serves it."""
    listen = place.listen()
    tunnel = {"name": "web", "listen": listen, "client": "homelab", "service": "web"}
    state = place.gateway_file([tunnel])
    inside = [
        programs["systemd-socket-activate"],
        f"--listen={listen}",
        f"--listen={place.control}",
        "--fdname=web:control",
        "--setenv=PYTHONPATH",
    ]
    gateway = Agent("gateway", state, *place.options, inside=inside)
    place.agents.append(gateway)
    gateway.wait_for("not JSON", text=f"Listening on {place.control} as 4.\n")
    with service(answering(ANSWER)) as web:
        client = place.start("client", place.client_file({"web": web}))
        gateway.wait_for("client_connected", client="homelab")
        assert not [line for line in client.lines if line["event"] == "link_down"]

        with connect(listen) as visitor:
            visitor.sendall(REQUEST)
            assert read_all(visitor) == ANSWER
    assert not [line for line in gateway.lines if line["event"] == "socket_unused"]
    assert gateway.stop() == 0
