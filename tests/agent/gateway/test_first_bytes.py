"""What a connection to the control port is, and whose, by bytes that stay where they are."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import anyio
import pytest

from agent.gateway.first_bytes import Arrival, OnlyLookedError, Opening
from agent.gateway.forwarders import Forwarders, NotProxiedError
from schemas.networks import parse_network
from tests.support.hellos import ALPN, build_hello, in_records, message_of, vector
from tests.support.peers import Peer
from tests.support.tls_peers import client_hello
from transport.wire.proxy_protocol import Endpoint, build_v1, build_v2

pytestmark = pytest.mark.anyio

Build: TypeAlias = Callable[[Endpoint | None, Endpoint | None], bytes]

NOBODY = Forwarders()
LOOPBACK = Forwarders((parse_network("127.0.0.0/8"),))
VISITOR, GATEWAY = Endpoint("192.0.2.7", 50_000), Endpoint("198.51.100.1", 9056)
BROWSER = build_hello([(ALPN, vector(2, b"\x02h2\x08http/1.1"))])
REQUEST = b"GET /tunnel HTTP/1.1\r\n"


both_versions = pytest.mark.parametrize("build", [build_v1, build_v2])


class Meeting:
    """A connection that came from loopback, and its other end."""

    def __init__(self, accepted: socket.socket, peer: Peer) -> None:
        self.arrival = Arrival(accepted, accepted.getpeername())
        self.peer = peer

    async def is_left(self, data: bytes) -> bool:
        """Whether exactly that is still to be read from the connection, to its end."""
        self.peer.end()
        return await Peer(self.arrival.connection).receive_all() == data


@contextmanager
def connected() -> Iterator[Meeting]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as other,
        listening.accept()[0] as accepted,
    ):
        accepted.setblocking(False)
        yield Meeting(accepted, Peer(other))


@pytest.fixture
async def meeting() -> AsyncIterator[Meeting]:
    with connected() as made:
        yield made


OPENINGS = {
    "a native client": (client_hello(), Opening.NATIVE),
    "one that offers more": (
        build_hello([(ALPN, vector(2, b"\x08http/1.1\x0atidegate/1"))]),
        Opening.NATIVE,
    ),
    "a browser": (BROWSER, Opening.TLS),
    "a TLS client without protocols": (build_hello([]), Opening.TLS),
    "a browser in many records": (in_records(message_of(BROWSER), 7), Opening.TLS),
    "a request": (REQUEST, Opening.HTTP),
    "another method": (b"OPTIONS * HTTP/1.1\r\n", Opening.HTTP),
    "zeros": (bytes(100), Opening.NATIVE),
    "a damaged hello": (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", Opening.NATIVE),
    "a PROXY v2 header from a stranger": (build_v2(VISITOR, GATEWAY), Opening.NATIVE),
    "a PROXY v1 header from a stranger": (build_v1(VISITOR, GATEWAY), Opening.HTTP),
}


@pytest.mark.parametrize(("data", "opening"), OPENINGS.values(), ids=OPENINGS.keys())
async def test_the_first_bytes_say_what_comes_and_stay(
    data: bytes, opening: Opening, meeting: Meeting
) -> None:
    """And nobody who is not named is believed a word."""
    await meeting.peer.send(data)

    assert await meeting.arrival.look(NOBODY) is opening
    assert await meeting.is_left(data)
    assert meeting.arrival.stated is None
    assert meeting.arrival.name == meeting.peer.address


@pytest.mark.parametrize(("data", "opening"), OPENINGS.values(), ids=OPENINGS.keys())
async def test_it_is_the_same_however_slowly_they_come(
    data: bytes, opening: Opening, meeting: Meeting
) -> None:
    async def trickle() -> None:
        for byte in data[:300]:
            await meeting.peer.send(bytes([byte]))
            await anyio.lowlevel.checkpoint()
        await meeting.peer.send(data[300:])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trickle)
        assert await meeting.arrival.look(NOBODY) is opening
    assert await meeting.is_left(data)


async def test_half_a_hello_is_looked_at_again_only_when_enough_has_come(meeting: Meeting) -> None:
    """Who sent it does not keep the gateway busy, and whoever reads next is woken by every byte again."""
    looks = 0

    class Counting(socket.socket):
        def recv(self, size: int, flags: int = 0, /) -> bytes:
            nonlocal looks
            looks += 1
            return super().recv(size, flags)

    with Counting(fileno=meeting.arrival.connection.detach()) as connection:
        arrival = Arrival(connection, connection.getpeername())
        await meeting.peer.send(BROWSER[:-1])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(arrival.look, NOBODY)
            for _ in range(200):
                await anyio.lowlevel.checkpoint()
            assert looks <= 2
            await meeting.peer.send(BROWSER[-1:])
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize("data", [b"", client_hello()[:100], b"\x16"], ids=["nothing", "half", "a byte"])
async def test_what_ends_too_early_is_left_to_the_handshake(data: bytes, meeting: Meeting) -> None:
    """It says in its own words what is wrong."""
    await meeting.peer.send(data)
    meeting.peer.end()

    assert await meeting.arrival.look(NOBODY) is Opening.NATIVE


@pytest.mark.parametrize(
    "behind", [client_hello(), BROWSER, REQUEST], ids=["a client", "a browser", "a request"]
)
@both_versions
async def test_of_a_balancer_the_header_is_taken_and_not_a_byte_more(
    build: Build, behind: bytes, meeting: Meeting
) -> None:
    await meeting.peer.send(build(VISITOR, GATEWAY) + behind)

    await meeting.arrival.look(LOOPBACK)

    assert await meeting.is_left(behind)
    assert meeting.arrival.stated == ("192.0.2.7", 50_000)
    assert (meeting.arrival.host, meeting.arrival.name) == ("192.0.2.7", "192.0.2.7:50000")


@both_versions
async def test_a_header_may_come_byte_by_byte(build: Build, meeting: Meeting) -> None:
    async def trickle() -> None:
        for byte in build(VISITOR, GATEWAY) + REQUEST:
            await meeting.peer.send(bytes([byte]))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trickle)
        assert await meeting.arrival.look(LOOPBACK) is Opening.HTTP
    assert await meeting.is_left(REQUEST)
    assert meeting.arrival.host == "192.0.2.7"


@both_versions
async def test_a_header_that_names_nobody_leaves_the_address_of_the_connection(
    build: Build, meeting: Meeting
) -> None:
    """LOCAL and UNKNOWN: the balancer itself looks whether we are there."""
    await meeting.peer.send(build(None, None) + client_hello())

    assert await meeting.arrival.look(LOOPBACK) is Opening.NATIVE
    assert meeting.arrival.stated is None
    assert meeting.arrival.name == meeting.peer.address


@both_versions
@pytest.mark.parametrize("source", [None, Endpoint("127.0.0.1", 50_000)], ids=["nobody", "itself"])
@pytest.mark.parametrize("resets", [False, True])
async def test_a_health_check_is_told_from_everything_else(
    build: Build, source: Endpoint | None, resets: bool, meeting: Meeting
) -> None:
    """It names nobody, or, in version 1 of HAProxy, the balancer itself; and then it is over."""
    await meeting.peer.send(build(source, source and GATEWAY))
    meeting.peer.reset() if resets else meeting.peer.end()

    with pytest.raises(OnlyLookedError):
        await meeting.arrival.look(LOOPBACK)


async def test_a_second_header_is_none(meeting: Meeting) -> None:
    """It is what the client sent, who is not believed."""
    forged = build_v2(Endpoint("203.0.113.1", 1), GATEWAY)
    await meeting.peer.send(build_v2(VISITOR, GATEWAY) + forged)

    assert await meeting.arrival.look(LOOPBACK) is Opening.NATIVE
    assert await meeting.is_left(forged)
    assert meeting.arrival.host == "192.0.2.7"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (client_hello(), "sent no PROXY header"),
        (bytes(100), "sent no PROXY header"),
        (b"PROXY TCP4 nonsense\r\n", "sent a bad PROXY header"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c", "sent a bad PROXY header"),
    ],
    ids=["a client", "zeros", "version 1", "version 2"],
)
async def test_a_balancer_without_a_good_header_is_told_of(
    data: bytes, reason: str, meeting: Meeting
) -> None:
    await meeting.peer.send(data)

    with pytest.raises(NotProxiedError) as caught:
        await meeting.arrival.look(LOOPBACK)

    assert str(caught.value).startswith("127.0.0.1 is in accept_proxy_protocol and ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"PROXY TCP4 192.0.2.7", build_v2(VISITOR, GATEWAY)[:20]],
    ids=["nothing", "version 1", "version 2"],
)
async def test_half_a_header_and_an_end_is_told_of(data: bytes, meeting: Meeting) -> None:
    await meeting.peer.send(data)
    meeting.peer.end()

    with pytest.raises(NotProxiedError, match="left before it had sent a PROXY header"):
        await meeting.arrival.look(LOOPBACK)


@pytest.mark.parametrize("data", [BROWSER, REQUEST], ids=["a browser", "a request"])
async def test_a_reverse_proxy_may_say_it_in_the_request_instead(data: bytes, meeting: Meeting) -> None:
    await meeting.peer.send(data)
    await meeting.arrival.look(LOOPBACK)

    meeting.arrival.forwarded(("192.0.2.7",), LOOPBACK)

    assert meeting.arrival.stated == ("192.0.2.7", 0)
    assert meeting.arrival.name == "192.0.2.7"


@pytest.mark.parametrize("names", [(), ("unknown",), ("192.0.2.7", "unknown")])
async def test_one_that_says_it_nowhere_is_told_of(names: tuple[str, ...], meeting: Meeting) -> None:
    await meeting.peer.send(REQUEST)
    await meeting.arrival.look(LOOPBACK)

    with pytest.raises(NotProxiedError, match="have the reverse proxy set X-Forwarded-For"):
        meeting.arrival.forwarded(names, LOOPBACK)


async def test_nobody_else_is_believed_what_he_writes_into_his_request(meeting: Meeting) -> None:
    """Neither a stranger, nor a client behind a balancer that has said who it is."""
    await meeting.peer.send(build_v1(VISITOR, GATEWAY) + REQUEST)
    await meeting.arrival.look(LOOPBACK)

    meeting.arrival.forwarded(("203.0.113.1",), LOOPBACK)
    assert meeting.arrival.host == "192.0.2.7"

    with connected() as stranger:
        await stranger.peer.send(REQUEST)
        await stranger.arrival.look(NOBODY)
        stranger.arrival.forwarded(("203.0.113.1",), NOBODY)
        assert stranger.arrival.stated is None
