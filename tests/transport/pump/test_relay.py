"""What a visitor sends is what the service gets, and back; and each way of ending crosses as itself."""

from __future__ import annotations

import gc
import random
import socket
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import anyio
import pytest

from schemas.messages import FailureCode
from tests.support.mux_pair import Frame, data_frame, frames_in, window_frame
from tests.transport.pump.played import Fake, FakeLink, FakeSocket, connect, stream_of
from tests.transport.world import PATIENCE, Plain, RecordingOwner, World, both, loop_turns, turn_until, world
from transport.offer import Offer
from transport.pump import relay as relay_module
from transport.pump.held import Held
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import dial_tcp
from transport.session import Session
from transport.wire.errors import LocalProtocolError
from transport.wire.frames import ACK, FIN, RST, SYN, FrameType
from transport.wire.open_header import OpenHeader
from transport.wire.window import INITIAL_WINDOW

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]

MIB: Final = 1024 * 1024


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def gone(site: World) -> tuple[RelayEnd, RelayEnd]:
    """How the visitor's relay ended, and the service's."""
    await site.door.until("ended")
    await site.back.until("ended")
    (at_the_door,) = site.door.ends.values()
    (at_the_back,) = site.back.ends.values()
    assert site.gateway.link.mux.streams.keys() == site.client.link.mux.streams.keys() == {1}
    return at_the_door, at_the_back


# Bytes


async def test_bytes_cross_both_ways_and_are_counted(site: World) -> None:
    visitor, service = await site.meet()
    await visitor.send(b"question")
    assert await service.receive_exactly(8) == b"question"
    await service.send(b"the answer")
    assert await visitor.receive_exactly(10) == b"the answer"
    (door,), (back,) = site.door.relays(), site.back.relays()

    assert (door.bytes_read, door.bytes_written) == (8, 10)
    assert (back.bytes_read, back.bytes_written) == (10, 8)


async def test_the_service_learns_where_the_visitor_came_from(site: World) -> None:
    visitor, _service = await site.meet()
    header = site.client_handler.offers[0].header

    assert isinstance(header, OpenHeader)
    assert (header.source.host, header.source.port) == visitor.address
    assert (header.destination.host, header.destination.port) == site.public


async def test_a_prologue_goes_first_to_the_service_and_is_not_counted(site: World) -> None:
    site.prologue = b"PROXY UNKNOWN\r\n"
    visitor, service = await site.meet()
    await visitor.send(b"hello")

    assert await service.receive_exactly(20) == b"PROXY UNKNOWN\r\nhello"
    assert site.back.relays()[0].bytes_written == 5


@pytest.mark.parametrize("receive_buffer", [None, 4096])
async def test_large_transfers_cross_both_ways_at_once(site: World, receive_buffer: int | None) -> None:
    upload, download = noise(8 * MIB), noise(8 * MIB, seed=2)
    visitor, service = await site.meet(receive_buffer=receive_buffer)

    async def side(plain: Plain, says: bytes) -> bytes:
        async def talk() -> None:
            await plain.send(says)
            plain.end()

        _, heard = await both(talk, plain.receive_all)
        return sha256(heard).digest()

    heard_by_service, heard_by_visitor = await both(
        lambda: side(service, download), lambda: side(visitor, upload)
    )
    assert heard_by_service == sha256(upload).digest()
    assert heard_by_visitor == sha256(download).digest()
    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)


async def test_many_visitors_at_once_each_get_their_own_bytes(site: World) -> None:
    async def serve() -> None:
        for _ in range(40):
            tasks.start_soon(echo, await site.service.accept())

    async def echo(service: Plain) -> None:
        await service.send(await service.receive_all())
        service.close()

    async def visit(number: int) -> None:
        visitor = await site.visit()
        said = noise(200_000, seed=number)

        async def talk() -> None:
            await visitor.send(said)
            visitor.end()

        _, heard = await both(talk, visitor.receive_all)
        assert heard == said
        visitor.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        for number in range(40):
            tasks.start_soon(visit, number)
    await site.door.until_all_ended()
    await site.back.until_all_ended()

    assert set(site.door.ends.values()) == set(site.back.ends.values()) == {RelayEnd.DONE}
    assert len(site.door.ends) == len(site.back.ends) == 40


# Ends


async def test_an_upload_that_ends_is_answered_afterwards(site: World) -> None:
    visitor, service = await site.meet()
    await visitor.send(b"upload")
    visitor.end()
    assert await service.receive_all() == b"upload"
    await service.send(b"thanks")
    assert await visitor.receive_exactly(6) == b"thanks"
    service.close()
    assert await visitor.receive_all() == b""

    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)
    assert site.door.names(site.door.relays()[0]) == ["connected", "acknowledged", "half_closed", "ended"]
    assert site.back.names(site.back.relays()[0]) == ["connected", "half_closed", "ended"]


