"""Tunnels that clients declare in their own files, and what becomes of them."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.real_software import Programs
from tests.support.services import echo, service
from tests.support.site import Agent, Site, connect, site, tidegate

DECLARES = [{"id": "homelab", "declares": "session"}, {"id": "office", "declares": "session"}]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


@pytest.fixture
def web() -> Iterator[str]:
    with service(echo) as web:
        yield web


def client_file(
    place: Site, web: str, *tunnels: dict[str, Any], id: str = "homelab", **settings: Any
) -> Path:
    """The file of a client that declares tunnels to its only service."""
    path = place.client_file({"web": web}, id=id, **settings)
    state = yaml.safe_load(path.read_text())
    state["tunnels"] = [{"service": "web", **tunnel} for tunnel in tunnels]
    return place.put(path.name, state if tunnels else {**state, "tunnels": []})


def answers(listen: str) -> bool:
    """Whether a visitor gets through."""
    try:
        with connect(listen) as visitor:
            visitor.sendall(b"ping")
            return visitor.recv(4) == b"ping"
    except OSError:
        return False


def is_closed(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    with suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
        return False
    return True


def names(agent: Agent) -> set[str]:
    """Of the tunnels in a gateway's status."""
    return {tunnel["name"] for tunnel in agent.status()["tunnels"]}


def test_a_tunnel_is_there_as_long_as_the_client_that_declares_it_and_follows_its_file(
    place: Site, web: str
) -> None:
    listen, other = place.listen(), place.listen()
    gateway = place.start("gateway", place.gateway_file([], clients=DECLARES, allow_empty=True))
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    client.wait_for("tunnel_in_force", tunnel="blog", gateway=place.control)

    assert answers(listen)
    (tunnel,) = gateway.status()["tunnels"]
    assert (tunnel["name"], tunnel["declared_by"]) == ("homelab/blog", "homelab")
    (own,) = client.status()["tunnels"]
    assert (own["name"], own["in_force"], own["message"]) == ("blog", True, "")

    mark = client.mark
    client_file(place, web, {"name": "blog", "listen": other}, {"name": "shop", "listen": listen})
    client.wait_for("tunnel_in_force", tunnel="shop", after=mark)
    assert answers(other)
    assert answers(listen)

    client.stop()
    gateway.wait_for("client_disconnected", client="homelab")
    wait_closed(gateway, listen, other)
    assert names(gateway) == set()


def wait_closed(gateway: Agent, *addresses: str) -> None:
    """Until the gateway has closed these ports."""
    while any(
        resource["kind"] == "listener" and resource["name"] in addresses
        for resource in gateway.status()["resources"]
    ):
        pass
    assert all(is_closed(address) for address in addresses)


def test_what_is_kept_outlives_the_client_and_the_gateway_until_the_client_takes_it_back(
    place: Site, web: str
) -> None:
    listen = place.listen()
    state = place.gateway_file([], clients=[{"id": "homelab", "declares": "kept"}], allow_empty=True)
    gateway = place.start("gateway", state)
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    client.wait_for("tunnel_in_force", tunnel="blog")
    client.stop()
    gateway.wait_for("client_disconnected", client="homelab")
    assert names(gateway) == {"homelab/blog"}

    gateway.stop()
    gateway = place.start("gateway", state)
    assert names(gateway) == {"homelab/blog"}
    assert not is_closed(listen)

    place.start("client", client_file(place, web))
    gateway.wait_for("client_connected")
    wait_closed(gateway, listen)
    gateway.stop()
    gateway = place.start("gateway", state)
    assert names(gateway) == set()


def test_of_two_clients_that_want_a_port_the_second_is_told_who_has_it_and_gets_it_when_that_goes(
    place: Site, web: str
) -> None:
    listen = place.listen()
    gateway = place.start("gateway", place.gateway_file([], clients=DECLARES, allow_empty=True))
    first = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    first.wait_for("tunnel_in_force", tunnel="blog")

    second = place.start("client", client_file(place, web, {"name": "shop", "listen": listen}, id="office"))
    refused = second.wait_for("tunnel_refused", tunnel="shop")
    assert (
        refused["reason"]
        == f"{listen} is a port of homelab, who asked first; it is tried again when that goes"
    )
    assert "the tunnel shop is not in force" in second.status()["warnings"][0]
    assert "the file of office declares tunnels that are not in force" in gateway.status()["warnings"][0]
    assert answers(listen)

    first.stop()
    second.wait_for("tunnel_in_force", tunnel="shop")
    assert names(gateway) == {"office/shop"}
    assert answers(listen)


