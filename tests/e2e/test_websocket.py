"""Sessions by WebSocket: behind nginx under a base path, or to the gateway itself, when only HTTPS passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.daemons import haproxy, nginx
from tests.support.downloads import Download, download_server
from tests.support.proxies import PASSWORD, USER, tinyproxy
from tests.support.real_software import Programs
from tests.support.services import listening, target
from tests.support.site import Agent, Site, own_address, site
from tests.support.tools import Curl

MEGABYTES = 4

# What examples/websocket tells people to write.
PASS_ON = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)


class Home:
    """One tunnel to a service that sends 4 MiB; its client comes by whatever way the test says."""

    def __init__(self, place: Site, service: str) -> None:
        self.place = place
        self.service = service
        self.listen = place.listen()
        self.certificate = place.pki / "gateway.crt", place.pki / "gateway.key"
        self.gateway: Agent

    def start_gateway(self, **settings: object) -> None:
        tunnel = {"name": "t", "listen": self.listen, "client": "homelab", "service": "download"}
        self.gateway = self.place.start("gateway", self.place.gateway_file([tunnel], **settings))

    def start_client(self, url: str) -> Agent:
        return self.place.start("client", self.place.client_file({"download": self.service}, gateways=[url]))

    def assert_served(self) -> None:
        with Download(self.listen, megabytes=MEGABYTES) as download:
            download.finish()


@pytest.fixture
def home(tmp_path: Path, loop: Sequence[str]) -> Iterator[Home]:
    with (
        site(tmp_path, options=loop) as place,
        download_server(place.address, megabytes=MEGABYTES) as service,
    ):
        yield Home(place, service)


def test_a_client_reaches_its_gateway_by_a_websocket_without_any_proxy(home: Home) -> None:
    """The gateway shows its own certificate, of the client's CA; nobody else has to be trusted."""
    home.start_gateway()
    client = home.start_client(f"wss://{home.place.control}/tunnel")
    home.gateway.wait_for("client_connected", client="homelab")

    home.assert_served()

    (link,) = client.status()["links"]
    assert link["gateway"] == f"wss://{home.place.control}/tunnel"
    assert link["phase"] == "Connected"
    assert client.stop() == 0
    line = home.gateway.wait_for("client_disconnected")
    assert "goodbye" not in line["reason"]


def test_it_goes_in_the_clear_where_the_network_is_trusted(home: Home) -> None:
    home.start_gateway()
    home.start_client(f"ws://{home.place.control}/tunnel")

    home.gateway.wait_for("client_connected", client="homelab")

    home.assert_served()


def test_a_native_client_and_a_websocket_share_one_port(home: Home) -> None:
    home.start_gateway()
    home.start_client(f"wss://{home.place.control}/tunnel")
    home.place.start("client", home.place.client_file({"other": home.service}, id="office"))

    for client in ("homelab", "office"):
        home.gateway.wait_for("client_connected", client=client)

    home.assert_served()


@pytest.mark.real_software("nginx")
@pytest.mark.parametrize("inside", ["http", "https"])
def test_nginx_brings_it_from_under_a_base_path(home: Home, programs: Programs, inside: str) -> None:
    """TLS ends at nginx; what it passes on, in the clear or not, is TLS of the two programs."""
    home.start_gateway()
    server = f"location /base/ {{ proxy_pass {inside}://{home.place.control}; {PASS_ON} }}"
    with nginx(
        programs["nginx"],
        home.place.directory,
        server,
        at=home.place.address,
        certificate=home.certificate,
    ) as front:
        home.start_client(f"wss://{front}/base/tunnel")
        home.gateway.wait_for("client_connected", client="homelab")

        home.assert_served()


@pytest.mark.real_software("haproxy")
def test_haproxy_brings_it_as_well_and_says_who_the_client_is(home: Home, programs: Programs) -> None:
    reverse_proxy = own_address()
    home.start_gateway(accept_proxy_protocol=[reverse_proxy])
    whole = home.place.pki / "whole.pem"
    whole.write_bytes(b"".join(part.read_bytes() for part in home.certificate))
    with haproxy(
        programs["haproxy"],
        home.place.directory,
        "option forwardfor",
        bind=f"ssl crt {whole}",
        backend=f"{home.place.control} source {reverse_proxy}",
        at=home.place.address,
    ) as front:
        home.start_client(f"wss://{front}/some/path/tunnel")
        line = home.gateway.wait_for("client_connected", client="homelab")

        assert line["address"] == "127.0.0.1"
        home.assert_served()


