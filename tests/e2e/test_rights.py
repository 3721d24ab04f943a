"""What a client may, whatever it says and whoever asks for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_software import Programs
from tests.support.services import echo, service
from tests.support.site import PATIENCE, Site, connect, site, tidegate


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


@pytest.fixture
def web() -> Iterator[str]:
    with service(echo) as web:
        yield web


def test_a_client_offers_what_it_may_and_both_sides_show_what_is_ignored(place: Site, web: str) -> None:
    listen = place.listen()
    tunnel = {"name": "blog", "listen": listen, "client": "homelab", "service": "web"}
    state = place.gateway_file([tunnel], clients=[{"id": "homelab", "services": ["w*"]}])
    gateway = place.start("gateway", state)
    client = place.start("client", place.client_file({"web": web, "ssh": web}))

    assert client.wait_for("services_refused", gateway=place.control)["services"] == ["ssh"]
    assert gateway.wait_for("services_refused", client="homelab")["services"] == ["ssh"]
    assert "ignores the services ssh" in client.status()["warnings"][0]
    told = gateway.status()
    assert "homelab offers ssh, and its entry under clients does not let it" in told["warnings"][0]
    assert told["clients"][0]["services"] == ["web"]
    with connect(listen) as visitor:
        visitor.sendall(b"ping")
        assert visitor.recv(4) == b"ping"

    mark = client.mark
    place.client_file({"web": web, "mail": web})
    assert client.wait_for("services_refused", after=mark)["services"] == ["mail"]

    place.gateway_file([tunnel], clients=[{"id": "homelab"}])
    while client.status()["warnings"] or gateway.status()["warnings"]:
        pass


def test_a_tunnel_to_a_service_that_its_client_may_not_offer_is_a_problem_and_changes_nothing(
    place: Site, web: str
) -> None:
    listen = place.listen()
    rights = [{"id": "homelab", "services": ["web"]}]
    blog = {"name": "blog", "listen": listen, "client": "homelab", "service": "web"}
    state = place.gateway_file([blog], clients=rights)
    gateway = place.start("gateway", state)
    place.start("client", place.client_file({"web": web}))
    gateway.wait_for("client_connected")

    ssh = {"name": "ssh", "listen": place.listen(), "client": "homelab", "service": "ssh"}
    place.gateway_file([blog, ssh], clients=rights)

    checked = tidegate("check", "--no-files", str(state))
    assert checked.returncode == 1
    assert 'the client "homelab" may not offer the service "ssh"' in checked.stderr
    assert f"(see {state}:" in checked.stderr
    gateway.wait_for("state_refused")
    with connect(listen) as visitor:
        visitor.sendall(b"ping")
        assert visitor.recv(4) == b"ping"


class Management:
    """curl with the certificate of a client."""

    def __init__(self, place: Site, curl: str, listen: str, client: str) -> None:
        pki = place.pki
        keys = ("--cacert", pki / "ca.crt", "--cert", pki / f"{client}.crt", "--key", pki / f"{client}.key")
        self._command = [curl, "--silent", "--show-error", "--max-time", str(PATIENCE), *map(str, keys)]
        self._command += ["--header", "Content-Type: application/json"]
        self._url = f"https://{listen}/tunnels"

    def put(self, *listens: str, service: str = "web", client: str = "homelab") -> tuple[int, Any]:
        body = [
            {"ClientId": client, "ListenAddress": host, "ListenPort": int(port), "BackEndService": service}
            for host, _, port in (listen.rpartition(":") for listen in listens)
        ]
        command = [
            *self._command,
            "--request",
            "PUT",
            "--data",
            json.dumps(body),
            "--write-out",
            "\n%{http_code}",
        ]
        done = subprocess.run([*command, self._url], capture_output=True, text=True, check=True)
        answer, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(answer)


def _write(place: Site, management: str, *listen: str, **rights: Any) -> None:
    entry = {"id": "homelab", "services": ["web"], "listen": list(listen), "max_ports": 1, **rights}
    place.gateway_file([], clients=[entry], management=management, allow_empty=True)


@pytest.mark.real_software("curl")
def test_the_api_declares_for_a_client_what_it_may_and_withdraws_what_it_may_no_longer(
    place: Site, web: str, programs: Programs
) -> None:
    management, first, second, forbidden = (place.listen() for _ in range(4))
    _write(place, management, first, second)
    gateway = place.start("gateway", place.directory / "gateway.yaml")
    place.start("client", place.client_file({"web": web}))
    gateway.wait_for("client_connected")
    homelab = Management(place, programs["curl"], management, "homelab")

    status, problem = homelab.put(forbidden)
    assert status == 403
    assert f"it may at {first}, {second}" in json.dumps(problem)
    status, problem = homelab.put(first, second)
    assert status == 403
    assert "at most 1 port" in json.dumps(problem)
    assert homelab.put(first, service="ssh")[0] == 403
    assert homelab.put(first, client="office")[0] == 403
    assert homelab.put(first)[0] == 200
    with connect(first) as visitor:
        visitor.sendall(b"ping")
        assert visitor.recv(4) == b"ping"

    _write(place, management, second)

    while [tunnel["name"] for tunnel in gateway.status()["tunnels"]]:
        pass
    told = gateway.status()["source"]
    assert told["accepted"]
    assert "may not listen at" in told["problems"][0]["message"]

    _write(place, management, first, declares="none")
    assert homelab.put(first)[0] == 403
    _write(place, management, first)
    while [tunnel["name"] for tunnel in gateway.status()["tunnels"]] != [
        f"homelab-{first.rpartition(':')[2]}"
    ]:
        pass