async def test_a_service_that_has_said_all_still_listens(site: World) -> None:
    visitor, service = await site.meet()
    await service.send(b"banner")
    service.end()
    assert await visitor.receive_all() == b"banner"
    await visitor.send(b"late words")
    assert await service.receive_exactly(10) == b"late words"
    visitor.close()
    assert await service.receive_all() == b""

    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)


async def test_an_answer_that_ends_by_closing_arrives_whole(site: World) -> None:
    """The visitor reads slowly, so that the end waits behind what is buffered everywhere."""
    answer = noise(3 * MIB)
    visitor, service = await site.meet(receive_buffer=4096)

    async def serve() -> None:
        await service.send(answer)
        service.close()

    _, heard = await both(serve, visitor.receive_all)
    assert sha256(heard).digest() == sha256(answer).digest()
    visitor.close()
    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)


async def test_a_reset_by_the_visitor_reaches_the_service_as_a_reset(site: World) -> None:
    visitor, service = await site.meet()
    visitor.reset()

    assert await service.is_reset()
    assert await gone(site) == (RelayEnd.SOCKET_LOST, RelayEnd.STREAM_RESET)
    service.close()


async def test_a_reset_by_the_service_reaches_the_visitor_as_a_reset(site: World) -> None:
    visitor, service = await site.meet()
    service.reset()

    assert await visitor.is_reset()
    assert await gone(site) == (RelayEnd.STREAM_RESET, RelayEnd.SOCKET_LOST)
    visitor.close()


@pytest.mark.parametrize("half_closed", ["visitor", "service"])
async def test_a_reset_behind_a_half_close_is_still_a_reset(site: World, half_closed: str) -> None:
    visitor, service = await site.meet()
    if half_closed == "visitor":
        visitor.end()
        assert await service.receive_all() == b""
    else:
        service.end()
        assert await visitor.receive_all() == b""
    service.reset() if half_closed == "visitor" else visitor.reset()

    assert await (visitor if half_closed == "visitor" else service).is_reset()
    assert sorted(end.name for end in await gone(site)) == ["SOCKET_LOST", "STREAM_RESET"]


async def test_an_abort_on_either_side_resets_both(site: World) -> None:
    visitor, service = await site.meet()
    (door,) = site.door.relays()
    door.abort()
    door.abort()

    assert await both(visitor.is_reset, service.is_reset) == (True, True)
    assert await gone(site) == (RelayEnd.ABORTED, RelayEnd.STREAM_RESET)
    door.abort()  # of a socket that is gone, and whose descriptor may be another's


@pytest.mark.parametrize("ending", ["lost", "closed", "aborted"])
async def test_a_link_that_is_lost_resets_every_visitor_and_service_once(site: World, ending: str) -> None:
    meetings = [await site.meet() for _ in range(30)]
    for visitor, service in meetings[:10]:
        visitor.end()
        assert await service.receive_all() == b""
    link = site.client.link
    if ending == "lost":
        with link._transport.get_extra_info("socket").dup() as connection:
            connection.shutdown(socket.SHUT_RDWR)
    elif ending == "closed":
        link.close()
    else:
        link.abort()
    for number, (visitor, service) in enumerate(meetings):
        assert await visitor.is_reset()
        if number >= 10:  # who has read the end of file already is told no more by recv
            assert await service.is_reset()
    await site.door.until_all_ended()
    await site.back.until_all_ended()
    await loop_turns()

    assert len(site.door.ends) == len(site.back.ends) == 30
    assert set(site.door.ends.values()) == set(site.back.ends.values()) == {RelayEnd.STREAM_RESET}


# Opening


async def test_what_the_visitor_sends_while_the_stream_opens_is_kept(site: World) -> None:
    lead = site.client_handler.on_offered
    site.client_handler.on_offered = lambda session, offer: None
    visitor = await site.visit()
    said = noise(MIB)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(visitor.send, said)
        await site.client_handler.bell.until(lambda: site.client_handler.offers)
        await loop_turns(100)
        (door,) = site.door.relays()
        assert door.is_opening
        assert door.bytes_read <= INITIAL_WINDOW
        lead(site.client, site.client_handler.offers[0])
        service = await site.service.accept()
        assert await service.receive_exactly(MIB) == said


