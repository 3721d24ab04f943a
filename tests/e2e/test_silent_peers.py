"""Whoever connects and says nothing is closed in the end, and nobody has to wait for that."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import socket

import pytest

from tests.support.bystanders import MEGABYTES, bystanders
from tests.support.downloads import download_server
from tests.support.hellos import python_hello
from tests.support.real_software import Programs
from tests.support.site import Site, connect, site
from tests.support.tools import Curl

CROWD = 300
NO_ANSWER = "the other side did not answer in time: check the address, the port and the firewall"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


@pytest.fixture
def everyone() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def is_closed(connection: socket) -> bool:
    """Wait for the other side to close; whatever it says before is not for us."""
    with suppress(ConnectionError, ssl.SSLError):
        while connection.recv(1 << 16):
            pass
    return True


@pytest.mark.real_software("curl")
def test_silence_is_ended_and_nobody_else_has_to_wait_for_it(
    place: Site, everyone: ExitStack, programs: Programs
) -> None:
    """300 connections that say nothing, half a TLS handshake, a whole one without a hello, a busy API."""
    listen, management = place.listen(), place.listen()
    downloads = everyone.enter_context(download_server(place.address, megabytes=MEGABYTES))
    tunnel = {"name": "t", "listen": listen, "client": "homelab", "service": "download"}
    gateway, _ = place.start_both([tunnel], {"download": downloads}, management=management)
    around = everyone.enter_context(bystanders(listen))

    def crowd(address: str, size: int) -> Sequence[socket]:
        return [everyone.enter_context(connect(address)) for _ in range(size)]

    silent = crowd(place.control, CROWD)
    (half,) = crowd(place.control, 1)
    half.sendall(python_hello(place.address, alpn=["tidegate/1"]))
    context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    context.load_cert_chain(place.pki / "homelab.crt", place.pki / "homelab.key")
    context.set_alpn_protocols(["tidegate/1"])
    mute = everyone.enter_context(context.wrap_socket(connect(place.control), server_hostname=place.address))
    callers = crowd(management, CROWD)

    # All of them are there. Visitors, a new client and the operator do not notice.
    around.assert_undisturbed()
    office = place.client_file({"download": downloads}, id="office")
    place.start("client", office).wait_for("link_up")
    assert (
        Curl(programs["curl"], "--unix-socket", str(gateway.socket_path))("http://agent/readyz").status == 200
    )
    around.assert_undisturbed()

    # And in the end they are gone, each with a line in the log.
    addresses = {"{}:{}".format(*connection.getsockname()) for connection in (*silent, half)}
    mute_address = "{}:{}".format(*mute.getsockname())
    assert all(is_closed(connection) for connection in (*silent, half, mute, *callers))
    refused = gateway.wait_for("client_refused", address=mute_address)
    assert refused["reason"] == "no greeting came within 10 s"
    assert {gateway.wait_for("handshake_failed", address=address)["reason"] for address in addresses} == {
        NO_ANSWER
    }
    key = ("--cert", str(place.pki / "homelab.crt"), "--key", str(place.pki / "homelab.key"))
    curl = Curl(programs["curl"], "--cacert", str(place.pki / "ca.crt"), *key)
    assert curl(f"https://{management}/ping").body == "pong"
