"""A gateway with a good certificate that lies: the client leaves it, says why, and serves its others."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.bystanders import MEGABYTES, Bystanders, bystanders
from tests.support.downloads import download_server
from tests.support.holding import assert_nothing_broke, grows_by_less_than
from tests.support.services import accept, hash_at_the_end, listening, nobody_listening, service, target
from tests.support.site import Site, site
from tests.support.violations import PASSED_OVER, VIOLATIONS, Violation
from tests.support.yamux_peer import (
    ACK,
    DATA,
    FIN,
    FIRST_WINDOW,
    GO_AWAY,
    RST,
    SYN,
    WINDOW,
    HostileGateway,
    YamuxPeer,
    data,
    header,
    line,
    open_header,
    ping,
    window,
    with_length,
)

MIB = 1 << 20
MAX_OFFERED = 4_096

OF_GATEWAYS = {
    "a stream of the client's": Violation(window(5, 0, SYN), "stream id 5 is not the peer's to open"),
    "an open stream again": Violation(window(2, 0, SYN), "stream 2 opened twice"),
    "its own stream acknowledged": Violation(window(4, 0, SYN | ACK), "RECV_ACK on stream 4"),
    "more than a window at once": Violation(
        header(DATA, SYN, 4, FIRST_WINDOW + 1), "into a window of 262144"
    ),
}
LIES = VIOLATIONS | OF_GATEWAYS
# Most tests spoil a session, and a client lets a gateway that did that wait. So each has one of its own.
SESSIONS = len(LIES) + len(PASSED_OVER) + 6


class Crowd:
    """A client with one honest gateway and many hostile ones, each of which has welcomed it."""

    def __init__(self, place: Site, services: dict[str, str]) -> None:
        self.place = place
        self.honest = place.listen()
        tunnels = [{"name": "honest", "listen": self.honest, "client": "homelab", "service": "download"}]
        self.gateway = place.start("gateway", place.gateway_file(tunnels))
        hostile = [HostileGateway(place) for _ in range(SESSIONS)]
        self.client = place.start(
            "client",
            place.client_file(
                services,
                gateways=[place.control, *(gateway.listen for gateway in hostile)],
                ping_interval="1h",
                ping_timeout="1h",  # they do not answer the first ping until it is their turn
            ),
        )
        self._sessions = [(gateway.listen, gateway.accept()) for gateway in hostile]
        self.gateway.wait_for("client_connected", client="homelab")
        for gateway in hostile:
            self.client.wait_for("link_up", gateway=gateway.listen)
            gateway.close()

    def session(self) -> tuple[str, YamuxPeer]:
        """A hostile gateway's end of a session that nobody has used, and that gateway's address."""
        return self._sessions.pop()

    def reason(self, gateway: str) -> str:
        return str(self.client.wait_for("link_down", gateway=gateway)["reason"])

    def close(self) -> None:
        for _, peer in self._sessions:
            peer.tls.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A service in the hands of the test."""
    with listening() as opened:
        yield opened


@pytest.fixture(scope="module")
def crowd(
    tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str], listener: socket.socket
) -> Iterator[Crowd]:
    directory = tmp_path_factory.mktemp("lying")
    with (
        download_server("127.0.0.1", megabytes=MEGABYTES) as downloads,
        service(hash_at_the_end) as hashing,
        nobody_listening() as closed,
        site(directory, options=loop) as place,
    ):
        services = {"download": downloads, "by-hand": target(listener), "hashing": hashing, "down": closed}
        made = Crowd(place, services)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def others(crowd: Crowd) -> Iterator[Bystanders]:
    """A download through the honest gateway is under way meanwhile, and stays."""
    mark = crowd.client.mark
    with bystanders(crowd.honest) as around, grows_by_less_than(32 * MIB, crowd.client):
        yield around
    assert_nothing_broke(crowd.gateway, crowd.client)
    left = [entry["gateway"] for entry in crowd.client.lines[mark:] if entry["event"] == "link_down"]
    assert crowd.place.control not in left


def accepted(peer: YamuxPeer, listener: socket.socket) -> socket.socket:
    """Open stream 2 to the service in the hands of the test; the service's end of it."""
    peer.say(data(2, open_header("by-hand"), SYN))
    connection = accept(listener)
    assert peer.until(lambda said: said.stream == 2).flags == ACK
    return connection