async def test_a_visitor_that_resets_while_the_stream_opens_takes_the_offer_back(site: World) -> None:
    site.client_handler.on_offered = lambda session, offer: None
    visitor = await site.visit()
    await site.client_handler.bell.until(lambda: site.client_handler.offers)
    (offer,) = site.client_handler.offers
    offer.on_reset = site.client_handler.bell.ring
    visitor.reset()
    await site.client_handler.bell.until(lambda: offer.stream.is_closed)
    await site.door.until("ended")

    assert list(site.door.ends.values()) == [RelayEnd.SOCKET_LOST]
    relay = await dial_tcp(*site.service.address, site.back)
    offer.join(relay, site.client.link, b"")
    service = await site.service.accept()
    assert await service.is_reset()
    service.close()


async def test_a_visitor_that_ends_while_the_stream_opens_is_served(site: World) -> None:
    lead = site.client_handler.on_offered
    site.client_handler.on_offered = lambda session, offer: None
    visitor = await site.visit()
    await visitor.send(b"one shot")
    visitor.end()
    await site.client_handler.bell.until(lambda: site.client_handler.offers)
    await loop_turns()
    lead(site.client, site.client_handler.offers[0])
    service = await site.service.accept()
    assert await service.receive_all() == b"one shot"
    await service.send(b"hit")
    service.close()

    assert await visitor.receive_all() == b"hit"
    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)
    visitor.close()


async def test_a_service_that_speaks_before_its_relay_is_joined_is_heard(site: World) -> None:
    """uvloop reads what it likes before anyone asked it to."""
    joined: list[Callable[[], None]] = []

    async def dial(session: Session, offer: Offer) -> None:
        relay = await dial_tcp(*site.service.address, site.back)
        joined.append(lambda: offer.join(relay, session.link, b""))
        site.back.bell.ring()

    site.client_handler.on_offered = lambda session, offer: site.start(dial, session, offer)
    visitor = await site.visit()
    service = await site.service.accept()
    banner = noise(MIB)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.send, banner)
        await site.back.bell.until(lambda: joined)
        await loop_turns(100)
        assert len(site.back.relays()[0].early) <= len(relay_module._READ)
        joined[0]()
        assert await visitor.receive_exactly(MIB) == banner

    assert site.back.relays()[0].bytes_read == MIB


async def test_a_service_that_speaks_and_leaves_before_its_relay_is_joined_is_heard(site: World) -> None:
    joined: list[Callable[[], None]] = []

    async def dial(session: Session, offer: Offer) -> None:
        relay = await dial_tcp(*site.service.address, site.back)
        joined.append(lambda: offer.join(relay, session.link, b""))
        site.back.bell.ring()

    site.client_handler.on_offered = lambda session, offer: site.start(dial, session, offer)
    visitor = await site.visit()
    service = await site.service.accept()
    await service.send(b"220 too busy, bye\r\n")
    service.end()
    await site.back.bell.until(lambda: joined)
    await loop_turns(100)
    joined[0]()

    assert await visitor.receive_all() == b"220 too busy, bye\r\n"
    visitor.close()
    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)
    service.close()


async def test_joining_a_socket_that_has_died_resets_the_stream(site: World) -> None:
    dialed: list[Relay] = []

    async def dial() -> None:
        dialed.append(await dial_tcp(*site.service.address, site.back))
        dialed[0].peek()  # or nobody reads, and nobody notices
        site.back.bell.ring()

    site.client_handler.on_offered = lambda session, offer: site.start(dial)
    visitor = await site.visit()
    service = await site.service.accept()
    await site.back.bell.until(lambda: dialed)
    service.reset()
    await site.back.until("ended")
    site.client_handler.offers[0].join(dialed[0], site.client.link, b"PROXY UNKNOWN\r\n")

    assert await visitor.is_reset()
    assert site.door.names(site.door.relays()[0]) == ["connected", "refused", "ended"]
    visitor.close()


async def test_a_socket_that_has_died_opens_no_stream(site: World) -> None:
    site.door.on_connected = Relay.peek
    visitor = await site.visit()
    relay = await site.door.until("connected")
    visitor.reset()
    await site.door.until("ended")
    with pytest.raises(LocalProtocolError):
        relay.open(site.gateway.link, b"header")

    assert relay.stream is None
    assert site.gateway.link.mux.streams.keys() == {1}


