"""A stream of a mux behaves as any byte stream of anyio does, and never calls a torn message whole.

What every byte stream promises is asked of anyio's own TCP streams too, so that it is anyio's promise that
is kept here and not our reading of it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import cycle
from typing import Final

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mux_pair import End, MuxPair
from transport.byte_stream import MuxByteStream, accept_byte_stream, open_byte_stream
from transport.pump.link import Link
from transport.wire.errors import LocalProtocolError
from transport.wire.frames import GoAwayCode
from transport.wire.mux import MuxStream, Role, StreamSink
from transport.wire.window import INITIAL_WINDOW

from .world import PATIENCE, Bell, Listening, both, loop_turns, make_links

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]

TEXT: Final = bytes(range(251)) * 6_000  # more than five windows, and no two pieces of it are the same
Pair = tuple[ByteStream, ByteStream]


class LinkEnd(End):
    """One end of the made-up link, which has no room while it is told so."""

    def __init__(self, role: Role, bell: Bell) -> None:
        self.bell = bell
        self.is_paused = False
        self.largest = 0  # that was ever waiting to be written
        self.accepted: list[MuxByteStream] = []
        self._blocked: dict[Callable[[], None], None] = {}
        super().__init__(role)

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        if not self.accepts:
            return None
        self.accepted.append(accept_byte_stream(self, stream))
        return self.accepted[-1]

    def call_when_writable(self, callback: Callable[[], None]) -> None:
        assert self.is_paused
        self._blocked[callback] = None

    def flush_if_large(self) -> None:
        self.largest = max(self.largest, self.mux.output_size)
        self.flush()

    def resume(self) -> None:
        self.is_paused = False
        blocked, self._blocked = self._blocked, {}
        for callback in blocked:
            callback()

    def _wake(self) -> None:
        super()._wake()
        self.bell.ring()


class StreamPair(MuxPair):
    """Two muxes whose streams are byte streams, and a link that carries pieces of these sizes in turn."""

    client: LinkEnd
    server: LinkEnd

    def __init__(self, sizes: Sequence[int] = (1 << 20,)) -> None:
        self.bell = Bell()
        self.client = LinkEnd(Role.CLIENT, self.bell)
        self.server = LinkEnd(Role.SERVER, self.bell)
        self._sizes = {self.client: cycle(sizes), self.server: cycle(sizes)}

    def open_streams(self, first: bytes = b"") -> tuple[MuxByteStream, MuxByteStream]:
        near = open_byte_stream(self.client, first)
        self.settle()
        return near, self.server.accepted[-1]

    @property
    def is_silent(self) -> bool:
        return not any(end.outgoing or end.mux.output_size for end in (self.client, self.server))

    async def carry(self) -> None:
        """Carry for as long as the test runs."""
        while True:
            await self.bell.until(lambda: not self.is_silent)
            for end, sizes in self._sizes.items():
                self.deliver(end, next(sizes))
            await anyio.lowlevel.checkpoint()


class Silent:
    """The owner of a link whose streams are byte streams."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.accepted: list[MuxByteStream] = []
        self.bell = Bell()
        link.start(self)

    def stream_offered(self, stream: MuxStream) -> StreamSink:
        self.accepted.append(accept_byte_stream(self.link, stream))
        self.bell.ring()
        return self.accepted[-1]

    def pong(self, value: int) -> None: ...

    def going_away(self, code: GoAwayCode) -> None: ...

    def link_lost(self, error: Exception | None) -> None: ...


