"""A client whose certificate is revoked is out at once, and stays out until it has another."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.keys.pki import issue_client, revoke_client
from tests.support.real_software import Programs
from tests.support.services import echo, service
from tests.support.site import PATIENCE, Agent, Site, connect, site, tidegate

REVOKED = "this certificate has been revoked: ask the operator for another"
REVOKED_HERE = "its certificate has been revoked; issue another one if it is to come back"


@pytest.fixture
def place(tmp_path: Path, loop: Sequence[str]) -> Iterator[Site]:
    with site(tmp_path, options=loop) as place:
        yield place


@pytest.fixture
def web() -> Iterator[str]:
    with service(echo) as web:
        yield web


def write(place: Site, listen: str, *, crl: str | None = None, **settings: Any) -> Path:
    """The gateway's file, with a revocation list if it is to have one."""
    tls = {"cert": "pki/gateway.crt", "key": "pki/gateway.key", "client_ca": "pki/ca.crt"}
    tunnel = {"name": "blog", "listen": listen, "client": "homelab", "service": "web"}
    return place.gateway_file([tunnel], tls={**tls, "crl": crl} if crl else tls, **settings)


def start(place: Site, state: Path, web: str) -> tuple[Agent, Agent]:
    gateway = place.start("gateway", state)
    client = place.start("client", place.client_file({"web": web}))
    gateway.wait_for("client_connected", client="homelab")
    return gateway, client


def refused(client: Agent, *, after: int = 0) -> None:
    """Wait until the client has heard that it is out."""
    line = client.wait_for("link_down", after=after)
    assert REVOKED in line["reason"]


def test_a_client_that_is_revoked_with_one_command_is_out_and_comes_back_with_another_certificate(
    place: Site, web: str
) -> None:
    listen = place.listen()
    issue_client(place.pki, client_id="nobody")
    revoke_client(place.pki, name="nobody")
    gateway, client = start(place, write(place, listen, crl="pki/crl.pem"), web)
    with connect(listen) as visitor:
        visitor.sendall(b"ping")
        assert visitor.recv(4) == b"ping"

        done = tidegate("pki", "revoke", str(place.pki), "homelab")

        assert done.returncode == 0
        gateway.wait_for("keys_renewed", changed=["gateway.tls.crl"])
        assert gateway.wait_for("client_disconnected", client="homelab")["reason"] == REVOKED_HERE
        refused(client)
        with pytest.raises(ConnectionResetError):
            visitor.recv(1)
    assert gateway.wait_for("client_refused", reason=REVOKED_HERE)["client"] == "homelab"
    while REVOKED not in client.status()["links"][0]["message"]:
        pass  # it is trying again at this very moment

    mark = gateway.mark
    assert tidegate("pki", "client", str(place.pki), "homelab", "--force").returncode == 0
    gateway.wait_for("client_connected", client="homelab", after=mark)
    with connect(listen) as visitor:
        visitor.sendall(b"ping")
        assert visitor.recv(4) == b"ping"


def test_a_plan_that_names_a_list_says_whom_it_cuts_off_and_that_comes_true(place: Site, web: str) -> None:
    listen = place.listen()
    gateway, client = start(place, write(place, listen), web)
    revoke_client(place.pki, name="homelab")

    def naming(crl: str) -> Path:
        state = yaml.safe_load(gateway.state.read_text())
        state["gateway"]["tls"]["crl"] = crl
        return place.put("new.yaml", state)

    with connect(listen) as visitor:
        visitor.sendall(b"ping")
        assert visitor.recv(4) == b"ping"

        new = naming("pki/none.pem")
        told = tidegate("plan", str(new), "--to", str(gateway.state))
        assert told.returncode == 2
        assert "none.pem cannot be read; there is no such file" in told.stdout
        assert "the sessions of homelab end" not in told.stdout

        new = naming("pki/crl.pem")
        told = tidegate("plan", str(new), "--to", str(gateway.state))
        assert "the sessions of homelab end  (1 connection cut)" in told.stdout
        assert "1 live connection will be cut" in told.stdout

        new.replace(gateway.state)
        gateway.wait_for("client_disconnected", client="homelab", reason=REVOKED_HERE)
        refused(client)
        with pytest.raises(ConnectionResetError):
            visitor.recv(1)


@pytest.mark.parametrize("by", ["serial", "fingerprint"])
def test_what_the_status_tells_of_a_client_revokes_it_in_the_gateways_file(
    place: Site, web: str, by: str
) -> None:
    listen = place.listen()
    gateway, client = start(place, write(place, listen), web)
    (told,) = gateway.status()["clients"]

    write(place, listen, revoked=[{by: told[by]}])

    gateway.wait_for("client_disconnected", client="homelab", reason=REVOKED_HERE)
    refused(client)
    mark = gateway.mark
    write(place, listen)
    gateway.wait_for("client_connected", client="homelab", after=mark)


