"""A client with a good certificate that lies: its session ends with the reason, and nobody else notices."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.support.bystanders import MEGABYTES, Bystanders, bystanders
from tests.support.downloads import download_server
from tests.support.holding import assert_nothing_broke, grows_by_less_than
from tests.support.site import Site, connect, site
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
    YamuxPeer,
    data,
    header,
    hostile_client,
    line,
    ping,
    window,
)

MIB = 1 << 20


class Target:
    """A gateway with an honest client, and a port that leads to the hostile one."""

    def __init__(self, place: Site, downloads: str) -> None:
        self.place = place
        self.honest, self.port = place.listen(), place.listen()
        tunnels = [
            {"name": "honest", "listen": self.honest, "client": "homelab", "service": "download"},
            {"name": "by-hand", "listen": self.port, "client": "office", "service": "by-hand"},
        ]
        self.gateway, self.client = place.start_both(tunnels, {"download": downloads})

    @contextmanager
    def session(self) -> Iterator[tuple[YamuxPeer, socket.socket]]:
        """A hostile client, and a visitor that it has accepted: stream 2 is open."""
        with hostile_client(self.place, "office", "by-hand") as peer, connect(self.port) as visitor:
            assert peer.until(lambda said: said.stream == 2).flags == SYN
            peer.say(window(2, 0, ACK))
            yield peer, visitor

    def has_left(self, peer: YamuxPeer) -> bool:
        """Whether the gateway has left this client."""
        gone = ("client_disconnected", peer.address)
        return any((entry["event"], entry.get("address")) == gone for entry in self.gateway.lines)

    def reason(self, peer: YamuxPeer, event: str = "client_disconnected") -> str:
        return str(self.gateway.wait_for(event, address=peer.address)["reason"])


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Target]:
    directory = tmp_path_factory.mktemp("lying")
    with (
        download_server("127.0.0.1", megabytes=MEGABYTES) as downloads,
        site(directory, options=loop) as place,
    ):
        yield Target(place, downloads)


@pytest.fixture(autouse=True)
def others(attacked: Target) -> Iterator[Bystanders]:
    """A download through the honest client is under way meanwhile, and its client stays connected."""
    mark = attacked.gateway.mark
    with bystanders(attacked.honest) as around, grows_by_less_than(32 * MIB, attacked.gateway):
        yield around
    assert_nothing_broke(attacked.gateway, attacked.client)
    gone = [
        entry["client"] for entry in attacked.gateway.lines[mark:] if entry["event"] == "client_disconnected"
    ]
    assert "homelab" not in gone


OF_CLIENTS = {
    "a stream of the gateway's": Violation(window(4, 0, SYN), "stream id 4 is not the peer's to open"),
    "an open stream again": Violation(window(1, 0, SYN), "stream 1 opened twice"),
    "what it was offered again": Violation(window(2, 0, SYN), "stream id 2 is not the peer's to open"),
}


@pytest.mark.parametrize("lie", [*VIOLATIONS, *OF_CLIENTS])
def test_a_session_with_a_liar_ends_with_the_reason(attacked: Target, lie: str) -> None:
    """The reason is in the log, the code in the goodbye, and the visitor's connection is reset."""
    violation = (VIOLATIONS | OF_CLIENTS)[lie]
    with attacked.session() as (peer, visitor):
        peer.say(violation.said)
        *_, last = peer.frames()
        assert (last.kind, last.length) == (GO_AWAY, violation.code)
        assert violation.words in attacked.reason(peer)
        assert is_reset(visitor)


def is_reset(visitor: socket.socket) -> bool:
    """Wait until it is. An end may come first, if one was said."""
    try:
        while True:
            visitor.recv(1) or visitor.send(b"is anybody there?")
    except ConnectionError:
        return True


@pytest.mark.parametrize("said", PASSED_OVER)
def test_what_is_no_lie_is_passed_over_and_the_session_goes_on(attacked: Target, said: str) -> None:
    with attacked.session() as (peer, visitor):
        peer.say(PASSED_OVER[said])
        peer.assert_alive()
        peer.say(data(2, b"still here"))
        assert visitor.recv(100) == b"still here"


@pytest.mark.parametrize(
    "answer",
    [
        window(2, 1_000, ACK) + data(2, b"yes"),
        data(2, b"yes", ACK),
        data(2, b"yes"),
        data(2, b"yes", ACK | FIN),
    ],
    ids=["credit and data", "data", "data without it", "data and the end"],
)
def test_every_way_to_accept_a_stream_is_understood(attacked: Target, answer: bytes) -> None:
    """Section 2: on either frame, with more in it, or implied by what only an acceptor says."""
    with hostile_client(attacked.place, "office", "by-hand") as peer, connect(attacked.port) as visitor:
        assert peer.until(lambda said: said.stream == 2).flags == SYN
        peer.say(answer)
        assert visitor.recv(100) == b"yes"


