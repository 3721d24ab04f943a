"""What an owner says to a socket itself comes before all that comes on the stream, and is no part of it."""

from __future__ import annotations

import pytest

from tests.support.mux_pair import data_frame, window_frame
from tests.transport.pump.played import connect, stream_of
from tests.transport.world import RecordingOwner, World, turn_until
from transport.pump.relay import Relay
from transport.wire.frames import ACK

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]


class Host(RecordingOwner):
    """Asks everybody in who is accepted."""

    def acknowledged(self, relay: Relay) -> None:
        super().acknowledged(relay)
        relay.say(b"come in")


async def test_a_visitor_that_is_peeked_at_can_be_asked_and_answers(site: World) -> None:
    site.door.on_connected = lambda relay: relay.peek()
    visitor = await site.visit()
    relay = await site.door.until("connected")

    relay.say(b"who is there? ")
    await visitor.send(b"me")
    await site.door.until("peeked")
    relay.say(b"where to? ")

    assert await visitor.receive_exactly(24) == b"who is there? where to? "
    assert relay.early == b"me"
    assert relay.bytes_written == 0


async def test_what_is_said_when_the_far_side_accepts_comes_before_its_first_byte() -> None:
    relay = Relay(Host())
    connection, link = connect(relay)
    relay.open(link.as_link(), b"header")

    link.end.receive(data_frame(stream_of(relay).id, b"220 ready", ACK))

    assert connection.written == [b"come in", b"220 ready"]
    assert relay.bytes_written == len(b"220 ready")


async def test_what_is_said_to_a_slow_socket_owes_the_stream_nothing() -> None:
    relay = Relay(RecordingOwner())
    connection, link = connect(relay)
    relay.open(link.as_link(), b"header")
    connection.is_full = True
    link.end.receive(window_frame(stream_of(relay).id, 0, ACK))

    relay.say(b"come in")
    link.end.receive(data_frame(stream_of(relay).id, b"220 ready"))

    assert link.held.size == len(b"come in220 ready")
    link.end.written()
    connection.drain()
    assert connection.written == [b"come in", b"220 ready"]
    assert link.held.size == 0


async def test_nothing_is_said_to_a_socket_that_is_gone(site: World) -> None:
    site.door.on_connected = lambda relay: relay.peek()
    visitor = await site.visit()
    relay = await site.door.until("connected")
    visitor.reset()
    relay.abort()

    relay.say(b"too late")

    await turn_until(lambda: relay in site.door.ends)
