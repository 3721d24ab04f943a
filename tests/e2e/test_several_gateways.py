"""A client with several gateways: each stands for itself, whether the file or a name knows them all."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from agent.keys.pki import issue_gateway
from tests.support.cutting import cutting_proxy
from tests.support.downloads import Download, download_server
from tests.support.namespaces import two_machines
from tests.support.own_names import OwnNames, names_of, own_names
from tests.support.services import echo, service
from tests.support.site import Agent, Site, connect, own_address, site
from tests.support.within import add_address, remove_address

pytestmark = pytest.mark.real_software("unshare")

NAME: Final = "gateway.test"
MEGABYTES: Final = 32
STRAIGHT: Final = {"no_proxy": "*"}  # whatever proxy the machine of the test has


class Cluster:
    """Gateways of one name, each at an address of its own, with two tunnels: echo, and download."""

    def __init__(self, place: Site, names: OwnNames, targets: dict[str, str], count: int) -> None:
        self.place = place
        self.names = names
        self._targets = targets
        self.port = place.control.rpartition(":")[2]
        self.hosts = [own_address() for _ in range(count)]
        issue_gateway(place.pki, name="cluster", hosts=[NAME, *self.hosts])
        for host in self.hosts:
            place.listen(host)  # the port that all of them have in common
        self.listen = [{name: place.listen(host) for name in targets} for host in self.hosts]
        self.gateways = [self.start_gateway(number) for number in range(count)]

    def start_gateway(self, number: int) -> Agent:
        tunnels = [
            {"name": name, "listen": listen, "client": "homelab", "service": name}
            for name, listen in self.listen[number].items()
        ]
        tls = {"cert": "pki/cluster.crt", "key": "pki/cluster.key", "client_ca": "pki/ca.crt"}
        gateway = {"name": f"gw{number}", "control": f"{self.hosts[number]}:{self.port}", "tls": tls}
        path = self.place.put(f"gw{number}.yaml", {"tidegate": 1, "gateway": gateway, "tunnels": tunnels})
        return self.place.start("gateway", path)

    def start_client(self, *gateways: str, **settings: Any) -> Agent:
        dialed = gateways or (f"{NAME}:{self.port}",)
        path = self.place.client_file(self._targets, gateways=[*dialed], **settings)
        return self.place.start("client", path, inside=self.names.inside, environment=STRAIGHT)

    def answers(self, number: int) -> bool:
        with connect(self.listen[number]["echo"]) as visitor:
            return says(visitor)


def says(visitor: socket.socket) -> bool:
    """Whether there is a service at the other end."""
    try:
        visitor.sendall(b"?")
        return visitor.recv(1) == b"?"
    except (ConnectionResetError, BrokenPipeError):
        return False


def links(client: Agent) -> list[tuple[str, str, str]]:
    return [(link["gateway"], link["address"], link["phase"]) for link in client.status()["links"]]


@pytest.fixture
def cluster(tmp_path: Path, loop: Sequence[str]) -> Iterator[Cluster]:
    with (
        site(tmp_path, options=loop) as place,
        own_names(tmp_path, own_address()) as names,
        download_server(place.address, megabytes=MEGABYTES) as download,
        service(echo) as echoing,
    ):
        yield Cluster(place, names, {"download": download, "echo": echoing}, 3)


def test_a_name_of_three_addresses_has_sessions_to_all_and_the_loss_of_one_is_not_felt(
    cluster: Cluster,
) -> None:
    cluster.names.put(NAME, *cluster.hosts)
    client = cluster.start_client(sessions=2)
    for host in cluster.hosts:
        for number in (1, 2):
            client.wait_for("link_up", address=host, session=number)
    assert sorted(links(client)) == sorted(
        (f"{NAME}:{cluster.port}", host, "Connected") for host in cluster.hosts for _ in range(2)
    )
    with ExitStack() as visitors:
        met = [visitors.enter_context(connect(cluster.listen[number]["echo"])) for number in (0, 2)]
        downloads = [
            visitors.enter_context(Download(cluster.listen[number]["download"], megabytes=MEGABYTES))
            for number in (0, 2)
        ]
        for download in downloads:
            download.read(1 << 20)

        cluster.gateways[1].kill()
        client.wait_for("link_down", address=cluster.hosts[1])

        assert all(says(visitor) for visitor in met)
        for download in downloads:
            download.finish()
        mark = client.mark
        cluster.start_gateway(1)
        for number in (1, 2):
            client.wait_for("link_up", after=mark, address=cluster.hosts[1], session=number)
        assert cluster.answers(1)
        lost = {line["address"] for line in client.lines if line["event"] == "link_down"}
        assert lost == {cluster.hosts[1]}


def test_an_address_that_joins_the_name_is_dialed_and_one_that_leaves_it_is_kept_while_it_works(
    cluster: Cluster,
) -> None:
    cluster.names.put(NAME, *cluster.hosts[:2])
    client = cluster.start_client()
    for gateway in cluster.gateways[:2]:
        gateway.wait_for("client_connected")
    with Download(cluster.listen[0]["download"], megabytes=MEGABYTES) as download:
        download.read(1 << 20)
        cluster.names.put(NAME, *cluster.hosts[1:])
        cluster.gateways[1].kill()  # a session that cannot be made is a reason to look the name up

        cluster.gateways[2].wait_for("client_connected")
        assert cluster.answers(2)
        client.wait_for("name_resolved", addresses=cluster.hosts)
        assert (f"{NAME}:{cluster.port}", cluster.hosts[0], "Connected") in links(client)
        download.finish()
    cluster.gateways[0].kill()
    client.wait_for("name_resolved", addresses=cluster.hosts[1:])
    lost = [line["address"] for line in client.lines if line["event"] == "link_down"]
    assert cluster.hosts[2] not in lost


def test_a_name_server_that_is_away_costs_no_session(cluster: Cluster) -> None:
    cluster.names.put(NAME, *cluster.hosts[:1])
    client = cluster.start_client()
    cluster.gateways[0].wait_for("client_connected")
    cluster.names.stop()
    cluster.gateways[0].kill()
    client.wait_for("name_not_resolved", kept=1)
    cluster.start_gateway(0).wait_for("client_connected")

    assert cluster.answers(0)
    (warning,) = client.status()["warnings"]
    assert "cannot be resolved now" in warning or "not resolved in time" in warning


def test_one_gateway_at_two_addresses_has_one_session_and_moves_when_that_way_is_cut(
    cluster: Cluster,
) -> None:
    """As with an IPv4 and an IPv6 address, of which one stops working."""
    hosts = [own_address(), own_address()]
    gateway, control = cluster.gateways[0], f"{cluster.hosts[0]}:{cluster.port}"
    with ExitStack() as network:
        ways = {
            host: network.enter_context(cutting_proxy(f"{host}:{cluster.port}", control)) for host in hosts
        }
        cluster.names.put(NAME, *hosts)
        client = cluster.start_client()
        spare = client.wait_for("link_spare")["address"]
        (used,) = set(hosts) - {spare}
        assert {address: phase for _, address, phase in links(client)} == {
            used: "Connected",
            spare: "Standby",
        }
        assert [seen["sessions"] for seen in gateway.status()["clients"]] == [1]
        assert client.status()["ready"]

        mark = client.mark
        ways[used].close()

        client.wait_for("link_up", after=mark, address=spare)
        assert cluster.answers(0)
        assert not [line for line in client.lines if line["event"] == "session_replaced"]
        gateway.kill()
        client.wait_for("link_down", address=spare)
        assert {phase for _, _, phase in links(client)} <= {"Waiting", "Connecting"}


def test_a_gateway_with_an_ipv4_and_an_ipv6_address_is_reached_by_the_other_when_one_stops_working(
    tmp_path: Path, loop: Sequence[str]
) -> None:
    with two_machines() as (public, away), ExitStack() as stack:
        add_address(public, "2001:db8::1", bits=64)
        add_address(away, "2001:db8::2", bits=64)
        place = stack.enter_context(site(tmp_path, public.address, options=loop))
        names = stack.enter_context(names_of(away, at=public))
        names.put(NAME, (public.address, "2001:db8::1"))
        port = place.control.rpartition(":")[2]
        path = place.gateway_file([], control=[place.control, f"[2001:db8::1]:{port}"])
        gateway = place.start("gateway", path, inside=public.inside)
        path = place.client_file(
            {}, gateways=[f"{NAME}:{port}"], sessions=2, ping_interval="1s", ping_timeout="1s"
        )
        client = place.start("client", path, inside=away.inside, environment=STRAIGHT)
        for number in (1, 2):
            client.wait_for("link_up", address="2001:db8::1", session=number)
            client.wait_for("link_spare", address=public.address, session=number)
        assert [session["sessions"] for session in gateway.status()["clients"]] == [2]

        mark = client.mark
        remove_address(public, "2001:db8::1", bits=64)

        for number in (1, 2):
            client.wait_for("link_up", after=mark, address=public.address, session=number)
        # The gateway hears of the ends of the others, and of no client that replaced another.
        assert not [line for line in client.lines if line["event"] == "session_replaced"]


def test_the_status_has_the_gateways_in_the_order_of_the_file(cluster: Cluster) -> None:
    dialed = [f"{host}:{cluster.port}" for host in reversed(cluster.hosts)]
    for names in (dialed, dialed[::-1]):
        client = cluster.start_client(*names)
        for gateway in cluster.gateways:
            gateway.wait_for("client_connected")

        assert [gateway for gateway, _, _ in links(client)] == names
        client.kill()
