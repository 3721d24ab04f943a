"""TLS sites at home share one public port, and nobody between a visitor and a site can read along."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.support import hellos
from tests.support.daemons import nginx
from tests.support.real_software import Programs, require
from tests.support.services import accept, listening, nobody_listening, read_until, target
from tests.support.site import Site, connect, site
from tests.support.tools import Curl, CurlError, s_client

pytestmark = pytest.mark.real_software("nginx", "curl", "openssl")


class TlsSite:
    """An nginx with a certificate of an authority of its own. It answers with the site's name."""

    def __init__(self, directory: Path, name: str, *hosts: str) -> None:
        self.name = name
        self.ca = directory / f"{name}-ca.pem"
        self.certificate = directory / f"{name}.crt", directory / f"{name}.key"
        authority = trustme.CA()
        issued = authority.issue_cert(*hosts)
        authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.certificate[0])
        issued.private_key_pem.write_to_path(self.certificate[1])


class Town:
    """A gateway whose one port leads to the sites ``blog`` and ``shop`` by name, and another port to blog."""

    def __init__(self, place: Site, targets: dict[str, str], blog: TlsSite, shop: TlsSite) -> None:
        self.place = place
        self.blog = blog
        self.shop = shop
        self.listen = place.listen()
        self.raw = place.listen()
        hostnames = {
            "blog": ["blog.example.com", "special.shop.example.com"],
            "shop": ["*.shop.example.com"],
            "watched": ["watched.example.com"],
            "down": ["down.example.com"],
            "nobody": ["away.example.com"],
        }
        tunnels: list[dict[str, object]] = [
            {
                "name": service,
                "listen": self.listen,
                "hostname": names,
                "client": "office" if service == "nobody" else "homelab",
                "service": service,
            }
            for service, names in hostnames.items()
        ]
        tunnels.append({"name": "raw", "listen": self.raw, "client": "homelab", "service": "blog"})
        self.gateway, self.client = place.start_both(tunnels, targets)

    def get(self, programs: Programs, host: str, ca: Path) -> str:
        """The page that curl gets, having verified the certificate."""
        port = self.listen.rpartition(":")[2]
        curl = Curl(programs["curl"], "--cacert", str(ca), "--resolve", f"{host}:{port}:{self.place.address}")
        return curl(f"https://{host}:{port}/").body

    def shake_hands(self, programs: Programs, host: str, listen: str | None = None) -> str:
        """What openssl s_client prints of a conversation with the host, having verified it as blog."""
        return s_client(
            programs["openssl"],
            listen or self.listen,
            *("-servername", host, "-CAfile", str(self.blog.ca), "-verify_return_error"),
            send=f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode(),
        )


@pytest.fixture(scope="module")
def watched() -> Iterator[socket.socket]:
    """A service that the test plays itself."""
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str], watched: socket.socket
) -> Iterator[Town]:
    directory = tmp_path_factory.mktemp("tls")
    program = require("nginx")["nginx"]
    blog = TlsSite(directory, "blog", "blog.example.com", "special.shop.example.com")
    shop = TlsSite(directory, "shop", "one.shop.example.com", "a.b.shop.example.com")
    with ExitStack() as running:
        targets = {"watched": target(watched), "down": running.enter_context(nobody_listening())}
        for tls_site in (blog, shop):
            targets[tls_site.name] = running.enter_context(
                nginx(program, directory, f'return 200 "{tls_site.name}";', certificate=tls_site.certificate)
            )
        place = running.enter_context(site(directory, options=loop))
        yield Town(place, targets, blog, shop)


def test_curl_gets_the_site_of_the_name_with_that_sites_own_certificate(
    town: Town, programs: Programs
) -> None:
    """Each site has an authority of its own, and curl trusts only that one."""
    assert town.get(programs, "blog.example.com", town.blog.ca) == "blog"
    assert town.get(programs, "one.shop.example.com", town.shop.ca) == "shop"


def test_a_wildcard_takes_names_of_any_depth_and_leaves_the_exact_ones(
    town: Town, programs: Programs
) -> None:
    """The star of a hostname crosses dots; an exact name wins over it."""
    assert town.get(programs, "a.b.shop.example.com", town.shop.ca) == "shop"
    assert town.get(programs, "special.shop.example.com", town.blog.ca) == "blog"


def test_the_gateway_does_not_have_what_it_would_need_to_read_along(town: Town) -> None:
    """Nothing that the gateway was given names a key or certificate of the sites."""
    state = (town.place.directory / "gateway.yaml").read_text()
    for path in (*town.blog.certificate, *town.shop.certificate):
        assert path.name not in state


def test_openssl_verifies_the_site_through_a_port_with_names(town: Town, programs: Programs) -> None:
    """Names compare without regard to case."""
    said = town.shake_hands(programs, "Blog.Example.COM")
    assert "Verify return code: 0 (ok)" in said
    assert "\r\n\r\nblog" in said


def test_openssl_verifies_the_site_through_a_raw_port(town: Town, programs: Programs) -> None:
    """There the name does not matter to the gateway."""
    said = town.shake_hands(programs, "blog.example.com", town.raw)
    assert "Verify return code: 0 (ok)" in said


def test_an_unknown_name_gets_the_alert_that_says_so(town: Town, programs: Programs) -> None:
    """unrecognized_name, number 112; also for a visitor that gives no name at all."""
    mark = town.gateway.mark
    said = town.shake_hands(programs, "nobody.example.com")
    assert "unrecognized name" in said
    assert "SSL alert number 112" in said
    line = town.gateway.wait_for("visitor_refused", after=mark, hostname="nobody.example.com")
    assert line["reason"] == "no hostname matches nobody.example.com"
    nameless = s_client(programs["openssl"], town.listen, "-noservername")
    assert "SSL alert number 112" in nameless


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("away.example.com", "no client that offers nobody is connected (office)"),
        ("down.example.com", "service down does not answer"),
    ],
)
def test_a_site_that_is_away_is_told_at_once_by_an_alert(
    town: Town, programs: Programs, host: str, reason: str
) -> None:
    """internal_error, number 80: the name is right, and it is not the visitor's fault."""
    mark = town.gateway.mark
    assert "SSL alert number 80" in town.shake_hands(programs, host)
    assert town.gateway.wait_for("visitor_refused", after=mark, hostname=host)["reason"] == reason
    with pytest.raises(CurlError, match="internal error"):
        town.get(programs, host, town.blog.ca)


def test_a_post_quantum_hello_in_the_smallest_pieces_reaches_its_site(town: Town) -> None:
    """1,500 bytes, each sent by itself: nginx answers them with a ServerHello."""
    with connect(town.listen) as visitor:
        for start in range(len(hellos.POST_QUANTUM)):
            visitor.sendall(hellos.POST_QUANTUM[start : start + 1])
        assert visitor.recv(3) == b"\x16\x03\x03"


@pytest.mark.parametrize("padding", [0, 3_000, 40_000])
def test_a_hello_reaches_its_service_unchanged_whatever_its_size(
    town: Town, watched: socket.socket, padding: int
) -> None:
    """In many segments and several records; what follows in the same breath comes through behind it."""
    hello = hellos.build_hello([(hellos.PADDING, bytes(padding)), hellos.server_name(b"watched.example.com")])
    sent = hello + b"and what came with it"
    with connect(town.listen) as visitor:
        for start in range(0, len(sent), 1_000):
            visitor.sendall(sent[start : start + 1_000])
        with accept(watched) as connection:
            assert read_until(connection, b"and what came with it") == sent
