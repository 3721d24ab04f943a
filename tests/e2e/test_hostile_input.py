"""Whoever sends nonsense is told so in clear words, or closed, and costs nobody else anything."""

from __future__ import annotations

import json
import random
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from agent.api.body import LIMIT
from tests.support.bystanders import MEGABYTES, Bystanders, bystanders
from tests.support.downloads import download_server
from tests.support.real_software import Programs, require
from tests.support.services import echo, nobody_listening, service
from tests.support.site import Agent, Site, connect, read_all, site
from tests.support.tools import Answer, Curl, CurlError, s_client

NOT_TLS = "the other side does not speak TLS: check the address and port"
PLAIN_HTTP = "the other side speaks plain HTTP on a port that wants TLS: use https:// or another port"
NO_CERTIFICATE = (
    "the other side showed no certificate: only clients with a certificate of this CA may connect"
)
HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n"
NOISE = bytes([0xFF]) + random.Random(4).randbytes(4_000)


class Target:
    """A gateway with a bystanders' tunnel, and with ports of every other kind to attack."""

    def __init__(self, place: Site, targets: dict[str, str]) -> None:
        self.place = place
        self.bystanders, self.raw, self.named, self.down, self.unknown, self.management = (
            place.listen() for _ in range(6)
        )
        tunnels = [
            {"name": "bystanders", "listen": self.bystanders, "service": "download"},
            {"name": "raw", "listen": self.raw, "service": "echo"},
            {"name": "named", "listen": self.named, "service": "echo", "hostname": "*.example.com"},
            {"name": "down", "listen": self.down, "service": "down"},
            {"name": "unknown", "listen": self.unknown, "service": "unknown"},
        ]
        self.gateway, self.client = place.start_both(
            [{**tunnel, "client": "homelab"} for tunnel in tunnels], targets, management=self.management
        )

    def tls(self, listen: str, *, alpn: str) -> ssl.SSLSocket:
        """Connected to a port as the client homelab, TLS done."""
        pki = self.place.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "homelab.crt", pki / "homelab.key")
        context.set_alpn_protocols([alpn])
        return context.wrap_socket(connect(listen), server_hostname=self.place.address)

    def ask(self, path: str, *options: str) -> Answer:
        """Ask the unix socket with curl."""
        curl = Curl(require("curl")["curl"], "--unix-socket", str(self.gateway.socket_path))
        return curl(f"http://agent{path}", *options)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Target]:
    directory = tmp_path_factory.mktemp("hostile")
    with (
        download_server("127.0.0.1", megabytes=MEGABYTES) as downloads,
        service(echo) as echoing,
        nobody_listening() as closed,
        site(directory, options=loop) as place,
    ):
        yield Target(place, {"download": downloads, "echo": echoing, "down": closed})


@pytest.fixture(autouse=True)
def others(attacked: Target) -> Iterator[Bystanders]:
    with bystanders(attacked.bystanders) as around:
        yield around


def provoke(listen: str, sent: bytes) -> tuple[str, bytes]:
    """The visitor's address as logs have it, and what it is told until it is closed."""
    with connect(listen) as visitor:
        own = "{}:{}".format(*visitor.getsockname())
        visitor.sendall(sent)
        return own, until_closed(visitor)


def until_closed(connection: socket.socket) -> bytes:
    told = bytearray()
    with suppress(ConnectionError, ssl.SSLError):
        while chunk := connection.recv(1 << 16):
            told += chunk
    return bytes(told)


def reason(agent: Agent, event: str, **fields: Any) -> str:
    return str(agent.wait_for(event, **fields)["reason"])


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (NOISE, NOT_TLS),
        (HTTP_REQUEST, "answered 404 Not Found"),
        (b"\x16\x03\x01\x02\x00" + NOISE, NOT_TLS),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP/1 request"),
    ],
    ids=["noise", "http", "almost-tls", "ssh"],
)
def test_the_control_port_names_what_is_no_client(attacked: Target, sent: bytes, words: str) -> None:
    own, _ = provoke(attacked.place.control, sent)
    assert words in reason(attacked.gateway, "handshake_failed", address=own)


@pytest.mark.parametrize(
    ("sent", "words"), [(NOISE, NOT_TLS), (HTTP_REQUEST, PLAIN_HTTP)], ids=["noise", "http"]
)
def test_the_management_port_names_what_is_not_tls(attacked: Target, sent: bytes, words: str) -> None:
    own, _ = provoke(attacked.management, sent)
    assert words in reason(attacked.gateway, "api_handshake_failed", peer=own)


@pytest.mark.real_software("openssl")
def test_nobody_passes_the_control_port_without_a_certificate(attacked: Target, programs: Programs) -> None:
    mark = attacked.gateway.mark
    s_client(programs["openssl"], attacked.place.control, "-alpn", "tidegate/1")
    assert attacked.gateway.wait_for("handshake_failed", after=mark)["reason"] == NO_CERTIFICATE


@pytest.mark.real_software("curl")
def test_nobody_passes_the_management_port_without_a_certificate(
    attacked: Target, programs: Programs
) -> None:
    mark = attacked.gateway.mark
    curl = Curl(programs["curl"], "--cacert", str(attacked.place.pki / "ca.crt"))
    with pytest.raises(CurlError):
        curl(f"https://{attacked.management}/clients")
    assert attacked.gateway.wait_for("api_handshake_failed", after=mark)["reason"] == NO_CERTIFICATE


