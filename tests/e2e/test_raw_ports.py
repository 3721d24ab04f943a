"""Ports that carry anything: services that speak first, unix sockets, and visitors that say nothing."""

from __future__ import annotations

import queue
import smtplib
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support.services import answering, echo, greeting, service
from tests.support.site import PATIENCE, Site, connect, read_all, site

WELCOME = b"SSH-2.0-somebody-who-speaks-first\r\n"


class Harbor:
    """A gateway with ports of several kinds, and a peek timeout that is over soon."""

    def __init__(self, place: Site, targets: dict[str, str]) -> None:
        self.smtp, self.unix, self.mixed, self.names_only = (place.listen() for _ in range(4))
        tunnels = [
            {"name": "smtp", "listen": self.smtp, "service": "smtp"},
            {"name": "unix", "listen": self.unix, "service": "unix"},
            {"name": "web", "listen": self.mixed, "service": "web", "hostname": "web.example.com"},
            {"name": "ssh", "listen": self.mixed, "service": "ssh"},
            {"name": "named", "listen": self.names_only, "service": "web", "hostname": "*.example.com"},
        ]
        self.gateway, self.client = place.start_both(
            [{**tunnel, "client": "homelab"} for tunnel in tunnels], targets, peek_timeout="200ms"
        )


@pytest.fixture(scope="module")
def mails() -> queue.Queue[bytes]:
    return queue.Queue()


@pytest.fixture(scope="module")
def harbor(
    tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str], mails: queue.Queue[bytes]
) -> Iterator[Harbor]:
    directory = tmp_path_factory.mktemp("raw")

    def smtp(connection: socket.socket) -> None:
        """As much of RFC 5321 as one mail needs."""
        connection.sendall(b"220 mail.example.com ready\r\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                word = line[:4].upper()
                if word == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    mails.put(b"".join(iter(lines.readline, b".\r\n")))
                connection.sendall(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")

    with ExitStack() as running:
        targets = {
            "smtp": running.enter_context(service(smtp)),
            "unix": running.enter_context(service(echo, directory / "echo.sock")),
            "ssh": running.enter_context(service(greeting(WELCOME))),
            "web": running.enter_context(service(answering(b"HTTP/1.0 200 OK\r\n\r\nweb"))),
        }
        yield Harbor(running.enter_context(site(directory, options=loop)), targets)


def test_a_mail_is_delivered_to_a_server_that_speaks_first(harbor: Harbor, mails: queue.Queue[bytes]) -> None:
    """smtplib waits for the greeting before it says anything."""
    host, _, port = harbor.smtp.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=PATIENCE) as visitor:
        visitor.sendmail("a@example.com", ["b@example.com"], "Subject: tide\r\n\r\nhigh water\r\n")
    assert mails.get(timeout=PATIENCE) == b"Subject: tide\r\n\r\nhigh water\r\n"


def test_a_service_may_be_a_unix_socket(harbor: Harbor) -> None:
    with connect(harbor.unix) as visitor:
        visitor.sendall(b"over a path")
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(visitor) == b"over a path"


def test_a_visitor_that_says_nothing_gets_the_default_route(harbor: Harbor) -> None:
    """The port has hostnames too, so it waits as long as the file says, and no longer."""
    with connect(harbor.mixed) as visitor:
        assert visitor.recv(1024) == WELCOME


@pytest.mark.parametrize(
    "words",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n", b"\x00" * 8],
)
def test_words_that_lead_nowhere_else_lead_to_the_default_route(harbor: Harbor, words: bytes) -> None:
    with connect(harbor.mixed) as visitor:
        visitor.sendall(words)
        assert visitor.recv(1024) == WELCOME


def test_a_name_on_a_port_with_a_default_route_leads_to_its_own(harbor: Harbor) -> None:
    with connect(harbor.mixed) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n")
        assert read_all(visitor).endswith(b"web")


def test_a_silent_visitor_of_a_port_with_nothing_but_names_is_closed(harbor: Harbor) -> None:
    """It is not kept waiting for ever, and the log says what was wrong."""
    with connect(harbor.names_only) as visitor:
        own = "{}:{}".format(*visitor.getsockname())
        assert read_all(visitor) == b""
    line = harbor.gateway.wait_for("visitor_refused", visitor=own)
    assert line["reason"].endswith("and then no more in time")