@pytest.mark.parametrize("lie", LIES)
def test_a_client_leaves_a_gateway_that_lies_with_the_reason(
    crowd: Crowd, listener: socket.socket, lie: str
) -> None:
    gateway, peer = crowd.session()
    with peer.tls, accepted(peer, listener) as connection:
        peer.say(LIES[lie].said)
        *_, last = peer.frames()
        assert (last.kind, last.length) == (GO_AWAY, LIES[lie].code)
        assert LIES[lie].words in crowd.reason(gateway)
        with pytest.raises(ConnectionError):
            _until_reset(connection)


def _until_reset(connection: socket.socket) -> None:
    """An end may come first, if one was said."""
    while True:
        connection.recv(1 << 16) or connection.send(b"is anybody there?")


@pytest.mark.parametrize("said", PASSED_OVER)
def test_what_is_no_lie_is_passed_over_and_the_session_goes_on(
    crowd: Crowd, listener: socket.socket, said: str
) -> None:
    _, peer = crowd.session()
    with peer.tls, accepted(peer, listener) as connection:
        peer.say(PASSED_OVER[said])
        peer.assert_alive()
        peer.say(data(2, b"still here"))
        assert connection.recv(100) == b"still here"


# Open headers: each is the failure of one stream


def head(**changes: Any) -> bytes:
    return open_header("hashing", **changes)


HEADERS = {
    "too long": ((4_097).to_bytes(2, "big") + bytes(4_097), "malformed"),
    "too long, alone": (b"\xff\xff", "malformed"),
    "no JSON": (with_length(b"{"), "malformed"),
    "no object": (with_length(b"[]"), "malformed"),
    "a number of 4,000 digits": (with_length(b'{"tunnel":' + b"9" * 4_000 + b"}"), "malformed"),
    "2,000 brackets": (with_length(b"[" * 2_000), "malformed"),
    "no UTF-8": (with_length(b'{"tunnel":"\xff"}'), "malformed"),
    "a line in the source": (head(source=["192.0.2.7\r\nPROXY TCP4", 1]), "malformed"),
    "a line in a zone": (head(source=["fe80::1%\r\nPROXY", 1], proxy_protocol="v1"), "malformed"),
    "a name as destination": (head(destination=["localhost", 443]), "malformed"),
    "an address in brackets": (head(source=["[::1]", 443]), "malformed"),
    "a port too many": (head(source=["192.0.2.7", 65_536]), "malformed"),
    "a port that is true": (head(source=["192.0.2.7", True]), "malformed"),
    "a port that is a text": (head(source=["192.0.2.7", "80"]), "malformed"),
    "an address of three": (head(source=["192.0.2.7", 80, 0]), "malformed"),
    "a line in the service": (open_header("web\nx"), "malformed"),
    "a line in the tunnel": (head(tunnel="\x1b[2J"), "malformed"),
    "a name too long": (head(tunnel="x" * 129), "malformed"),
    "a list as version": (head(proxy_protocol=["v1"]), "malformed"),
    "version 3": (head(proxy_protocol="v3"), "malformed"),
    "an unknown service": (open_header("not offered"), "unknown_service"),
    "a service that is down": (open_header("down"), "service_down"),
}


def test_each_header_that_makes_no_sense_fails_its_stream_with_the_reason_before_the_reset(
    crowd: Crowd,
) -> None:
    """All on one session, which goes on; nothing of them has reached a service."""
    _, peer = crowd.session()
    with peer.tls:
        for number, (wire, code) in enumerate(HEADERS.values(), start=1):
            peer.say(data(2 * number, wire + b"and more", SYN))
            failed = peer.message()
            assert (failed["type"], failed["stream"], failed["code"]) == ("stream_failed", 2 * number, code)
            said = peer.until(lambda said: said.stream != 1)
            assert (said.kind, said.flags, said.stream) == (WINDOW, RST, 2 * number)
        peer.say(data(1_000, b"\x00", SYN | FIN))
        assert peer.message()["code"] == "malformed"
        peer.assert_alive()


