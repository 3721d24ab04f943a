"""A link passes on whole frames and nothing before its start, and ends once, whatever ends it."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tests.support.mux_pair import RecordingSink, data_frame, frame, frames_in, window_frame
from tests.transport.world import (
    PATIENCE,
    Bell,
    Listening,
    Plain,
    both,
    client_tls,
    loop_turns,
    make_links,
    server_tls,
    turn_until,
)
from transport.pump import link as link_module
from transport.pump.link import Link
from transport.pump.sockets import accept_link
from transport.wire import backlog
from transport.wire.frames import ACK, HEADER_SIZE, SYN, FrameType, GoAwayCode
from transport.wire.mux import MuxStream, Role, StreamSink
from transport.wire.window import INITIAL_WINDOW

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]


@dataclass(eq=False)
class Owner:
    """Keeps what a link tells, and takes every stream."""

    bell: Bell = field(default_factory=Bell)
    streams: list[MuxStream] = field(default_factory=list)
    pongs: list[int] = field(default_factory=list)
    farewells: list[GoAwayCode] = field(default_factory=list)
    errors: list[Exception | None] = field(default_factory=list)

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        self.streams.append(stream)
        stream.accept()
        self.bell.ring()
        return RecordingSink()

    def pong(self, value: int) -> None:
        self.pongs.append(value)
        self.bell.ring()

    def going_away(self, code: GoAwayCode) -> None:
        self.farewells.append(code)

    def link_lost(self, error: Exception | None) -> None:
        self.errors.append(error)
        self.bell.ring()

    async def until_lost(self) -> Exception | None:
        await self.bell.until(lambda: self.errors)
        await loop_turns()
        assert len(self.errors) == 1, "told twice"
        return self.errors[0]


@dataclass(eq=False)
class FakeTransport:
    """Takes what is written, and is full when the test says so."""

    protocol: Link
    writes: list[bytes] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    waiting: int = 0
    unsent: list[int] = field(default_factory=list)
    family: int = socket.AF_INET

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> FakeTransport:
        assert name == "socket"
        return self

    def getsockopt(self, level: int, option: int) -> int:
        raise NotImplementedError

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert option == socket.TCP_NOTSENT_LOWAT
        self.unsent.append(value)

    def set_write_buffer_limits(self, *, high: int) -> None:
        self.limits.append(high)

    def write(self, data: bytearray) -> None:
        assert data, "an empty write"
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return bool(self.calls)

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")


@pytest.fixture
async def fake() -> FakeTransport:
    """A link of a gateway on a transport that the test plays."""
    link = Link(Role.SERVER)
    transport = FakeTransport(link)
    link.connection_made(transport)  # type: ignore[arg-type]  # what it needs of a transport
    link.start(Owner())
    return transport


# Real links


@pytest.mark.usefixtures("tls_engine")
class TestRealLinks:
    """Over loopback, with real TLS."""

    async def test_streams_cross_a_link_both_ways(self, listening: Listening) -> None:
        links = await make_links(listening)
        owners = [Owner(), Owner()]
        for link, owner in zip(links, owners, strict=True):
            link.start(owner)
        sinks = [RecordingSink(), RecordingSink()]
        for link, sink in zip(links, sinks, strict=True):
            link.mux.open_stream(sink, b"hello").send_fin()
        for owner in owners:
            await owner.bell.until(lambda owner=owner: owner.streams)  # type: ignore[misc]  # mypy knows no such lambda
        await loop_turns()

        assert [stream.id for owner in owners for stream in owner.streams] == [1, 2]
        for owner in owners:
            (stream,) = owner.streams
            assert isinstance(stream.sink, RecordingSink)
            assert bytes(stream.sink.received) == b"hello"
            assert stream.sink.is_ended
        for link in links:
            link.close()
        for owner in owners:
            await owner.until_lost()

    async def test_a_link_knows_its_peer(self, listening: Listening) -> None:
        gateway, client = await make_links(listening)

        assert gateway.alpn == client.alpn == "tidegate/1"
        assert client.peer_address == listening.address
        assert gateway.peer_address[0] == "127.0.0.1"
        assert gateway.peer_certificate["subject"] == ((("commonName", "homelab"),),)
        assert "subjectAltName" in client.peer_certificate
        for link in (gateway, client):
            link.start(Owner())
            link.close()

    async def test_what_came_with_the_handshake_waits_for_the_start(self, listening: Listening) -> None:
        """The last of the handshake and the first frames are one segment, and nobody is listening yet."""
        peer = await Plain.connect(listening.address)
        tls = _Memory(client_tls())
        links: list[Link] = []

        async def accept() -> None:
            links.append(
                await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)
            )

        async def dial() -> None:
            await peer.send(tls.step())
            while not tls.is_done:
                last = tls.step(await peer.receive())
            tls.tls.write(frame(FrameType.PING, SYN, 0, 7) + data_frame(1, b"early", SYN))
            await peer.send(last + tls.outgoing.read())

        await both(accept, dial)
        (link,) = links
        await loop_turns()
        assert link.mux.streams == {}

        owner = Owner()
        link.start(owner)
        await owner.bell.until(lambda: owner.streams)
        answer = bytearray()
        while len(answer) < 2 * HEADER_SIZE:
            answer += tls.read(await peer.receive())
        assert frames_in(answer) == frames_in(frame(FrameType.PING, ACK, 0, 7) + window_frame(1, flags=ACK))
        tls.tls.write(data_frame(1, b" and late"))
        await peer.send(tls.outgoing.read())
        sink = owner.streams[0].sink
        assert isinstance(sink, RecordingSink)
        await turn_until(lambda: bytes(sink.received) == b"early and late")
        peer.close()
        await owner.until_lost()

    async def test_what_comes_before_the_start_is_bounded(self, listening: Listening) -> None:
        gateway, client = await make_links(listening)
        client.start(Owner())
        stream = client.mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW))
        for _ in range(20):
            client.mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW))
        await loop_turns(200)
        assert gateway.bytes_received <= 2 * len(link_module._READ)

        owner = Owner()
        gateway.start(owner)
        await owner.bell.until(lambda: len(owner.streams) == 21)
        assert stream.id == 1
        gateway.close()
        client.close()
        await owner.until_lost()

    async def test_an_end_before_the_start_is_told_at_the_start(self, listening: Listening) -> None:
        gateway, client = await make_links(listening)
        client.start(Owner())
        client.close()
        await turn_until(lambda: gateway.is_lost)
        owner = Owner()
        gateway.start(owner)

        assert await owner.until_lost() is None

    @pytest.mark.parametrize("end", ["close", "abort"])
    async def test_an_end_resets_every_stream_on_both_sides_once(
        self, listening: Listening, end: str
    ) -> None:
        links = await make_links(listening)
        owners = [Owner(), Owner()]
        for link, owner in zip(links, owners, strict=True):
            link.start(owner)
        sinks = [RecordingSink() for _ in range(50)]
        for sink in sinks:
            links[0].mux.open_stream(sink, b"x")
        await owners[1].bell.until(lambda: len(owners[1].streams) == 50)
        if end == "close":
            links[1].close()
            links[1].close()
        else:
            links[1].abort()
            links[1].abort()
        for owner in owners:
            await owner.until_lost()
        links[1].close()
        links[1].abort()

        assert all(sink.is_reset for sink in sinks)
        assert all(stream.is_closed for stream in owners[1].streams)
        assert links[0].mux.streams == links[1].mux.streams == {}
        assert owners[0].farewells == ([GoAwayCode.NORMAL] if end == "close" else [])

    async def test_what_was_said_before_closing_is_heard(self, listening: Listening) -> None:
        gateway, client = await make_links(listening)
        owner = Owner()
        gateway.start(Owner())
        client.start(owner)
        gateway.mux.open_stream(RecordingSink(), bytes(100_000))
        gateway.close()
        await owner.until_lost()
        sink = owner.streams[0].sink

        assert isinstance(sink, RecordingSink)
        assert len(sink.received) == 100_000
        assert sink.is_reset

    async def test_garbage_is_answered_with_a_protocol_error_and_the_end(self, listening: Listening) -> None:
        gateway, client = await make_links(listening)
        mine, theirs = Owner(), Owner()
        gateway.start(mine)
        client.start(theirs)
        client._transport.write(b"GET / HTTP/1.1\r\nHost: gw1\r\n\r\n")
        error = await mine.until_lost()
        await theirs.until_lost()

        assert str(error) == "the peer broke the protocol: frame version 71; this is no yamux peer"
        assert theirs.farewells == [GoAwayCode.PROTOCOL_ERROR]

    async def test_a_peer_that_vanishes_behind_a_reset_is_lost(self, listening: Listening) -> None:
        peer = await Plain.connect(listening.address)
        tls = _Memory(client_tls())
        links: list[Link] = []

        async def accept() -> None:
            links.append(
                await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)
            )

        async def dial() -> None:
            await peer.send(tls.step())
            while not tls.is_done:
                last = tls.step(await peer.receive())
            await peer.send(last)

        await both(accept, dial)
        owner = Owner()
        links[0].start(owner)
        peer.reset()

        assert isinstance(await owner.until_lost(), ConnectionResetError | None)

    async def test_a_peer_that_does_not_read_is_cut_off_behind_the_goodbye(
        self, listening: Listening, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link_module, "_GOODBYE", 0.05)
        gateway, client = await make_links(listening)
        mine, theirs = Owner(), Owner()
        gateway.start(mine)
        client.start(theirs)
        client._transport.pause_reading()
        await _fill(gateway)
        gateway.close()
        await mine.until_lost()
        await turn_until(lambda: not gateway._transport.get_write_buffer_size())
        client._transport.resume_reading()
        await theirs.until_lost()

    async def test_a_link_that_is_full_says_so_and_calls_back_when_there_is_room(
        self, listening: Listening
    ) -> None:
        gateway, client = await make_links(listening)
        mine, theirs = Owner(), Owner()
        gateway.start(mine)
        client.start(theirs)
        client._transport.pause_reading()
        number = await _fill(gateway)
        called: list[int] = []
        callbacks: list[Callable[[], None]] = [lambda: called.append(1), lambda: called.append(2)]
        for callback in [*callbacks, *callbacks]:
            gateway.call_when_writable(callback)
        gateway.mux.ping(9)
        await loop_turns()
        assert called == []

        client._transport.resume_reading()
        await mine.bell.until(lambda: mine.pongs)
        assert called == [1, 2]
        assert len(theirs.streams) == number
        assert not gateway.is_paused
        gateway.close()
        client.close()
        await mine.until_lost()
        await theirs.until_lost()


async def _fill(link: Link) -> int:
    """Say more than the other side reads, until the link is full; how many streams that took."""
    for number in range(1, 1_000):
        link.mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW))
        await loop_turns(2)
        if link.is_paused:
            return number
    raise AssertionError("the link never says that it is full")


class _Memory:
    """A TLS client whose bytes the test carries."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.is_done = False

    def step(self, data: bytes = b"") -> bytes:
        self.incoming.write(data)
        try:
            self.tls.do_handshake()
            self.is_done = True
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def read(self, data: bytes) -> bytes:
        self.incoming.write(data)
        try:
            return self.tls.read(65_536)
        except ssl.SSLWantReadError:
            return b""


