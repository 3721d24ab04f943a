"""Services of other makers see the visitor's own address and port, and the port it came to."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.daemons import haproxy, nginx
from tests.support.real_software import Programs, require
from tests.support.services import accept, listening, read_until, target
from tests.support.site import connect, own_address, site
from tests.support.tools import Curl

pytestmark = pytest.mark.real_software("nginx", "haproxy", "curl")

NGINX = (
    'return 200 "$proxy_protocol_addr $proxy_protocol_port'
    ' $proxy_protocol_server_addr $proxy_protocol_server_port";'
)
HAPROXY = (
    'http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A tunnel, by what it is about."""

    service: str
    version: str
    host: str  # where it listens


@pytest.fixture(scope="module")
def ipv4() -> str:
    return own_address()


@pytest.fixture(scope="module")
def by_hand() -> Iterator[socket.socket]:
    """A service that the test plays itself."""
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def doors(
    tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str], ipv4: str, by_hand: socket.socket
) -> Iterator[dict[Door, str]]:
    """Where each tunnel listens: a gateway with one for every service, version and family."""
    directory = tmp_path_factory.mktemp("proxy")
    programs = require("nginx", "haproxy")
    with ExitStack() as running:
        services = {
            "by-hand": target(by_hand),
            "nginx": running.enter_context(
                nginx(programs["nginx"], directory, NGINX, listen="proxy_protocol")
            ),
            "nginx-unix": running.enter_context(
                nginx(programs["nginx"], directory, NGINX, listen="proxy_protocol", at=directory / "web.sock")
            ),
            "haproxy": running.enter_context(
                haproxy(programs["haproxy"], directory, HAPROXY, bind="accept-proxy")
            ),
        }
        place = running.enter_context(site(directory, ipv4, options=loop))
        found = {
            Door(service=service, version=version, host=host): place.listen(host)
            for service in services
            for version in ("off", "v1", "v2")
            for host in (ipv4, "::1")
        }
        tunnels = [
            {
                "name": f"{door.service}-{door.version}-{'ipv6' if ':' in door.host else 'ipv4'}",
                "listen": listen,
                "client": "homelab",
                "service": door.service,
                "proxy_protocol": door.version,
            }
            for door, listen in found.items()
        ]
        place.start_both(tunnels, services)
        yield found


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("service", ["nginx", "nginx-unix", "haproxy"])
def test_a_service_sees_the_address_of_an_ipv4_visitor(
    doors: dict[Door, str], ipv4: str, programs: Programs, service: str, version: str
) -> None:
    listen = doors[Door(service=service, version=version, host=ipv4)]
    curl = Curl(programs["curl"], "--interface", own_address())  # an address that nobody else has
    answer = curl(f"http://{listen}/")
    assert answer.body == f"{answer.visitor} {listen.replace(':', ' ')}"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("service", ["nginx", "nginx-unix", "haproxy"])
def test_a_service_sees_the_address_of_an_ipv6_visitor(
    doors: dict[Door, str], programs: Programs, service: str, version: str
) -> None:
    listen = doors[Door(service=service, version=version, host="::1")]
    answer = Curl(programs["curl"], "-g")(f"http://{listen}/")
    host, _, port = listen.rpartition(":")
    assert answer.visitor.startswith("::1 ")
    assert answer.body == f"{answer.visitor} {host.strip('[]')} {port}"


@pytest.mark.parametrize(
    ("version", "start"), [("off", b"ahoy"), ("v1", b"PROXY TCP4 "), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11")]
)
def test_the_version_is_the_one_that_the_file_says(
    doors: dict[Door, str], ipv4: str, by_hand: socket.socket, version: str, start: bytes
) -> None:
    """nginx and HAProxy take either, so this looks at the bytes; the visitor's own come right behind."""
    with connect(doors[Door(service="by-hand", version=version, host=ipv4)]) as visitor:
        visitor.sendall(b"ahoy")
        with accept(by_hand) as connection:
            assert read_until(connection, b"ahoy").startswith(start)