async def test_a_socket_without_a_session_opens_no_stream_and_can_still_be_refused(site: World) -> None:
    site.gateway.close("gone")
    site.door.on_connected = lambda relay: None
    visitor = await site.visit()
    relay = await site.door.until("connected")
    with pytest.raises(LocalProtocolError):
        relay.open(site.gateway.link, b"header")
    relay.refuse(b"nobody is home")

    assert await visitor.receive_all() == b"nobody is home"
    visitor.close()
    await site.door.until("ended")
    assert list(site.door.ends.values()) == [RelayEnd.ABORTED]


# Peeking


async def test_what_is_peeked_at_goes_first_into_the_stream(site: World) -> None:
    lead = site.door.on_connected
    site.door.on_connected = Relay.peek
    site.door.on_peeked = lambda relay: lead(relay) if b"\n" in relay.early else None
    visitor = await site.visit()
    await visitor.send(b"GET ")
    await site.door.until("peeked")
    await visitor.send(b"/\n")
    service = await site.service.accept()
    await visitor.send(b"body")

    assert await service.receive_exactly(10) == b"GET /\nbody"
    assert site.door.relays()[0].bytes_read == 10
    assert site.door.relays()[0].early == b""


async def test_the_end_of_what_is_peeked_at_is_seen(site: World) -> None:
    lead = site.door.on_connected
    site.door.on_connected = Relay.peek
    site.door.on_peeked = lambda relay: lead(relay) if relay.socket_ended else None
    visitor = await site.visit()
    await visitor.send(b"all")
    visitor.end()
    service = await site.service.accept()

    assert await service.receive_all() == b"all"
    await service.send(b"right")
    service.close()
    assert await visitor.receive_all() == b"right"
    visitor.close()
    assert await gone(site) == (RelayEnd.DONE, RelayEnd.DONE)


async def test_who_decides_late_finds_what_came_meanwhile(site: World) -> None:
    """And no more of it than one read, on either loop."""
    site.door.on_connected = lambda relay: None
    visitor = await site.visit()
    said = noise(MIB)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(visitor.send, said)
        relay = await site.door.until("connected")
        await loop_turns(100)
        assert len(relay.early) <= len(relay_module._READ)
        relay.peek()
        await site.door.until("peeked")
        site.lead(relay)
        service = await site.service.accept()
        assert await service.receive_exactly(MIB) == said


async def test_who_decides_late_finds_the_end_that_came_meanwhile(site: World) -> None:
    site.door.on_connected = lambda relay: None
    visitor = await site.visit()
    await visitor.send(b"all")
    visitor.end()
    relay = await site.door.until("connected")
    await loop_turns(50)
    relay.peek()
    await site.door.bell.until(lambda: relay.socket_ended)
    assert relay.early == b"all"
    site.lead(relay)
    service = await site.service.accept()

    assert await service.receive_all() == b"all"


# Refusing

ANSWER: Final = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n" + noise(20_000)


async def test_a_visitor_that_still_sends_can_read_the_whole_answer(site: World) -> None:
    site.door.on_connected = Relay.peek
    site.door.on_peeked = lambda relay: relay.refuse(ANSWER)
    visitor = await site.visit()
    await visitor.send(bytes(2 * MIB))

    assert await visitor.receive_all() == ANSWER
    visitor.close()
    await site.door.until("ended")
    assert list(site.door.ends.values()) == [RelayEnd.ABORTED]