@asynccontextmanager
async def carried(pair: StreamPair) -> AsyncIterator[StreamPair]:
    """A pair whose link works by itself."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pair.carry)
        yield pair
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def tcp_streams() -> AsyncIterator[Pair]:
    """What anyio itself calls a byte stream."""
    listening = Listening()
    try:
        near = await anyio.connect_tcp(*listening.address)
        far = await anyio.abc.SocketStream.from_socket(await listening.accept_socket())
        async with near, far:
            yield near, far
    finally:
        listening.close()


@asynccontextmanager
async def mux_streams() -> AsyncIterator[Pair]:
    async with carried(StreamPair(sizes=[7, 40_000, 300_000])) as pair:
        yield pair.open_streams()


@asynccontextmanager
async def link_streams() -> AsyncIterator[Pair]:
    """Streams of a real link."""
    listening = Listening()
    gateway, client = (Silent(link) for link in await make_links(listening))
    listening.close()
    try:
        near = open_byte_stream(client.link)
        await gateway.bell.until(lambda: gateway.accepted)
        yield near, gateway.accepted[0]
    finally:
        gateway.link.close()
        client.link.close()


@pytest.fixture(params=[tcp_streams, mux_streams, link_streams])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Both ends of a byte stream of anyio's, and of ours."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(request.param())


async def receive_all(stream: ByteStream, max_bytes: int = 65_536) -> bytes:
    """Everything up to the end."""
    received = bytearray()
    with anyio.fail_after(PATIENCE):
        try:
            while True:
                chunk = await stream.receive(max_bytes)
                assert 0 < len(chunk) <= max_bytes
                received += chunk
        except anyio.EndOfStream:
            return bytes(received)


async def send_all(stream: ByteStream, data: bytes) -> None:
    with anyio.fail_after(PATIENCE):
        await stream.send(data)
        await stream.send_eof()


class Waiting:
    """Something that waits in a task of its own, and what becomes of it."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        self.error: Exception | None = None

    async def run(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001  whatever it is, the test looks at it
            self.error = error


@asynccontextmanager
async def waiting(call: Callable[[], Awaitable[object]]) -> AsyncIterator[Waiting]:
    """Start something that has to wait, go on once it does, and see at the end how it ended."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            made = Waiting(tasks.cancel_scope.cancel)
            tasks.start_soon(made.run, call)
            await anyio.wait_all_tasks_blocked()
            yield made


# What every byte stream promises


async def test_whatever_is_sent_both_ways_at_once_arrives_whole(pair: Pair) -> None:
    near, far = pair
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, near, TEXT)
        tasks.start_soon(send_all, far, TEXT[::-1])

        received = await both(lambda: receive_all(near), lambda: receive_all(far))

    assert received == (TEXT[::-1], TEXT)


async def test_the_end_is_said_once_everything_was_received_and_again_each_time(pair: Pair) -> None:
    near, far = pair
    await send_all(near, b"all")

    assert await receive_all(far, 1) == b"all"
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await far.receive()


async def test_the_other_direction_lives_on_after_an_end(pair: Pair) -> None:
    near, far = pair
    await send_all(near, b"question")
    assert await receive_all(far) == b"question"

    await send_all(far, b"answer")

    assert await receive_all(near) == b"answer"


async def test_an_end_may_be_said_twice(pair: Pair) -> None:
    near, far = pair
    await near.send_eof()
    await near.send_eof()

    assert await receive_all(far) == b""


async def test_going_through_a_stream_ends_with_the_peers_end(pair: Pair) -> None:
    near, far = pair
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, near, TEXT)

        assert b"".join([chunk async for chunk in far]) == TEXT


async def test_no_more_is_received_than_was_asked_for(pair: Pair) -> None:
    near, far = pair
    await near.send(b"three bytes and more")

    assert len(await far.receive(3)) <= 3
    with pytest.raises(ValueError, match="max_bytes"):
        await far.receive(0)


async def test_sending_nothing_says_nothing(pair: Pair) -> None:
    near, far = pair
    await near.send(b"")
    await send_all(near, b"something")

    assert await receive_all(far) == b"something"


async def test_two_tasks_cannot_receive_at_the_same_time(pair: Pair) -> None:
    near, far = pair
    async with waiting(far.receive) as first:
        with pytest.raises(anyio.BusyResourceError):
            await far.receive()
        await near.send(b"x")

    assert first.error is None


async def test_two_tasks_cannot_send_at_the_same_time(pair: Pair) -> None:
    near, far = pair
    async with waiting(lambda: near.send(TEXT * 20)) as first:
        with pytest.raises(anyio.BusyResourceError):
            await near.send(b"x")
        if isinstance(near, MuxByteStream):  # anyio's own lets the end overtake what was to be sent
            with pytest.raises(anyio.BusyResourceError):
                await near.send_eof()
        received = 0
        while received < len(TEXT) * 20:
            received += len(await far.receive())

    assert first.error is None


async def test_a_receive_that_is_cancelled_while_it_waits_loses_nothing(pair: Pair) -> None:
    near, far = pair
    async with waiting(far.receive) as receiving:
        receiving.cancel()
    await send_all(near, b"whole")

    assert await receive_all(far) == b"whole"


async def test_a_receive_that_is_cancelled_before_it_could_have_something_loses_nothing() -> None:
    async with mux_streams() as (near, far):  # anyio's own loses it here on uvloop
        await send_all(near, b"whole")
        await loop_turns()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await far.receive()

        assert await receive_all(far) == b"whole"


async def test_who_waits_to_receive_is_told_that_the_stream_was_closed_here(pair: Pair) -> None:
    near, _ = pair
    async with waiting(near.receive) as receiving:
        await near.aclose()

    assert type(receiving.error) is anyio.ClosedResourceError


async def test_who_waits_to_send_is_told_that_the_stream_was_closed_here(pair: Pair) -> None:
    near, _ = pair
    async with waiting(lambda: near.send(TEXT * 20)) as sending:
        await near.aclose()

    assert type(sending.error) is anyio.ClosedResourceError


async def test_a_closed_stream_neither_sends_nor_receives_and_may_be_closed_again(pair: Pair) -> None:
    near, _ = pair
    await near.aclose()
    await near.aclose()

    with pytest.raises(anyio.ClosedResourceError):
        await near.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await near.send(b"x")


async def test_what_was_sent_before_an_orderly_close_arrives(pair: Pair) -> None:
    near, far = pair
    async with near:
        await near.send(b"goodbye")

    assert await receive_all(far) == b"goodbye"


async def test_whoever_is_cancelled_already_sends_nothing(pair: Pair) -> None:
    near, far = pair
    with anyio.CancelScope() as scope:
        scope.cancel()
        await near.send(b"never")
    await send_all(near, b"")

    assert await receive_all(far) == b""


@pytest.mark.parametrize("call", ["receive", "send", "send_eof"])
async def test_every_call_lets_others_run_and_can_be_cancelled(call: str) -> None:
    async with mux_streams() as (near, far):
        await far.send(b"ready")
        await loop_turns()
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "receive": near.receive,
            "send": lambda: near.send(b"x"),
            "send_eof": near.send_eof,
        }
        with anyio.CancelScope() as scope:
            scope.cancel()
            await calls[call]()

        assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            event = anyio.Event()
            tasks.start_soon(anyio.lowlevel.checkpoint)
            tasks.start_soon(_set, event)
            await calls[call]()
            assert event.is_set()


async def _set(event: anyio.Event) -> None:
    event.set()


# Windows and room


async def test_no_more_is_sent_than_there_is_credit_for_until_the_far_program_takes_it() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        async with waiting(lambda: near.send(TEXT)) as sending:
            assert near.bytes_sent == INITIAL_WINDOW
            taken = 0
            while near.bytes_sent < len(TEXT):
                taken += len(await far.receive())
                await loop_turns()
                assert near.bytes_sent <= taken + INITIAL_WINDOW

    assert sending.error is None


async def test_nothing_is_sent_while_the_link_has_no_room() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        pair.client.is_paused = True
        async with waiting(lambda: send_all(near, b"later")):
            assert near.bytes_sent == 0
            near.credit()  # credit alone is not room
            await anyio.wait_all_tasks_blocked()
            assert near.bytes_sent == 0
            pair.client.resume()

        assert await receive_all(far) == b"later"


async def test_room_alone_is_not_credit() -> None:
    async with carried(StreamPair()) as pair:
        near, _ = pair.open_streams()
        async with waiting(lambda: near.send(TEXT)) as sending:
            pair.client.is_paused = True
            pair.client.resume()
            near._sender.wake()
            await anyio.wait_all_tasks_blocked()

            assert near.bytes_sent == INITIAL_WINDOW
            assert sending.error is None
            await near.aclose()


async def test_a_long_item_leaves_room_for_others_in_between() -> None:
    pair = StreamPair()
    one, _ = pair.open_streams()
    other, _ = pair.open_streams()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.send, TEXT[:INITIAL_WINDOW])
        tasks.start_soon(other.send, b"short")

    frames = pair.client.written()
    assert [frame.length for frame in frames].index(5) < len(frames) - 1


async def test_a_long_item_does_not_pile_up_in_front_of_the_link() -> None:
    pair = StreamPair()
    near, _ = pair.open_streams()
    await near.send(TEXT[:INITIAL_WINDOW])

    assert 0 < pair.client.largest < INITIAL_WINDOW / 2


# Opening


async def test_the_first_bytes_travel_with_the_opening() -> None:
    pair = StreamPair()
    near, far = pair.open_streams(b"first")
    near_frames = len(pair.client.written())

    assert (near_frames, near.bytes_sent) == (0, 5)
    assert await far.receive() == b"first"


async def test_a_stream_that_cannot_be_opened_leaves_nothing_behind() -> None:
    pair = StreamPair()

    with pytest.raises(LocalProtocolError, match="credit"):
        open_byte_stream(pair.client, bytes(INITIAL_WINDOW + 1))
    assert pair.client.mux.streams == {}


async def test_a_stream_that_the_peer_refuses_is_broken() -> None:
    async with carried(StreamPair()) as pair:
        pair.server.accepts = False
        near = open_byte_stream(pair.client)
        async with waiting(near.receive) as receiving:
            pass

    assert type(receiving.error) is anyio.BrokenResourceError


# Ends that are not orderly


async def is_reset(stream: ByteStream) -> bool:
    """Receive up to the end; whether it was a reset instead of one."""
    try:
        await receive_all(stream)
    except anyio.BrokenResourceError:
        return True
    return False


async def reset_tcp(stream: ByteStream) -> None:
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def test_a_reset_of_the_peer_breaks_whatever_waits_and_whatever_comes_later(pair: Pair) -> None:
    near, far = pair
    async with waiting(near.receive) as receiving, waiting(lambda: near.send(TEXT * 20)) as sending:
        if isinstance(far, MuxByteStream):
            await anyio.aclose_forcefully(far)
        else:
            await reset_tcp(far)

    assert type(receiving.error) is anyio.BrokenResourceError
    assert type(sending.error) is anyio.BrokenResourceError
    with pytest.raises(anyio.BrokenResourceError):
        await near.send(b"x")
    await near.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await near.send(b"x")


async def test_a_reset_drops_what_has_arrived_and_was_not_received() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        await near.send(b"the first half of")
        await loop_turns()
        await anyio.aclose_forcefully(near)

        assert await is_reset(far)
        assert not far._received
        with pytest.raises(anyio.BrokenResourceError):
            await far.send_eof()


async def test_a_lost_link_breaks_its_streams() -> None:
    async with carried(StreamPair()) as pair:
        near, _ = pair.open_streams()
        async with waiting(near.receive) as receiving, waiting(lambda: near.send(TEXT)) as sending:
            pair.client.mux.connection_lost()

    assert type(receiving.error) is anyio.BrokenResourceError
    assert type(sending.error) is anyio.BrokenResourceError


async def test_what_was_whole_before_the_link_was_lost_stays_whole() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        await send_all(near, b"all of it")
        await far.send_eof()
        await loop_turns()
        pair.server.mux.connection_lost()

        assert await receive_all(far) == b"all of it"


async def test_an_orderly_close_ends_the_stream_on_both_sides_once_the_peer_closes_too() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        await near.aclose()
        await loop_turns()
        assert len(pair.client.mux.streams) == 1  # the peer may still have something to say
        assert await receive_all(far) == b""
        await far.aclose()
        await loop_turns()

        assert (pair.client.mux.streams, pair.server.mux.streams) == ({}, {})


async def test_closing_with_something_unread_is_a_reset() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        await send_all(near, b"unread")
        await loop_turns()
        await far.aclose()

        assert await is_reset(near)
        assert not far._received


async def test_what_was_closed_in_order_is_not_reset_later() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        async with near:
            await near.send(b"goodbye")
            await near.aclose()
            await anyio.aclose_forcefully(near)

        assert await receive_all(far) == b"goodbye"


async def test_what_comes_after_a_close_is_answered_with_a_reset() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        await far.aclose()
        await near.send(b"too late")
        await loop_turns()

        assert await is_reset(near)
        assert (pair.client.mux.streams, pair.server.mux.streams) == ({}, {})


async def test_closing_while_a_send_waits_in_the_middle_is_a_reset() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        async with waiting(lambda: near.send(TEXT)):
            await near.aclose()

        assert await is_reset(far)


async def cut_off(stream: MuxByteStream) -> int:
    """Have a long send cancelled in the middle; how much of it was sent."""
    async with waiting(lambda: stream.send(TEXT)) as sending:
        sending.cancel()
    return stream.bytes_sent


async def test_closing_after_a_send_was_cut_off_is_a_reset() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        assert await cut_off(near) == INITIAL_WINDOW
        await near.aclose()

        assert await is_reset(far)


async def test_a_send_that_was_cut_off_can_be_continued_and_the_stream_ends_in_order() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        sent = await cut_off(near)

        async def go_on() -> None:
            async with near:
                await near.send(TEXT[sent:])

        _, received = await both(go_on, lambda: receive_all(far))

        assert received == TEXT


async def test_a_program_may_say_itself_that_a_cut_off_message_ends_here() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        sent = await cut_off(near)
        await near.send_eof()
        await near.aclose()

        assert await receive_all(far) == TEXT[:sent]


async def test_a_task_that_is_cancelled_within_its_stream_resets_it() -> None:
    async with carried(StreamPair()) as pair:
        near, far = pair.open_streams()
        with anyio.CancelScope() as scope:
            async with near:
                await near.send(b"the first item of many")
                scope.cancel()
                await anyio.lowlevel.checkpoint()

        assert await is_reset(far)


async def test_nothing_is_sent_after_the_end_was_said() -> None:
    async with carried(StreamPair()) as pair:
        near, _ = pair.open_streams()
        await near.send_eof()

        with pytest.raises(anyio.ClosedResourceError):
            await near.send(b"more")


# Whatever happens

SIZES: Final = st.lists(st.sampled_from([0, 1, 1_000, 65_536, 65_537, 300_000]), max_size=5)


@settings(max_examples=25)
@given(
    questions=SIZES,
    answers=SIZES,
    max_bytes=st.integers(20_000, 100_000),
    pieces=st.lists(st.sampled_from([1, 11, 12, 13, 1_000, 65_536]), max_size=5),
    patience=st.lists(st.integers(0, 9), max_size=5),
)
async def test_however_it_is_cut_off_and_cut_into_pieces_what_arrives_is_what_was_sent(
    questions: list[int], answers: list[int], max_bytes: int, pieces: list[int], patience: list[int]
) -> None:
    async def insist(call: Callable[[], Awaitable[None]], turns: int) -> None:
        """Do it, or be cancelled after so many turns of the loop."""

        async def cancel() -> None:
            await loop_turns(turns)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await call()
            tasks.cancel_scope.cancel()

    async def say(stream: MuxByteStream, sizes: list[int]) -> None:
        turns = cycle([*patience, 9])
        for size in sizes:
            goal = stream.bytes_sent + size
            while stream.bytes_sent < goal:
                await insist(partial(stream.send, TEXT[stream.bytes_sent : goal]), next(turns))
        await stream.send_eof()

    async def hear(stream: MuxByteStream) -> bytes:
        turns = cycle([*patience, 9])
        received = bytearray()
        ended = anyio.Event()

        async def once() -> None:
            try:
                received.extend(await stream.receive(max_bytes))
            except anyio.EndOfStream:
                ended.set()

        while not ended.is_set():
            await insist(once, next(turns))
        return bytes(received)

    async with carried(StreamPair([*pieces, 100_000])) as pair:
        near, far = pair.open_streams()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(say, near, questions)
                tasks.start_soon(say, far, answers)
                heard = await both(partial(hear, near), partial(hear, far))
        await near.aclose()
        await far.aclose()

        assert heard == (TEXT[: sum(answers)], TEXT[: sum(questions)])
        assert (pair.client.mux.streams, pair.server.mux.streams) == ({}, {})
