"""threshold's usage example, with the commands that a reader would type, and what it promises besides."""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.listening import listening_inodes
from tests.support.real_software import require
from tests.support.services import read_until, service
from tests.support.site import PATIENCE, Agent, connect, free_ports, own_address, read_all, tidegate
from tests.support.tools import Answer, Curl

pytestmark = pytest.mark.real_software("curl")


class Example:
    """A gateway and the client TestClient1, whose service wants PROXY v1, hears "Hello" and says "asd"."""

    def __init__(self, directory: Path, loop: Sequence[str], target: str, heard: queue.Queue[bytes]) -> None:
        self.directory = directory
        self.address = own_address()
        self.ports = free_ports(self.address)
        self.fragment = directory / "gateway.api.toml"
        self._loop = loop
        self._heard = heard
        self._management = f"{self.address}:{next(self.ports)}"
        pki = str(directory / "pki")
        for command in (
            ("init", pki),
            ("gateway", pki, self.address),
            ("client", pki, "TestClient1"),
            ("client", pki, "somebody"),
            ("client", pki, "ops"),
        ):
            tidegate("pki", *command).check_returncode()
        control = f"{self.address}:{next(self.ports)}"
        (directory / "gateway.yaml").write_text(
            f"""tidegate: 1
gateway:
  control: "{control}"
  management: "{self._management}"
  admins: [ops]
  tls: {{cert: pki/gateway.crt, key: pki/gateway.key, client_ca: pki/ca.crt}}
tunnels: []
"""
        )
        (directory / "client.yaml").write_text(
            f"""tidegate: 1
client:
  id: TestClient1
  gateways: ["{control}"]
  tls: {{cert: pki/TestClient1.crt, key: pki/TestClient1.key, ca: pki/ca.crt}}
services:
  hello: "{target}"
"""
        )
        self.agents: list[Agent] = []
        self.start_gateway()
        self._start("client")
        self.gateway.wait_for("client_connected", client="TestClient1")

    def start_gateway(self) -> None:
        self.gateway = self._start("gateway")

    def _start(self, role: str) -> Agent:
        agent = Agent(role, self.directory / f"{role}.yaml", *self._loop)
        self.agents.append(agent)
        agent.wait_for(f"{role}_started")
        return agent

    def ask(self, path: str, *options: str, as_client: str = "ops") -> Answer:
        """Ask the management port with curl and a client's certificate."""
        pki = self.directory / "pki"
        curl = Curl(require("curl")["curl"], "--cacert", str(pki / "ca.crt"))
        key = ("--cert", str(pki / f"{as_client}.crt"), "--key", str(pki / f"{as_client}.key"))
        return curl(f"https://{self._management}{path}", *key, *options)

    def put(self, tunnels: Sequence[dict[str, Any]], *, as_client: str = "ops") -> Answer:
        body = ("-X", "PUT", "-H", "Content-Type: application/json", "-d", json.dumps(tunnels))
        return self.ask("/tunnels", *body, as_client=as_client)

    def tunnel(self, *, client: str = "TestClient1") -> dict[str, Any]:
        """A tunnel on a new port, with exactly threshold's keys."""
        return {
            "ClientId": client,
            "ListenAddress": self.address,
            "ListenPort": next(self.ports),
            "ListenHostnameGlob": "*",
            "BackEndService": "hello",
            "HaProxyProxyProtocol": True,
        }

    def assert_served(self, tunnel: dict[str, Any]) -> None:
        """A visitor says Hello, the service sees whose it is, and the visitor reads asd."""
        port = tunnel["ListenPort"]
        with connect(f"{self.address}:{port}") as visitor:
            host, own_port = visitor.getsockname()
            visitor.sendall(b"Hello")
            assert read_all(visitor) == b"asd"
        said = f"PROXY TCP4 {host} {self.address} {own_port} {port}\r\nHello"
        assert self._heard.get(timeout=PATIENCE) == said.encode()

    def assert_closed(self, tunnel: dict[str, Any]) -> None:
        with pytest.raises(ConnectionRefusedError):
            connect(f"{self.address}:{tunnel['ListenPort']}")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Example]:
    heard: queue.Queue[bytes] = queue.Queue()

    def hello(connection: socket.socket) -> None:
        heard.put(read_until(connection, b"Hello"))
        connection.sendall(b"asd")

    with service(hello) as target:
        running = Example(tmp_path_factory.mktemp("example"), loop, target, heard)
        yield running
        for agent in running.agents:
            if agent.process.poll() is None:
                agent.kill()