async def test_a_visitor_that_reads_the_answer_and_stays_is_cut_off(
    site: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_REFUSAL_LINGER", 0.05)
    site.door.on_connected = Relay.peek
    site.door.on_peeked = lambda relay: relay.refuse(ANSWER)
    visitor = await site.visit()
    await visitor.send(b"hello")
    assert await visitor.receive_all() == ANSWER
    await site.door.until("ended")

    with anyio.fail_after(PATIENCE), pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 - one write is not enough
        while True:
            await visitor.send(b"still here")
            await loop_turns(1)
    visitor.close()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_visitor_that_never_reads_its_answer_is_cut_off(
    site: World, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr(relay_module, "_REFUSAL_LINGER", 0.05)
    site.door.on_connected = Relay.peek
    site.door.on_peeked = lambda relay: (
        relay.refuse(bytes(16 * MIB)) if relay.socket_ended or not ended else None
    )
    visitor = await site.visit(receive_buffer=4096)
    await visitor.send(b"hello")
    if ended:
        visitor.end()
    await site.door.until("ended")

    assert list(site.door.ends.values()) == [RelayEnd.ABORTED]
    visitor.close()


async def test_a_refusal_without_an_answer_closes_at_once(site: World) -> None:
    site.door.on_connected = lambda relay: relay.refuse(b"")
    visitor = await site.visit()

    assert await visitor.receive_all() == b""
    await site.door.until("ended")
    visitor.close()


async def test_a_visitor_whose_stream_is_refused_can_be_told_why(site: World) -> None:
    site.door.on_refused = lambda relay: relay.refuse(b"the service is down")
    site.client_handler.on_offered = lambda session, offer: session.fail_stream(
        offer.stream, FailureCode.SERVICE_DOWN, "nothing listens there"
    )
    visitor = await site.visit()
    await visitor.send(b"hello")

    assert await visitor.receive_all() == b"the service is down"
    visitor.close()
    await site.door.until("ended")
    assert site.door.names(site.door.relays()[0]) == ["connected", "refused", "ended"]


async def test_a_stream_that_is_still_opening_can_be_given_up(site: World) -> None:
    site.client_handler.on_offered = lambda session, offer: None
    visitor = await site.visit()
    await site.client_handler.bell.until(lambda: site.client_handler.offers)
    (relay,) = site.door.relays()
    relay.refuse(b"too slow")
    assert await visitor.receive_all() == b"too slow"
    await loop_turns()

    assert site.client_handler.offers[0].stream.is_closed
    visitor.close()
    await site.door.until("ended")


async def test_a_visitor_that_is_served_is_never_told_words_of_ours(site: World) -> None:
    visitor, service = await site.meet()
    await service.send(b"half an ans")
    assert await visitor.receive_exactly(11) == b"half an ans"
    site.door.relays()[0].refuse(b"HTTP/1.1 503 \r\n\r\n")

    assert await both(visitor.is_reset, service.is_reset) == (True, True)


async def test_refusing_twice_or_too_late_does_nothing(site: World) -> None:
    def refuse_twice(relay: Relay) -> None:
        relay.refuse(b"no")
        relay.refuse(b"never")

    site.door.on_connected = refuse_twice
    visitor = await site.visit()
    assert await visitor.receive_all() == b"no"
    visitor.close()
    relay = await site.door.until("ended")
    relay.refuse(b"late")
    relay.abort()

    assert list(site.door.ends.values()) == [RelayEnd.ABORTED]


# Backpressure


def forbid_empty_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop takes an empty buffer for a broken protocol."""
    get_buffer = Relay.get_buffer

    def checked(self: Relay, sizehint: int) -> memoryview:
        buffer = get_buffer(self, sizehint)
        assert len(buffer) > 0
        return buffer

    monkeypatch.setattr(Relay, "get_buffer", checked)


def is_stuck(near: Relay, far: Relay) -> bool:
    """The one has no credit left, and all that it sent has come to the other, whose socket takes no more."""
    return stream_of(near).send_credit == 0 and near.bytes_read == far.bytes_written and far._owed > 0


@pytest.mark.parametrize("silent", ["service", "visitor"])
async def test_who_never_reads_stops_the_sender_and_costs_a_window(
    tls_engine: str, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    """Then it reads after all, and gets everything, and the end that was said meanwhile."""
    forbid_empty_buffers(monkeypatch)
    async with world(service_receive_buffer=4096) as site:
        visitor, service = await site.meet(receive_buffer=4096)
        talker, listener = (visitor, service) if silent == "service" else (service, visitor)
        (near,) = (site.door if silent == "service" else site.back).relays()
        (far,) = (site.back if silent == "service" else site.door).relays()
        said = noise(24 * MIB)
        sent = await talker.send_until(lambda: is_stuck(near, far), said)
        window = stream_of(far)._receive_window
        buffered = far._transport.get_write_buffer_size()
        assert not near._reading
        assert 0 < buffered <= far._owed <= INITIAL_WINDOW
        assert window.remaining + window.owed + far._owed == INITIAL_WINDOW

        async def talk() -> None:
            await talker.send(said[sent:])
            talker.end()

        _, heard = await both(talk, listener.receive_all)
        assert sha256(heard).digest() == sha256(said).digest()
        assert far._owed == 0
        visitor.close()
        service.close()


async def test_a_visitor_that_never_reads_holds_up_nobody_else(site: World) -> None:
    _lazy, lazy_service = await site.meet(receive_buffer=4096)
    (near,), (far,) = site.back.relays(), site.door.relays()
    await lazy_service.send_until(lambda: is_stuck(near, far), bytes(24 * MIB))
    visitor, service = await site.meet()
    said = noise(4 * MIB)
    _, heard = await both(lambda: service.send(said), lambda: visitor.receive_exactly(len(said)))

    assert heard == said


async def test_who_never_reads_gives_way_where_too_much_is_held_and_who_reads_does_not(site: World) -> None:
    """Both sides of the one that gives way see a reset, never an end."""
    site.gateway.link.held = held = Held(24 * MIB)
    lazy, lazy_service = await site.meet(receive_buffer=4096)
    (near,), (far,) = site.back.relays(), site.door.relays()
    await lazy_service.send_until(lambda: is_stuck(near, far), bytes(24 * MIB))
    held._limit = INITIAL_WINDOW + 10_000  # enough for one of them
    other, other_service = await site.meet(receive_buffer=4096)
    (_, near), (_, far) = site.back.relays(), site.door.relays()
    said = noise(24 * MIB)
    sent = await other_service.send_until(lambda: is_stuck(near, far), said)
    await site.door.until("ended")
    assert list(site.door.ends.values()) == [RelayEnd.NOT_TAKEN]
    assert await lazy.is_reset()
    assert await lazy_service.is_reset()
    _, heard = await both(lambda: other_service.send(said[sent:]), lambda: other.receive_exactly(len(said)))

    assert heard == said
    assert held.size == 0


async def test_an_end_behind_a_full_window_arrives_once_there_is_room(site: World) -> None:
    """Reading is paused when the end comes, and the loop has to keep it."""
    visitor, service = await site.meet()
    site.back.relays()[0].pause_writing()  # nothing is taken, says the socket
    said = noise(INITIAL_WINDOW + 10_000)
    await visitor.send(said)
    visitor.end()
    (door,) = site.door.relays()
    stream = stream_of(door)
    await turn_until(lambda: not stream.send_credit)
    await loop_turns()
    sent = door.bytes_read
    assert INITIAL_WINDOW - 1_000 < sent < INITIAL_WINDOW  # the open header was in the window too
    assert not door.socket_ended
    assert await service.receive_exactly(sent) == said[:sent]
    site.back.relays()[0].resume_writing()

    assert await service.receive_all() == said[sent:]
    assert door.socket_ended


async def test_a_link_that_is_full_stops_every_visitor_and_goes_on_where_it_stopped(
    site: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_empty_buffers(monkeypatch)
    meetings = [await site.meet() for _ in range(60)]
    site.client.link._transport.pause_reading()
    said = [noise(INITIAL_WINDOW + 100_000, seed=number) for number in range(len(meetings))]
    doors = site.door.relays()

    async def upload(visitor: Plain, data: bytes) -> None:
        await visitor.send(data)
        visitor.end()

    async with anyio.create_task_group() as tasks:
        for (visitor, _), data in zip(meetings, said, strict=True):
            tasks.start_soon(upload, visitor, data)
        await turn_until(lambda: not any(door._reading and not door.socket_ended for door in doors))
        link = site.gateway.link
        assert link.is_paused
        # What is over the limit is at most a last sip of each.
        assert link.mux.output_size <= 256 * 1024 + 64 * 1024 + len(doors) * 1024 * 2

        site.client.link._transport.resume_reading()
        for (_, service), data in zip(meetings, said, strict=True):
            assert await service.receive_all() == data


async def test_visitors_who_come_while_the_link_is_full_wait_outside_it(site: World) -> None:
    """The session of all would end, were thousands of first words more than a link may have to say."""
    busy, _ = await site.meet()
    link, lead = site.gateway.link, site.lead
    stream_of(site.back.relays()[0])._receive_window.grow(16 * MIB)
    stream_of(site.door.relays()[0]).send_window.grant(16 * MIB)
    site.client.link._transport.pause_reading()
    await busy.send_until(lambda: link.is_paused, bytes(64 * MIB))
    site.door.on_connected = Relay.peek
    site.door.on_peeked = lambda relay: lead(relay) if len(relay.early) >= 60_000 else None
    said = [noise(80_000, seed=number) for number in range(20)]
    visitors = [await site.visit() for _ in said]
    for visitor, data in zip(visitors, said, strict=True):
        await visitor.send(data[:60_000])
    await turn_until(lambda: sum(relay.stream is not None for relay in site.door.relays()) == 1 + len(said))
    assert link.mux.output_size < len(said) * 1024

    site.client.link._transport.resume_reading()
    for visitor, data in zip(visitors, said, strict=True):
        await visitor.send(data[60_000:])
        visitor.end()
    heard = [await (await site.service.accept()).receive_all() for _ in said]

    assert sorted(heard) == sorted(said)


# Sockets that die at the worst moment


async def test_an_end_for_a_visitor_that_has_reset_harms_nobody(site: World) -> None:
    """Its relay does not read, so nothing has told it; shutting down such a socket is an error."""
    visitor, service = await site.meet()
    other, other_service = await site.meet()
    site.door.relays()[0]._pause_reading()
    visitor.reset()
    service.end()
    await site.door.until("ended")

    await other.send(b"unharmed")
    assert await other_service.receive_exactly(8) == b"unharmed"
    assert await service.is_reset()


async def test_data_for_a_visitor_that_has_reset_harms_nobody(site: World) -> None:
    """Many frames in one turn, of which the first finds the socket dead."""
    visitor, _service = await site.meet()
    other, other_service = await site.meet()
    site.door.relays()[0]._pause_reading()
    stream = site.back.relays()[0].stream
    assert stream is not None
    visitor.reset()
    for _ in range(50):
        stream.send(b"x" * 100)
    await site.door.until("ended")

    await other.send(b"unharmed")
    assert await other_service.receive_exactly(8) == b"unharmed"


async def test_a_visitor_that_resets_behind_the_last_byte_is_lost_and_not_done(site: World) -> None:
    visitor, service = await site.meet(receive_buffer=4096)
    visitor.end()
    assert await service.receive_all() == b""
    (door,) = site.door.relays()
    door._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await service.send(bytes(200_000))
    service.close()
    await turn_until(lambda: stream_of(door).is_closed)
    assert door._transport.get_write_buffer_size() > 0
    visitor.reset()
    await site.door.until("ended")

    assert list(site.door.ends.values()) == [RelayEnd.SOCKET_LOST]


# Deadlines and progress


async def test_a_deadline_is_told_once_and_not_when_it_was_cleared(site: World) -> None:
    site.door.on_connected = Relay.peek
    visitor = await site.visit()
    relay = await site.door.until("connected")
    relay.set_deadline(0.001)
    relay.clear_deadline()
    relay.set_deadline(60)
    relay.set_deadline(0.01)
    await site.door.until("timed_out")
    await loop_turns()

    assert site.door.names(relay) == ["connected", "timed_out"]
    relay.set_deadline(60)
    visitor.reset()
    await site.door.until("ended")
    assert relay._deadline is None
    assert relay.progress == 0  # which may be asked of the dead too


# One relay on a socket that the test plays


async def test_no_more_is_read_than_there_is_credit_for(fake: Fake) -> None:
    relay, connection, link = fake
    stream = stream_of(relay)
    assert len(relay.get_buffer(-1)) == 64 * 1024
    stream.send(bytes(stream.send_credit - 100))
    assert len(relay.get_buffer(-1)) == 100
    relay.buffer_updated(100)
    assert connection.calls == ["pause"]
    link.end.receive(window_frame(stream.id, 7))

    assert connection.calls == ["pause", "resume"]
    assert len(relay.get_buffer(-1)) == 7


async def test_a_full_link_takes_one_last_sip_of_each_socket(fake: Fake) -> None:
    relay, connection, link = fake
    link.is_paused = True
    assert len(relay.get_buffer(-1)) == 1024
    relay.buffer_updated(1024)
    assert connection.calls == ["pause"]
    assert len(link.waiting) == 1
    link.is_paused = False
    link.waiting[0]()

    assert connection.calls == ["pause", "resume"]


async def test_who_has_gone_waits_for_no_room(fake: Fake) -> None:
    """A link may stand still for long, and visitors come and go meanwhile."""
    relay, _connection, link = fake
    link.is_paused = True
    relay.buffer_updated(1024)
    relay.connection_lost(None)

    assert link.waiting == []


@pytest.fixture
async def peeked() -> Fake:
    """A relay that has read something, and its end, and is not joined."""
    relay = Relay(RecordingOwner())
    connection, link = connect(relay)
    relay.peek()
    relay.get_buffer(-1)[:5] = b"hello"
    relay.buffer_updated(5)
    relay.eof_received()
    link.is_paused = True
    return relay, connection, link


def make_room(link: FakeLink) -> None:
    link.is_paused, waiting, link.waiting = False, link.waiting, []
    for callback in waiting:
        callback()


async def test_first_words_and_their_end_wait_for_a_full_link(peeked: Fake) -> None:
    relay, connection, link = peeked
    relay.open(link.as_link(), b"header")
    stream = stream_of(relay)
    assert link.end.written() == [Frame(FrameType.DATA, SYN, stream.id, 6, b"header")]
    link.end.receive(window_frame(stream.id, 0, ACK | FIN))
    assert "close" not in connection.calls
    make_room(link)

    assert link.end.written() == [
        Frame(FrameType.DATA, 0, stream.id, 5, b"hello"),
        Frame(FrameType.DATA, FIN, stream.id, 0),
    ]
    assert connection.calls[-1] == "close"
    assert relay.bytes_read == 5


async def test_first_words_of_a_stream_that_is_reset_while_the_link_is_full_are_dropped(peeked: Fake) -> None:
    relay, connection, link = peeked
    relay.open(link.as_link(), b"header")
    link.end.receive(window_frame(stream_of(relay).id, 0, ACK) + window_frame(stream_of(relay).id, 0, RST))
    link.end.written()
    make_room(link)

    assert link.end.written() == []
    assert connection.calls[-1] == "abort"


async def test_a_read_that_was_not_asked_for_pauses_again_and_loses_nothing() -> None:
    """As uvloop does it: it begins to read after connection_made, also when it was told not to."""
    relay, connection, link = Relay(RecordingOwner()), FakeSocket(), FakeLink()
    connection.protocol = relay
    link.is_paused = True
    relay.connection_made(connection)  # type: ignore[arg-type]  # what it needs of a transport
    relay.open(link.as_link(), b"header")
    assert connection.calls == ["pause"]
    relay.get_buffer(-1)[:5] = b"hello"
    relay.buffer_updated(5)

    assert connection.calls == ["pause", "pause"]
    assert frames_in(link.mux.take_output())[-1].payload == b"hello"


async def test_who_is_given_up_while_it_is_joined_does_nothing_more() -> None:
    """What came while it was dialed may be what is too much, and all that would follow is wrong then."""
    owner, connection, link = RecordingOwner(), FakeSocket(), FakeLink()
    relay = connection.protocol = Relay(owner)
    relay.connection_made(connection)  # type: ignore[arg-type]  # what it needs of a transport
    relay.get_buffer(-1)[:6] = b"banner"
    relay.buffer_updated(6)
    link.end.receive(data_frame(1, bytes(100), SYN))
    (stream,) = link.end.offered
    connection.is_full, link.held = True, Held(10)
    relay.join(link.as_link(), stream, prologue=b"", early=bytearray(100), ended=True)

    assert link.end.written() == [
        Frame(FrameType.WINDOW_UPDATE, ACK, stream.id, 0),
        Frame(FrameType.WINDOW_UPDATE, RST, stream.id, 0),
    ]
    assert connection.calls[-1] == "abort"
    relay.connection_lost(None)
    assert [what for what, _ in owner.told] == ["connected", "ended"]


async def test_credit_goes_back_when_the_socket_has_taken_the_bytes(fake: Fake) -> None:
    relay, connection, link = fake
    stream = stream_of(relay)
    connection.is_full = True
    chunk = memoryview(bytes(INITIAL_WINDOW // 2))
    stream._receive_window.receive(len(chunk))
    relay.data(chunk)
    assert link.end.written() == []
    connection.drain()

    assert link.end.written() == [Frame(FrameType.WINDOW_UPDATE, 0, stream.id, INITIAL_WINDOW // 2)]


async def test_progress_shows_bytes_taken_and_not_bytes_buffered(fake: Fake) -> None:
    relay, connection, _ = fake
    began = relay.progress
    connection.is_full = True
    relay.data(memoryview(bytes(1_000)))
    assert relay.progress == began
    connection.drain()
    assert relay.progress == began + 1_000
    relay.buffer_updated(10)

    assert relay.progress == began + 1_010


async def test_a_socket_that_ends_last_is_closed_and_not_shut_down(fake: Fake) -> None:
    relay, connection, link = fake
    assert relay.eof_received()
    assert link.end.written() == [Frame(FrameType.DATA, FIN, stream_of(relay).id, 0)]
    link.end.receive(window_frame(stream_of(relay).id, 0, FIN))

    assert connection.calls == ["close"]


async def test_data_for_a_socket_that_is_closing_is_dropped_and_owed(fake: Fake) -> None:
    relay, connection, link = fake
    connection.abort()
    relay.data(memoryview(b"x" * INITIAL_WINDOW))

    assert connection.written == []
    assert link.end.written() == []


async def test_a_lost_socket_resets_its_stream_and_is_told_once(fake: Fake) -> None:
    relay, _, link = fake
    stream = stream_of(relay)
    relay.connection_lost(OSError("gone"))

    assert link.end.written() == [Frame(FrameType.WINDOW_UPDATE, RST, stream.id, 0)]
    assert link.mux.streams == {}


async def test_who_has_gone_and_its_stream_keep_each_other_no_longer(fake: Fake) -> None:
    """Only the garbage collector would find them, after some thousand others."""
    relay, _, _ = fake
    stream = stream_of(relay)
    relay.connection_lost(None)

    assert stream not in gc.get_referents(relay)