def test_a_client_takes_nothing_from_an_operator_and_hears_it(place: Site, web: str) -> None:
    listen, free = place.listen(), place.listen()
    written = {"name": "mail", "listen": listen, "client": "office", "service": "web"}
    gateway = place.start("gateway", place.gateway_file([written], clients=DECLARES))
    client = place.start(
        "client",
        client_file(
            place,
            web,
            {"name": "mail", "listen": listen, "hostname": "x.example.com"},
            {"name": "control", "listen": place.control},
            {"name": "blog", "listen": free},
        ),
    )
    reasons = {name: client.wait_for("tunnel_refused", tunnel=name)["reason"] for name in ("mail", "control")}

    assert reasons["mail"] == f"{listen} is a port of office; choose another one"
    assert reasons["control"] == f"{place.control} is taken by gateway.control; choose another one"
    assert names(gateway) == {"mail", "homelab/blog"}
    assert answers(free)


def test_a_tunnel_that_the_gateway_refuses_is_not_called_good(place: Site, web: str) -> None:
    allowed, other = place.listen(), place.listen()
    entry = {"id": "homelab", "declares": "session", "listen": [allowed]}
    place.start("gateway", place.gateway_file([], clients=[entry]))
    blog = {"name": "blog", "listen": allowed}
    client = place.start("client", client_file(place, web, blog))
    client.wait_for("tunnel_in_force")
    state = yaml.safe_load(client.state.read_text())
    wrong = {**state, "tunnels": [{**state["tunnels"][0], "listen": other}]}
    admin = ("--socket", str(client.socket_path))

    bad, good = place.put("bad.yaml", wrong), place.put("good.yaml", state)
    applied = tidegate("apply", str(bad), "--to", str(client.state), *admin)
    assert applied.returncode == 1, applied.stdout

    assert f"~ blog: not in force at {place.control}: " in applied.stdout
    assert "is not in force as a whole" in applied.stderr
    waited = tidegate("wait", "--for", "Ready", "--timeout", "0s", *admin)
    assert waited.returncode == 1, waited.stdout
    assert f"{place.control} is not Ready: the tunnel blog is not in force there: " in waited.stderr
    assert not client.status()["ready"]
    returned = tidegate("apply", str(good), "--to", str(client.state), *admin)
    assert returned.returncode == 0, returned.stderr
    assert "~ blog: in force" in returned.stdout


def test_an_operator_who_wants_the_port_of_a_client_gets_it(place: Site, web: str) -> None:
    listen = place.listen()
    gateway = place.start("gateway", place.gateway_file([], clients=DECLARES, allow_empty=True))
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    client.wait_for("tunnel_in_force", tunnel="blog")

    written = {"name": "mail", "listen": listen, "client": "office", "service": "web"}
    place.gateway_file([written], clients=DECLARES)

    assert "is a port of office" in client.wait_for("tunnel_refused", tunnel="blog")["reason"]
    assert names(gateway) == {"mail"}


def test_rights_that_change_hold_for_tunnels_that_are_there(place: Site, web: str) -> None:
    listen = place.listen()
    gateway = place.start("gateway", place.gateway_file([], clients=[{"id": "homelab"}], allow_empty=True))
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    assert "add declares: session" in client.wait_for("tunnel_refused", tunnel="blog")["reason"]
    assert is_closed(listen)

    place.gateway_file([], clients=[{"id": "homelab", "declares": "session"}], allow_empty=True)
    client.wait_for("tunnel_in_force", tunnel="blog")
    assert answers(listen)

    mark = client.mark
    rights = {"id": "homelab", "declares": "session", "listen": ["192.0.2.1:1-9"]}
    place.gateway_file([], clients=[rights], allow_empty=True)
    refused = client.wait_for("tunnel_refused", tunnel="blog", after=mark)
    assert refused["reason"] == f"homelab may not listen at {listen}; it may at 192.0.2.1:1-9"
    wait_closed(gateway, listen)