def test_streams_of_a_client_that_make_no_sense_are_refused_however_many(attacked: Target) -> None:
    """Also those with a number that was used before: no list is kept of them."""
    with attacked.session() as (peer, _visitor):
        for number in [*range(3, 2_003, 2), 3, 5, 7]:
            peer.say(data(number, b"x" * 50, SYN))
            said = peer.until(lambda said: said.kind == WINDOW)
            assert (said.stream, said.flags) == (number, RST)
        peer.assert_alive()


def test_a_client_that_drains_again_and_again_keeps_its_visitors_and_gets_no_more(attacked: Target) -> None:
    with attacked.session() as (peer, visitor):
        for more in ({}, {"unknown": [1]}, {"type": "drain"}):
            peer.say(data(1, line(**{"type": "drain", **more}) * 500))
        peer.say(
            ping(0xFFFFFFFF, ACK) * 100
        )  # answers that nobody asked for, and that a drain would wait for
        peer.assert_alive()

        with connect(attacked.port) as late:
            assert late.recv(1) == b""
        peer.say(data(2, b"still here"))
        assert visitor.recv(100) == b"still here"
        assert not attacked.has_left(peer)


# As many streams as may wait for an answer: whatever is opened besides is refused at once.
WAITING = b"".join(window(number, 0, SYN) for number in range(10_001, 10_001 + 2 * 512, 2))
STREAMS = b"".join(data(number, b"x" * 100, SYN | FIN) for number in range(3, 2_003, 2))

# What comes before a flood, and the flood.
FLOODS = {
    "pings": (b"", ping(1) * 1_000),
    "streams": (WAITING, b"".join(window(number, 0, SYN) for number in range(3, 2_003, 2))),
    "streams with data": (WAITING, STREAMS),
    "streams that make no sense": (b"", STREAMS),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_client_that_asks_and_does_not_read_the_answers_is_left(attacked: Target, flood: str) -> None:
    before, again_and_again = FLOODS[flood]
    with hostile_client(attacked.place, "office", "by-hand") as peer:
        peer.tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.say(before)
        peer.say_until(lambda: attacked.has_left(peer), again_and_again)
        words = (
            "the peer asks faster than it reads the answers",
            "the peer makes us speak and does not read",
        )
        assert attacked.reason(peer) in words


def test_a_client_that_grants_endless_credit_and_does_not_read_is_sent_no_more_than_fits(
    attacked: Target,
) -> None:
    """Its visitor may send all it likes: the link is full, so the visitor is not read."""
    with attacked.session() as (peer, visitor):
        peer.tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.say(window(2, 2**32 - 1 - FIRST_WINDOW))
        visitor.setblocking(False)
        refusals = sent = 0
        while refusals < 20:  # in a row, and between two of them the gateway serves somebody else
            try:
                sent += visitor.send(bytes(64 << 10))
                refusals = 0
            except BlockingIOError:
                refusals += 1
                with connect(attacked.honest) as newcomer:
                    assert newcomer.recv(1)
            assert sent < 64 * MIB


BEFORE_THE_HELLO = {
    "another stream": (window(3, 0, SYN) + data(3, b"x"), None),
    "an even stream": (window(2, 0, SYN), "stream id 2 is not the peer's to open"),
    "no JSON": (data(1, b"nonsense\n", SYN), "a control message is malformed"),
    "a line without an end": (data(1, b"x" * 196_609, SYN), "longer than 196608 bytes"),
    "more than a window": (header(DATA, SYN, 1, FIRST_WINDOW + 1), "into a window of 262144"),
    "drain": (data(1, line(type="drain"), SYN), "began with drain instead of a hello"),
    "the end": (data(1, b"", SYN | FIN), "the peer ended the session"),
    "a reset": (window(1, 0, SYN) + window(1, 0, RST), "the peer ended the session"),
}


@pytest.mark.parametrize("said", BEFORE_THE_HELLO)
def test_who_lies_instead_of_a_greeting_is_refused(attacked: Target, said: str) -> None:
    wire, words = BEFORE_THE_HELLO[said]
    with hostile_client(attacked.place, "office", greets=False) as peer:
        peer.say(wire)
        if words is None:
            peer.until(lambda said: (said.kind, said.flags, said.stream) == (WINDOW, RST, 3))
            peer.assert_alive()
            return
        for _ in peer.frames():
            pass
        assert words in attacked.reason(peer, "client_refused")


def test_a_liar_that_comes_again_and_again_writes_two_lines_each_time(attacked: Target) -> None:
    mark, addresses = attacked.gateway.mark, set()
    for _ in range(5):
        with hostile_client(attacked.place, "office") as peer:
            peer.say(header(9, 0, 0, 0))
            assert list(peer.frames())
            attacked.reason(peer)
            addresses.add(peer.address)
    lines = attacked.gateway.lines[mark:]
    events = [entry["event"] for entry in lines if entry.get("address") in addresses]
    assert events == ["client_connected", "client_disconnected"] * 5