def test_a_peer_that_speaks_another_protocol_inside_tls_is_told_apart(attacked: Target) -> None:
    """A certificate alone makes no client; it is spoken to as any browser is."""
    with attacked.tls(attacked.place.control, alpn="http/1.1") as peer:
        own = "{}:{}".format(*peer.getsockname())
        peer.sendall(HTTP_REQUEST)
        assert until_closed(peer).startswith(b"HTTP/1.1 404 ")
    assert "answered 404 Not Found" in reason(attacked.gateway, "handshake_failed", address=own)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (NOISE, "this is no yamux peer"),
        (HTTP_REQUEST, "this is no yamux peer"),
        (bytes(12), "a frame of a stream without the stream's id"),
    ],
    ids=["noise", "http", "zeros"],
)
def test_nonsense_inside_tls_is_no_session(attacked: Target, sent: bytes, words: str) -> None:
    with attacked.tls(attacked.place.control, alpn="tidegate/1") as peer:
        own = "{}:{}".format(*peer.getsockname())
        peer.sendall(sent)
        until_closed(peer)
    assert words in reason(attacked.gateway, "client_refused", address=own)


def test_a_raw_port_passes_noise_on(attacked: Target) -> None:
    """There is nothing that it could not carry."""
    with connect(attacked.raw) as visitor:
        visitor.sendall(NOISE)
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(visitor) == NOISE


@pytest.mark.parametrize(
    ("sent", "answer", "words"),
    [
        (NOISE, b"", "neither TLS nor HTTP/1"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BAD_REQUEST, "more than one Host line"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, BAD_REQUEST, "more than 65536 bytes"),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", b"\x15\x03", "more than 65536 bytes"),
    ],
    ids=["noise", "two-hosts", "endless-head", "bad-hello"],
)
def test_a_port_with_names_answers_nonsense_in_its_language_or_closes(
    attacked: Target, sent: bytes, answer: bytes, words: str
) -> None:
    own, told = provoke(attacked.named, sent)
    assert told.startswith(answer)
    assert bool(told) == bool(answer)
    assert words in reason(attacked.gateway, "visitor_refused", visitor=own)


def test_half_a_request_is_answered_with_400(attacked: Target) -> None:
    """The visitor ends its side before it has said where to."""
    with connect(attacked.named) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHo")
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(visitor).startswith(BAD_REQUEST)


def test_noise_on_the_admin_socket_is_answered_in_http(attacked: Target) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(attacked.gateway.socket_path))
        caller.sendall(NOISE + b"\r\n\r\n")
        head, _, body = until_closed(caller).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "this is not an HTTP/1.1 request" in json.loads(body)["detail"]


@pytest.mark.real_software("curl")
@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        ('[{"ClientId": }]', "application/json", 400, "request body:1:15: "),
        ("[]", "text/html", 415, 'add -H "Content-Type: application/json"'),
        (
            '[{"ClientId": "homelab", "ListenPort": 0}]',
            "application/json",
            400,
            "[0].ListenPort: the number 0 is not a port",
        ),
        ('[{"ClientID": "homelab"}]', "application/json", 400, "did you mean ClientId?"),
        ("x" * (LIMIT + 1), "application/json", 413, "larger than 2 MiB"),
    ],
    ids=["not-json", "not-said-to-be-json", "wrong-port", "misspelled", "too-large"],
)
def test_a_declaration_that_makes_no_sense_is_refused_with_every_reason(
    attacked: Target, body: str, kind: str, status: int, words: str
) -> None:
    file = attacked.place.directory / "body"
    file.write_text(body)
    tunnels = attacked.ask("/tunnels").json()
    answer = attacked.ask("/tunnels", "-X", "PUT", "-H", f"Content-Type: {kind}", "--data-binary", f"@{file}")
    assert answer.status == status
    assert words in "\n".join(problem["text"] for problem in answer.json()["problems"])
    assert attacked.ask("/tunnels").json() == tunnels


def test_a_service_that_is_down_is_named_in_both_logs(attacked: Target) -> None:
    """The client's line has the address and what to do; the visitor is closed at once."""
    mark = attacked.client.mark
    own, told = provoke(attacked.down, b"is anybody there?")
    assert told == b""
    assert reason(attacked.gateway, "visitor_refused", visitor=own) == "service down does not answer"
    failed = attacked.client.wait_for("stream_failed", after=mark, service="down")
    assert "connection refused; start the service, or correct its address" in failed["reason"]


def test_a_service_that_the_client_does_not_offer_is_named_with_what_to_do(attacked: Target) -> None:
    own, told = provoke(attacked.unknown, b"is anybody there?")
    assert told == b""
    words = "no client that offers unknown is connected (homelab)"
    assert reason(attacked.gateway, "visitor_refused", visitor=own) == words
    (tunnel,) = (t for t in attacked.gateway.status()["tunnels"] if t["name"] == "unknown")
    (resolved,) = (c for c in tunnel["conditions"] if c["type"] == "ResolvedRefs")
    assert resolved["reason"] == "ServiceUnknown"
    assert "add unknown to services in the client's state file" in resolved["message"]