def test_a_list_that_will_not_do_leaves_the_last_good_one_in_force(place: Site, web: str) -> None:
    listen = place.listen()
    issue_client(place.pki, client_id="stolen")
    crl = revoke_client(place.pki, name="stolen").path
    good = crl.read_bytes()
    gateway, _ = start(place, write(place, listen, crl="pki/crl.pem"), web)

    for number, bad in enumerate((b"hello", b"", good[:-40], b"x" * (8 * 1024 * 1024 + 1))):
        mark = gateway.mark
        fresh = crl.with_suffix(".new")
        fresh.write_bytes(bad)
        fresh.replace(crl)
        line = gateway.wait_for("keys_refused", after=mark)
        assert "gateway.tls.crl" in line["reason"]
        assert "what was there before stays in use" in line["reason"]
        assert gateway.status()["warnings"] == [line["reason"]]
        checked = tidegate("check", str(gateway.state))
        assert checked.returncode == 1
        assert str(crl) in checked.stderr
        thief = place.start("client", place.client_file({"web": web}, id="stolen", name=f"stolen-{number}"))
        refused(thief)
        thief.stop()

    crl.write_bytes(good)
    gateway.wait_for("keys_mended")
    assert gateway.status()["warnings"] == []


def test_a_gateway_whose_list_is_no_good_from_the_beginning_lets_nobody_in(place: Site, web: str) -> None:
    listen = place.listen()
    (place.pki / "crl.pem").write_text("hello\n")
    gateway = place.start("gateway", write(place, listen, crl="pki/crl.pem"))
    client = place.start("client", place.client_file({"web": web}))
    client.wait_for("link_down")

    (control,) = [found for found in gateway.status()["resources"] if found["kind"] == "control"]
    assert control["phase"].lower() == "failed"
    assert "is no revocation list" in control["message"]

    issue_client(place.pki, client_id="nobody")
    (place.pki / "crl.pem").unlink()
    revoke_client(place.pki, name="nobody")
    gateway.wait_for("client_connected", client="homelab")


class Api(http.client.HTTPConnection):
    """The management port as somebody with a certificate calls it, on one connection."""

    def __init__(self, place: Site, listen: str, client: str) -> None:
        host, _, port = listen.rpartition(":")
        super().__init__(host, int(port), timeout=PATIENCE)
        context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
        context.load_cert_chain(place.pki / f"{client}.crt", place.pki / f"{client}.key")
        connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.sock = context.wrap_socket(connection, server_hostname=host)

    def ask(self, path: str) -> tuple[int, Any]:
        self.request("GET", path)
        answer = self.getresponse()
        return answer.status, json.loads(answer.read())


def test_the_management_port_refuses_what_is_revoked_also_on_a_connection_that_is_open(
    place: Site, web: str
) -> None:
    listen, management = place.listen(), place.listen()
    issue_client(place.pki, client_id="ops")
    issue_client(place.pki, client_id="nobody")
    revoke_client(place.pki, name="nobody")
    gateway, _ = start(
        place, write(place, listen, crl="pki/crl.pem", management=management, admins=["ops"]), web
    )
    with (
        closing(Api(place, management, "ops")) as ops,
        closing(Api(place, management, "homelab")) as homelab,
    ):
        assert (ops.ask("/clients")[0], homelab.ask("/clients")[0]) == (200, 200)

        revoke_client(place.pki, name="ops")
        gateway.wait_for("keys_renewed")

        status, problem = ops.ask("/clients")
        assert (status, problem["detail"]) == (403, REVOKED)
        assert homelab.ask("/clients")[0] == 200
        with closing(Api(place, management, "ops")) as again:
            assert again.ask("/clients")[0] == 403


@pytest.mark.real_software("openssl")
def test_lists_that_openssl_makes_are_gone_by(place: Site, web: str, programs: Programs) -> None:
    """In DER, and of the authority of ``tidegate pki``."""

    def openssl(*arguments: str) -> None:
        subprocess.run([programs["openssl"], *arguments], cwd=place.pki, capture_output=True, check=True)

    (place.pki / "index").touch()
    (place.pki / "openssl.cnf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index\ncertificate=ca.crt\nprivate_key=ca.key\n"
        "default_md=sha256\ndefault_crl_days=7\n"
    )

    def publish() -> None:
        openssl("ca", "-config", "openssl.cnf", "-gencrl", "-out", "made.pem")
        openssl("crl", "-in", "made.pem", "-outform", "DER", "-out", "made.der")
        (place.pki / "made.der").replace(place.pki / "ca.crl")

    publish()
    listen = place.listen()
    gateway, client = start(place, write(place, listen, crl="pki/ca.crl"), web)

    openssl("ca", "-config", "openssl.cnf", "-revoke", "homelab.crt")
    publish()

    gateway.wait_for("client_disconnected", client="homelab", reason=REVOKED_HERE)
    refused(client)