# One link on a transport that the test plays


async def test_all_that_one_turn_says_leaves_in_one_write(fake: FakeTransport) -> None:
    mux = fake.protocol.mux
    for _ in range(10):
        stream = mux.open_stream(RecordingSink(), b"hello")
        stream.send(b"world")
    mux.ping(1)
    assert fake.writes == []
    await loop_turns(2)

    assert len(fake.writes) == 1
    assert len(frames_in(fake.writes[0])) == 21


async def test_what_is_too_much_to_wait_leaves_at_once(fake: FakeTransport) -> None:
    mux = fake.protocol.mux
    mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW - 100))
    fake.protocol.flush_if_large()
    assert fake.writes == []
    mux.open_stream(RecordingSink(), bytes(1_000))
    fake.protocol.flush_if_large()
    assert len(fake.writes) == 1
    await loop_turns(2)

    assert len(fake.writes) == 1


async def test_a_full_transport_is_written_nothing_until_it_has_room(fake: FakeTransport) -> None:
    link = fake.protocol
    link.pause_writing()
    link.mux.ping(1)
    await loop_turns(2)
    link.mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW))
    link.mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW))
    link.flush_if_large()
    assert fake.writes == []
    link.resume_writing()
    assert len(fake.writes) == 1
    link.mux.ping(2)
    await loop_turns(2)

    assert [one.kind for write in fake.writes for one in frames_in(write)] == [
        FrameType.PING,
        FrameType.DATA,
        FrameType.DATA,
        FrameType.PING,
    ]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of links. It stands still unless the test moves ``now``."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(link_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such option")