def test_a_gateway_that_stops_says_so_before_it_is_gone(home: Home) -> None:
    """The last words cross the WebSocket, though the process ends right behind them."""
    home.start_gateway()
    client = home.start_client(f"wss://{home.place.control}/tunnel")
    home.gateway.wait_for("client_connected", client="homelab")

    assert home.gateway.stop() == 0

    assert client.wait_for("link_down")["reason"] == "the gateway stopped, as it had announced"


@pytest.mark.real_software("nginx")
def test_nginx_says_who_the_client_is_if_the_file_names_it(home: Home, programs: Programs) -> None:
    """Its word counts in the log and in the status, and what the client says of itself does not."""
    reverse_proxy = own_address()
    home.start_gateway(accept_proxy_protocol=[reverse_proxy])
    server = (
        f"location /tunnel {{ proxy_pass http://{home.place.control}; proxy_bind {reverse_proxy}; {PASS_ON} "
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }"
    )
    with nginx(
        programs["nginx"], home.place.directory, server, at=home.place.address, certificate=home.certificate
    ) as front:
        home.start_client(f"wss://{front}/tunnel")
        line = home.gateway.wait_for("client_connected", client="homelab")

        assert line["address"] == "127.0.0.1"
        assert [client["address"] for client in home.gateway.status()["clients"]] == ["127.0.0.1"]


@pytest.mark.real_software("nginx")
def test_a_client_comes_back_when_its_reverse_proxy_was_restarted(home: Home, programs: Programs) -> None:
    """Of which it hears at once, and says so."""
    program = programs["nginx"]
    home.start_gateway()
    server = f"location / {{ proxy_pass http://{home.place.control}; {PASS_ON} }}"
    with listening(home.place.address) as front:
        url = f"wss://{target(front)}/tunnel"
        with nginx(program, home.place.directory, server, on=front, certificate=home.certificate):
            client = home.start_client(url)
            home.gateway.wait_for("client_connected", client="homelab")
        mark = home.gateway.mark
        line = client.wait_for("link_down")
        assert line["reason"] == "the connection under the WebSocket was closed without a goodbye"
        with nginx(program, home.place.directory, server, on=front, certificate=home.certificate):
            home.gateway.wait_for("client_connected", after=mark)
            home.assert_served()


@pytest.mark.real_software("nginx")
@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("location /base/ { proxy_pass http://%s; }", "the answer was 426 Upgrade Required: "),
        (
            "location /other/ { proxy_pass http://%s; }",
            "the answer was 404 Not Found: there is nothing at this",
        ),
        ("location / { return 200 hello; } # %s", "the answer was 200 OK: this is a web page and no gateway"),
        (
            "location / { return 302 http://login.example/; } # %s",
            "302 Moved Temporarily to http://login.exa",
        ),
        (
            "location / { proxy_pass http://127.0.0.1:1; } # %s",
            "502 Bad Gateway: the reverse proxy there does ",
        ),
    ],
    ids=["without the upgrade", "another path", "a web page", "a login page", "no gateway"],
)
def test_each_way_not_to_get_through_is_told(home: Home, programs: Programs, server: str, said: str) -> None:
    """And tried again."""
    home.start_gateway()
    with nginx(
        programs["nginx"],
        home.place.directory,
        server % home.place.control + "\n",
        at=home.place.address,
        certificate=home.certificate,
    ) as front:
        client = home.start_client(f"wss://{front}/base/tunnel")

        line = client.wait_for("link_down")

        assert said in line["reason"]
        assert line["reason"].startswith(f"wss://{front}/base/tunnel: ")


@pytest.mark.real_software("curl")
def test_curl_reads_what_this_port_is(home: Home, programs: Programs) -> None:
    home.start_gateway()

    answer = Curl(programs["curl"], "--cacert", str(home.place.pki / "ca.crt"))(
        f"https://{home.place.control}/"
    )

    assert answer.status == 404
    assert "control port of a Tidegate gateway" in answer.body


@pytest.mark.real_software("tinyproxy")
def test_it_goes_through_a_proxy_of_the_clients_network_as_well(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    """CONNECT with a password, TLS to the front, the WebSocket in it, and the session's TLS inside."""
    proxy = home.place.listen()
    home.start_gateway()
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy):
        home.place.start(
            "client",
            home.place.client_file(
                {"download": home.service},
                gateways=[f"wss://{home.place.control}/tunnel"],
                proxy=f"http://{USER}:{PASSWORD}@{proxy}",
            ),
        )
        home.gateway.wait_for("client_connected", client="homelab")

        home.assert_served()