def test_a_header_in_single_bytes_opens_a_stream(crowd: Crowd) -> None:
    _, peer = crowd.session()
    with peer.tls:
        wire = open_header("hashing", key_of_the_future=[1]) + b"body"
        peer.say(
            window(2, 0, SYN), *(data(2, wire[at : at + 1]) for at in range(len(wire))), data(2, b"", FIN)
        )
        assert peer.until(lambda said: said.stream == 2 and said.kind == DATA and said.length).payload == (
            hashlib.sha256(b"body").hexdigest().encode()
        )


# Too much


def test_streams_beyond_those_that_may_wait_are_refused_and_the_others_are_kept(crowd: Crowd) -> None:
    """None of them says where it goes, so none is answered."""
    _, peer = crowd.session()
    with peer.tls:
        over = [2 * number for number in range(MAX_OFFERED + 1, MAX_OFFERED + 6)]
        peer.say(*(window(2 * number, 0, SYN) for number in range(1, MAX_OFFERED + 1)))
        peer.say(*(window(number, 0, SYN) for number in over))
        assert [peer.until(lambda said: said.kind == WINDOW).stream for _ in over] == over
        peer.say(window(2, 0, RST), data(10_000, open_header("hashing"), SYN | FIN))  # room for one
        assert peer.until(lambda said: said.stream == 10_000).flags == ACK


FLOODS = {
    "pings": ping(1) * 1_000,
    "headers that make no sense": b"".join(data(number, b"\xff\xff", SYN) for number in range(2, 2_002, 2)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_gateway_that_asks_and_does_not_read_the_answers_is_left(crowd: Crowd, flood: str) -> None:
    gateway, peer = crowd.session()
    with peer.tls:
        peer.tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def has_left() -> bool:
            gone = ("link_down", gateway)
            return any((entry["event"], entry.get("gateway")) == gone for entry in crowd.client.lines)

        peer.say_until(has_left, FLOODS[flood])
        assert crowd.reason(gateway) in (
            "the peer asks faster than it reads the answers",
            "the peer makes us speak and does not read",
            "the peer does not read its messages",
        )


def test_what_waits_for_a_service_that_is_dialed_is_a_window_at_most(
    crowd: Crowd, listener: socket.socket
) -> None:
    """Nobody has accepted yet: no credit comes back meanwhile, and nothing is lost."""
    _, peer = crowd.session()
    first = open_header("by-hand")
    body = bytes(range(256)) * (FIRST_WINDOW // 256)
    with peer.tls:
        peer.say(data(2, first + body[: FIRST_WINDOW - len(first)], SYN))
        with accept(listener) as connection:
            received = 0
            while received < FIRST_WINDOW - len(first):
                chunk = connection.recv(1 << 16)
                assert chunk == body[received : received + len(chunk)]
                received += len(chunk)
        peer.assert_alive()


# The greeting


BEFORE_THE_WELCOME = {
    "no JSON": (window(1, 0, ACK) + data(1, b"nonsense\n"), "a control message is malformed"),
    "drain": (window(1, 0, ACK) + data(1, line(type="drain")), "the gateway answered the hello with drain"),
    "a line without an end": (window(1, 0, ACK) + data(1, b"x" * 196_609), "longer than 196608 bytes"),
    "another protocol": (
        window(1, 0, ACK) + data(1, line(type="welcome", protocol=2, gateway="x", software="x")),
        "upgrade the client",
    ),
    "the end": (window(1, 0, ACK) + data(1, b"", FIN), "the peer ended the session"),
}


@pytest.mark.parametrize("said", BEFORE_THE_WELCOME)
def test_a_gateway_that_lies_instead_of_a_welcome_is_left(crowd: Crowd, said: str) -> None:
    wire, words = BEFORE_THE_WELCOME[said]
    hostile = HostileGateway(crowd.place)
    with ExitStack() as stack:
        stack.callback(hostile.close)
        path = crowd.place.client_file({}, id="office", gateways=[hostile.listen])
        client = crowd.place.start("client", path)
        stack.callback(client.stop)
        peer = hostile.accept(welcomes=False)
        with peer.tls:
            peer.say(data(2, open_header("web"), SYN))  # refused: no stream before the welcome
            refused = peer.until(lambda said: said.stream == 2)
            assert (refused.kind, refused.flags) == (WINDOW, RST)
            peer.say(wire)
            assert [said.kind for said in peer.frames()][-1] == GO_AWAY
        assert words in client.wait_for("link_down")["reason"]
        assert_nothing_broke(client)