async def test_little_may_wait_for_a_slow_link_and_much_again_once_it_is_fast(
    fake: FakeTransport, clock: SimpleNamespace
) -> None:
    link = fake.protocol
    fake.waiting = backlog.MOST + 1
    link.pause_writing()
    fake.waiting, clock.now = backlog.MOST // 4, 1.0
    link.resume_writing()
    assert fake.limits == [backlog.MOST, backlog.LEAST]
    assert fake.unsent == [backlog.LEAST]
    link.mux.open_stream(RecordingSink(), bytes(backlog.LEAST))
    link.flush_if_large()
    assert len(fake.writes) == 1

    fake.waiting = backlog.LEAST + 1
    link.pause_writing()
    fake.waiting = 0
    link.resume_writing()
    assert fake.limits[2:] == [backlog.MOST]
    assert fake.unsent[1:] == [0]


async def test_nobody_is_called_if_the_smaller_limit_is_exceeded_already(
    fake: FakeTransport, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = fake.protocol
    called: list[str] = []
    fake.waiting = backlog.MOST + 1
    link.pause_writing()
    link.call_when_writable(lambda: called.append("room"))
    fake.waiting, clock.now = backlog.MOST // 4, 1.0

    def pausing(*, high: int) -> None:
        if fake.waiting > high:
            link.pause_writing()

    monkeypatch.setattr(fake, "set_write_buffer_limits", pausing)
    link.resume_writing()
    assert called == []
    fake.waiting = 0
    link.resume_writing()

    assert called == ["room"]


async def test_who_waits_for_room_is_called_once_and_in_order_and_may_wait_again(fake: FakeTransport) -> None:
    link = fake.protocol
    called: list[str] = []

    def first() -> None:
        called.append("first")
        link.pause_writing()
        link.call_when_writable(first)

    def second() -> None:
        called.append("second")

    link.pause_writing()
    for _ in range(1_000):  # a peer can make a relay ask once for each of its frames
        link.call_when_writable(first)
        link.call_when_writable(second)
    assert len(link._blocked) == 2
    link.resume_writing()
    assert called == ["first", "second"]
    link.resume_writing()

    assert called == ["first", "second", "first"]


async def test_who_no_longer_waits_for_room_is_not_kept(fake: FakeTransport) -> None:
    fake.protocol.pause_writing()
    fake.protocol.call_when_writable(pytest.fail)
    fake.protocol.forget(pytest.fail)
    fake.protocol.forget(pytest.fail)  # nor does it matter that it does not wait

    assert not fake.protocol._blocked
    fake.protocol.resume_writing()


async def test_nobody_is_called_for_room_on_a_link_that_is_lost(fake: FakeTransport) -> None:
    fake.protocol.pause_writing()
    fake.protocol.call_when_writable(pytest.fail)
    fake.protocol.connection_lost(None)
    fake.protocol.resume_writing()

    assert fake.writes == []


async def test_a_lost_link_writes_nothing_and_hears_nothing(fake: FakeTransport) -> None:
    link = fake.protocol
    link.mux.ping(1)
    link.abort()
    link.connection_lost(None)
    link.buffer_updated(100)
    await loop_turns(2)

    assert fake.writes == []


async def test_the_goodbye_is_written_also_to_a_full_transport(fake: FakeTransport) -> None:
    fake.protocol.pause_writing()
    fake.protocol.mux.ping(1)
    fake.protocol.close(GoAwayCode.PROTOCOL_ERROR)
    (written,) = fake.writes

    assert [one.kind for one in frames_in(written)] == [FrameType.PING, FrameType.GO_AWAY]
    assert frames_in(written)[1].length == GoAwayCode.PROTOCOL_ERROR
    assert fake.calls == ["close"]
    fake.protocol.connection_lost(None)


async def test_a_link_that_ends_leaves_nothing_behind(fake: FakeTransport) -> None:
    """No timer of the goodbye holds it."""
    link = fake.protocol
    link.close()
    assert link._goodbye is not None
    link.connection_lost(None)
    gc.collect()

    assert link._goodbye.cancelled()


async def test_a_link_that_ends_while_it_receives_drops_the_rest(fake: FakeTransport) -> None:
    link = fake.protocol
    owner = link._owner
    assert isinstance(owner, Owner)
    wire = frame(FrameType.PING, ACK, 0, 1) + b"\xff" * 100 + frame(FrameType.PING, ACK, 0, 2)
    link.get_buffer(-1)[: len(wire)] = wire
    link.buffer_updated(len(wire))

    assert owner.pongs == [1]
    assert len(owner.errors) == 1
    assert fake.calls == ["close"]
    link.connection_lost(None)
    assert len(owner.errors) == 1
