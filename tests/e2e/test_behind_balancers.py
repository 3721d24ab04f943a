"""HAProxy in front of the gateway: the visitor's own address reaches the service, and a client's the log."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemons import haproxy, nginx
from tests.support.real_software import Programs, require
from tests.support.services import accept, listening, read_until, target
from tests.support.site import PATIENCE, Agent, Site, connect, own_address, read_all, site
from tests.support.tools import Curl

pytestmark = pytest.mark.real_software("nginx", "haproxy", "curl")

# How HAProxy tells what it knows, by what the gateway calls it.
SEND = {"v1": "send-proxy", "v2": "send-proxy-v2"}
SEEN_BY_SERVICE = 'return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port";'

versions = pytest.mark.parametrize("version", sorted(SEND))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fronts:
    """Where the load balancers listen, by the version that each sends, and what is behind them."""

    place: Site
    gateway: Agent
    balancer: str  # the address from which they all come
    web: dict[str, str]
    raw: dict[str, str]
    mute: str  # one that sends no header
    unnamed: dict[str, str]  # in front of ports that do not know of it, likewise
    raw_port: str  # of the gateway
    raw_service: socket.socket


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Fronts]:
    directory = tmp_path_factory.mktemp("balancers")
    programs = require("nginx", "haproxy")
    balancer = own_address()
    with ExitStack() as running:
        place = running.enter_context(site(directory, options=loop))
        certificate = place.pki / "gateway.crt", place.pki / "gateway.key"
        raw_service = running.enter_context(listening())
        services = {
            "plain": running.enter_context(
                nginx(programs["nginx"], directory, SEEN_BY_SERVICE, listen="proxy_protocol")
            ),
            "tls": running.enter_context(
                nginx(
                    programs["nginx"],
                    directory,
                    SEEN_BY_SERVICE,
                    listen="proxy_protocol",
                    certificate=certificate,
                )
            ),
            "raw": target(raw_service),
        }
        web, raw = place.listen(), place.listen()
        unnamed = {version: place.listen() for version in SEND}
        tunnels = [
            {"name": name, "listen": listen, **hostname, "client": "homelab", "service": service,
             "proxy_protocol": "v2", "accept_proxy_protocol": [balancer]}
            for name, listen, hostname, service in [
                ("by-host", web, {"hostname": "plain.test"}, "plain"),
                ("by-sni", web, {"hostname": "gateway.test"}, "tls"),
                ("raw", raw, {}, "raw"),
            ]
        ]  # fmt: skip
        tunnels += [
            {"name": f"unnamed-{version}", "listen": listen, "client": "homelab", "service": "raw"}
            for version, listen in unnamed.items()
        ]
        gateway, _ = place.start_both(tunnels, services)

        def front(listen: str, send: str) -> str:
            backend = f"{listen} {send} source {balancer}"
            return running.enter_context(
                haproxy(programs["haproxy"], directory, "", mode="tcp", backend=backend)
            )

        yield Fronts(
            place=place,
            gateway=gateway,
            balancer=balancer,
            web={version: front(web, send) for version, send in SEND.items()},
            raw={version: front(raw, send) for version, send in SEND.items()},
            mute=front(web, ""),
            unnamed={version: front(unnamed[version], send) for version, send in SEND.items()},
            raw_port=raw,
            raw_service=raw_service,
        )


@versions
def test_a_service_behind_a_hostname_sees_the_visitor(
    fronts: Fronts, programs: Programs, version: str
) -> None:
    """Through HAProxy, the gateway and its client: address and port, and the port that he came to."""
    front = fronts.web[version]
    curl = Curl(programs["curl"], "--interface", own_address(), "-H", "Host: plain.test")

    answer = curl(f"http://{front}/")

    assert answer.body == f"{answer.visitor} {front.rpartition(':')[2]}"


@versions
def test_a_balancer_that_nobody_has_named_is_told_of(fronts: Fronts, version: str) -> None:
    """Its header reaches the service as any first words do; the log says whose it is.

    Where the client is as near as here it may take a visitor on before the header is there; then another one
    is looked at a second later.
    """
    mark, told = fronts.gateway.mark, False
    ends = time.monotonic() + PATIENCE
    while not told and time.monotonic() < ends:
        with connect(fronts.unnamed[version]) as visitor, accept(fronts.raw_service) as service:
            visitor.sendall(b"hello\r\n")
            read_until(service, b"hello\r\n")
        told = any(line["event"] == "proxy_header_from_stranger" for line in fronts.gateway.lines[mark:])

    line = fronts.gateway.wait_for("proxy_header_from_stranger", after=mark)

    assert (
        f"a PROXY header came from {fronts.balancer}, which is not in accept_proxy_protocol" in line["reason"]
    )


@versions
def test_a_service_behind_a_server_name_sees_the_visitor(
    fronts: Fronts, programs: Programs, version: str
) -> None:
    """The ClientHello that leads it comes behind the header, and TLS ends at the service."""
    front = fronts.web[version]
    host, _, port = front.rpartition(":")
    curl = Curl(
        programs["curl"],
        *("--interface", own_address(), "--cacert", str(fronts.place.pki / "ca.crt")),
        *("--resolve", f"gateway.test:{port}:{host}"),
    )

    answer = curl(f"https://gateway.test:{port}/")

    assert answer.body == f"{answer.visitor} {port}"


@versions
def test_a_service_that_speaks_first_is_not_kept_waiting(fronts: Fronts, version: str) -> None:
    """On a port that is not looked at, nothing but the header is needed; the log names the visitor."""
    mark = fronts.gateway.mark
    with connect(fronts.raw[version]) as visitor, accept(fronts.raw_service) as service:
        service.sendall(b"220 mail.example.com\r\n")
        assert read_until(visitor, b"\r\n") == b"220 mail.example.com\r\n"
        host, port = visitor.getsockname()
        visitor.sendall(b"EHLO\r\n")
        assert read_until(service, b"EHLO\r\n").startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11")
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(service) == b""
    fronts.gateway.wait_for("visitor_left", after=mark, visitor=f"{host}:{port}", tunnel="raw")


def test_a_balancer_that_sends_no_header_is_told_of(fronts: Fronts, programs: Programs) -> None:
    mark = fronts.gateway.mark
    with connect(fronts.mute) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: plain.test\r\n\r\n")
        assert read_all(visitor) == b""

    line = fronts.gateway.wait_for("visitor_refused", after=mark)

    assert line["visitor"].startswith(f"{fronts.balancer}:")
    assert f"{fronts.balancer} is in accept_proxy_protocol and sent no PROXY header" in line["reason"]


def test_who_comes_past_the_balancer_is_served_as_himself(fronts: Fronts) -> None:
    """And a header of his own is no header."""
    with connect(fronts.raw_port) as visitor, accept(fronts.raw_service) as service:
        forged = b"PROXY TCP4 203.0.113.1 203.0.113.2 1 2\r\n"
        visitor.sendall(forged)
        assert socket.inet_aton("203.0.113.1") not in read_until(service, forged)


@versions
def test_clients_behind_a_balancer_are_known_by_their_own_address(
    tmp_path: Path, loop: Sequence[str], programs: Programs, version: str
) -> None:
    """On the control port, natively and by WebSocket. That HAProxy looks all the time is no news."""
    balancer = own_address()
    with site(tmp_path, options=loop) as place:
        gateway = place.start(
            "gateway", place.gateway_file([], accept_proxy_protocol=[balancer], allow_empty=True)
        )
        backend = f"{place.control} {SEND[version]} source {balancer} check inter 20ms"
        with haproxy(
            programs["haproxy"], tmp_path, "", mode="tcp", backend=backend, at=place.address
        ) as front:
            place.start("client", place.client_file({}, gateways=[front]))
            place.start("client", place.client_file({}, id="office", gateways=[f"wss://{front}/tunnel"]))
            for client in ("homelab", "office"):
                line = gateway.wait_for("client_connected", client=client)
                assert line["address"].startswith("127.0.0.1:")
    assert [line for line in gateway.lines if line.get("level") not in ("info", "debug")] == []


def test_a_control_port_tells_of_a_balancer_that_sends_no_header(
    tmp_path: Path, loop: Sequence[str], programs: Programs
) -> None:
    balancer = own_address()
    with site(tmp_path, options=loop) as place:
        gateway = place.start(
            "gateway", place.gateway_file([], accept_proxy_protocol=[balancer], allow_empty=True)
        )
        backend = f"{place.control} source {balancer}"
        with haproxy(
            programs["haproxy"], tmp_path, "", mode="tcp", backend=backend, at=place.address
        ) as front:
            place.start("client", place.client_file({}, gateways=[front]))

            line = gateway.wait_for("handshake_failed")

    assert line["address"].startswith(f"{balancer}:")
    assert f"{balancer} is in accept_proxy_protocol and sent no PROXY header" in line["reason"]