def test_the_usage_example_works_as_written(example: Example) -> None:
    """curl sees the client connected and opens a port, and a visitor of it reaches the service."""
    clients = example.ask("/clients")
    assert clients.json() == {
        "TestClient1": {"CurrentState": "ClientConnected", "LastState": "ClientUnknown"}
    }
    tunnel = example.tunnel()
    answer = example.put([tunnel])
    assert answer.status == 200, answer.body
    assert answer.json() == [tunnel]
    example.assert_served(tunnel)
    assert example.ask("/tunnels").json() == [tunnel]


def test_the_answer_comes_when_the_ports_are_open_and_those_before_are_closed(example: Example) -> None:
    """Whoever connects right after the answer is served at once, at every one of twenty ports."""
    before = [example.tunnel() for _ in range(20)]
    after = [example.tunnel() for _ in range(20)]
    for tunnels in (before, after):
        assert example.put(tunnels).status == 200
        for tunnel in tunnels:
            example.assert_served(tunnel)
    for tunnel in before:
        example.assert_closed(tunnel)


def test_what_was_declared_survives_a_restart_of_the_gateway(example: Example) -> None:
    """The tunnels are on disk, in a file of their own; the operator's file is not touched."""
    file = example.directory / "gateway.yaml"
    written = file.read_bytes()
    tunnel = example.tunnel()
    assert example.put([tunnel]).status == 200
    assert str(tunnel["ListenPort"]) in example.fragment.read_text()
    assert example.gateway.stop() == 0
    example.assert_closed(tunnel)
    example.start_gateway()
    example.gateway.wait_for("client_connected", client="TestClient1")
    example.assert_served(tunnel)
    assert example.ask("/tunnels").json() == [tunnel]
    assert file.read_bytes() == written


def test_a_declaration_that_cannot_be_in_force_changes_nothing(example: Example) -> None:
    """One port belongs to another program: 409 names it, no other port opens, and the first tunnels go on."""
    first = [example.tunnel(), example.tunnel()]
    assert example.put(first).status == 200
    on_disk = example.fragment.read_bytes()
    sockets = listening_inodes(example.address)
    free, taken = example.tunnel(), example.tunnel()
    with socket.create_server((example.address, taken["ListenPort"])):
        answer = example.put([free, taken])
    assert answer.status == 409
    (problem,) = answer.json()["problems"]
    assert f"{example.address}:{taken['ListenPort']} is taken by another program" in problem["text"]
    assert problem["pointer"] == "/1"
    assert example.fragment.read_bytes() == on_disk
    example.assert_closed(free)
    assert listening_inodes(example.address) == sockets  # the same ones, not like ones
    assert example.ask("/tunnels").json() == first
    for tunnel in first:
        example.assert_served(tunnel)


def test_everything_that_was_declared_can_be_taken_back(example: Example) -> None:
    """An empty list is a declaration like any other."""
    tunnel = example.tunnel()
    assert example.put([tunnel]).status == 200
    answer = example.put([])
    assert (answer.status, answer.json()) == (200, [])
    example.assert_closed(tunnel)
    assert not example.fragment.exists()


def test_a_client_declares_for_itself_and_for_nobody_else(example: Example) -> None:
    """403 says whose tunnel it may not declare, and nothing has changed; its own is opened."""
    own = example.tunnel()
    assert example.put([own]).status == 200
    refused = example.put([example.tunnel()], as_client="somebody")
    assert refused.status == 403
    assert "somebody may not declare a tunnel of TestClient1" in refused.json()["problems"][0]["text"]
    assert example.ask("/tunnels", as_client="somebody").json() == [own]
    example.assert_served(own)
    another = example.tunnel()
    assert example.put([another], as_client="TestClient1").status == 200
    assert example.ask("/tunnels").json() == [own, another]
    example.assert_served(another)
