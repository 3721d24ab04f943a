"""HTTP sites at home share one public port by their Host, and what is wrong is said in HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support.daemons import nginx
from tests.support.real_software import Programs, require
from tests.support.services import answering, nobody_listening, service
from tests.support.site import Site, connect, read_all, site
from tests.support.tools import Answer, Curl

pytestmark = pytest.mark.real_software("nginx", "curl")

LONG = "x" * 300_000


class Street:
    """A gateway with one port for everything that speaks HTTP."""

    def __init__(self, place: Site, targets: dict[str, str]) -> None:
        self.place = place
        self.listen = place.listen()
        tunnels = [
            {
                "name": name,
                "listen": self.listen,
                "hostname": f"{name}.example.com",
                "client": "office" if name == "away" else "homelab",
                "service": name,
            }
            for name in (*targets, "away")
        ]
        self.gateway, self.client = place.start_both(tunnels, targets)

    def get(self, programs: Programs, host: str, *options: str) -> Answer:
        port = self.listen.rpartition(":")[2]
        resolve = f"{host}:{port}:{self.place.address}"
        return Curl(programs["curl"], "--resolve", resolve)(f"http://{host}:{port}/", *options)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Street]:
    directory = tmp_path_factory.mktemp("http")
    program = require("nginx")["nginx"]
    without_length = f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{LONG}".encode()
    with ExitStack() as running:
        targets = {
            "blog": running.enter_context(nginx(program, directory, 'return 200 "blog $host";')),
            "wiki": running.enter_context(nginx(program, directory, 'return 200 "wiki $host";')),
            "old": running.enter_context(service(answering(without_length))),
            "down": running.enter_context(nobody_listening()),
        }
        yield Street(running.enter_context(site(directory, options=loop)), targets)


def test_the_host_decides_which_site_answers(street: Street, programs: Programs) -> None:
    assert street.get(programs, "blog.example.com").body == "blog blog.example.com"
    assert street.get(programs, "wiki.example.com").body == "wiki wiki.example.com"
    assert street.get(programs, "WIKI.example.com").body == "wiki wiki.example.com"


def test_a_connection_is_good_for_more_than_one_request(street: Street, programs: Programs) -> None:
    """curl keeps it open: both requests come from one port."""
    port = street.listen.rpartition(":")[2]
    answer = street.get(programs, "blog.example.com", f"http://blog.example.com:{port}/again")
    assert answer.body == f"blog blog.example.com\n200 {answer.visitor}blog blog.example.com"


def test_a_host_that_nobody_has_gets_404(street: Street, programs: Programs) -> None:
    """Also a visitor that names the address instead, and neither learns what else is there."""
    for host in ("nobody.example.com", street.place.address):
        answer = street.get(programs, host)
        assert answer.status == 404
        assert "There is no such site here." in answer.body
        assert "blog" not in answer.body


def test_a_site_whose_client_is_away_gets_503_and_when_to_come_back(
    street: Street, programs: Programs
) -> None:
    answer = street.get(programs, "away.example.com", "-i")
    assert answer.status == 503
    assert "Retry-After: 5" in answer.body


def test_a_service_that_is_down_gets_502_and_both_logs_say_why(street: Street, programs: Programs) -> None:
    """The visitor learns no address; the client's log has it, and what to do."""
    mark = street.client.mark
    answer = street.get(programs, "down.example.com")
    assert answer.status == 502
    assert "127.0.0.1" not in answer.body
    failed = street.client.wait_for("stream_failed", after=mark, service="down")
    assert "connection refused; start the service, or correct its address" in failed["reason"]
    refused = street.gateway.wait_for("visitor_refused", hostname="down.example.com")
    assert refused["reason"] == "service down does not answer"


def test_a_response_that_ends_by_close_is_whole(street: Street, programs: Programs) -> None:
    """It has no length: only the end of the connection tells curl that it has all of it."""
    answer = street.get(programs, "old.example.com")
    assert (answer.status, answer.body) == (200, LONG)


def test_a_request_in_pieces_reaches_its_site(street: Street) -> None:
    """The Host may come last and byte by byte."""
    request = b"GET / HTTP/1.0\r\nAccept: */*\r\nHost: blog.example.com\r\n\r\n"
    with connect(street.listen) as visitor:
        for start in range(len(request)):
            visitor.sendall(request[start : start + 1])
        assert read_all(visitor).endswith(b"blog blog.example.com")