def test_the_sessions_of_a_client_declare_once_and_the_last_of_them_takes_the_tunnels_with_it(
    place: Site, web: str
) -> None:
    listen = place.listen()
    gateway = place.start("gateway", place.gateway_file([], clients=DECLARES, allow_empty=True))
    state = client_file(place, web, {"name": "blog", "listen": listen}, sessions=3)
    client = place.start("client", state)
    for number in range(1, 4):
        gateway.wait_for("client_connected", session=number)
    client.wait_for("tunnel_in_force", tunnel="blog")

    mark = gateway.mark
    client_file(place, web, {"name": "blog", "listen": listen}, sessions=1)
    for number in (2, 3):
        gateway.wait_for("client_disconnected", session=number, after=mark)
    assert answers(listen)
    assert [line["in_force"] for line in gateway.lines if line.get("event") == "client_tunnels"] == [["blog"]]


def test_a_port_that_another_program_has_is_told_and_opened_when_it_is_free(place: Site, web: str) -> None:
    listen = place.listen()
    host, _, port = listen.rpartition(":")
    gateway = place.start("gateway", place.gateway_file([], clients=DECLARES, allow_empty=True))
    with socket.create_server((host, int(port))):
        client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
        assert "is taken by another program" in client.wait_for("tunnel_refused", tunnel="blog")["reason"]

    client.wait_for("tunnel_in_force", tunnel="blog")
    assert names(gateway) == {"homelab/blog"}
    assert answers(listen)


def test_what_a_client_declares_is_neither_a_generation_of_the_state_nor_in_what_the_api_answers(
    place: Site, web: str
) -> None:
    listen = place.listen()
    gateway = place.start("gateway", place.gateway_file([], clients=DECLARES, allow_empty=True))
    before = gateway.status()["source"]
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    client.wait_for("tunnel_in_force", tunnel="blog")

    after = gateway.status()["source"]
    assert (after["generation"], after["digest"]) == (before["generation"], before["digest"])
    assert not list(place.directory.glob("*.api.toml"))
    assert not (place.directory / "gateway.clients").exists()


@pytest.mark.real_software("curl")
def test_through_the_api_a_client_takes_no_port_of_anothers_file_and_an_admin_does(
    place: Site, web: str, programs: Programs
) -> None:
    listen, management = place.listen(), place.listen()
    host, _, port = listen.rpartition(":")
    place.gateway_file(
        [], clients=[*DECLARES, {"id": "ops"}], admins=["ops"], management=management, allow_empty=True
    )
    gateway = place.start("gateway", place.directory / "gateway.yaml")
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    client.wait_for("tunnel_in_force", tunnel="blog")

    def call(who: str, *options: str) -> tuple[int, str]:
        place.issue(who)
        keys = ("--cacert", "ca.crt", "--cert", f"{who}.crt", "--key", f"{who}.key")
        quiet = ("--silent", "--show-error", "--write-out", "\n%{http_code}")
        done = subprocess.run(
            [programs["curl"], *quiet, *keys, *options, f"https://{management}/tunnels"],
            cwd=place.pki,
            capture_output=True,
            text=True,
            check=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def put(who: str, *entries: dict[str, Any]) -> tuple[int, str]:
        json_header = ("--header", "Content-Type: application/json")
        return call(who, "--request", "PUT", *json_header, "--data", json.dumps(entries))

    wanted = {"ClientId": "office", "ListenAddress": host, "ListenPort": int(port), "BackEndService": "web"}
    assert call("ops") == (200, "[]")
    status, problem = put("office", wanted)
    assert status == 403
    assert f"{listen} is a port of homelab; choose another one" in problem
    assert names(gateway) == {"homelab/blog"}

    assert put("ops", wanted)[0] == 200
    assert "is a port of office" in client.wait_for("tunnel_refused", tunnel="blog")["reason"]
    assert names(gateway) == {f"office-{port}"}

    mark = client.mark
    assert put("ops")[0] == 200
    client.wait_for("tunnel_in_force", tunnel="blog", after=mark)


def test_a_plan_leaves_what_clients_declare_where_it_is_unless_the_new_file_is_in_its_way(
    place: Site, web: str
) -> None:
    listen = place.listen()
    state = place.gateway_file([], clients=DECLARES, allow_empty=True)
    place.start("gateway", state)
    client = place.start("client", client_file(place, web, {"name": "blog", "listen": listen}))
    client.wait_for("tunnel_in_force", tunnel="blog")

    same = tidegate("plan", str(state), "--to", str(state))
    assert (same.returncode, same.stderr) == (0, "")

    fresh = yaml.safe_load(state.read_text())
    fresh["tunnels"] = [{"name": "mail", "listen": listen, "client": "office", "service": "web"}]
    other = place.put("new.yaml", fresh)
    done = tidegate("plan", str(other), "--to", str(state))
    assert done.returncode == 2
    assert "homelab/blog" in done.stdout
