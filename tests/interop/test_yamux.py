"""The core and its shell agree with hashicorp/yamux on every frame, whichever of the two dials."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.support.mux_pair import data_frame, window_frame
from tests.transport.world import both, turn_until
from transport.byte_stream import MuxByteStream
from transport.wire.errors import LocalProtocolError
from transport.wire.frames import FIN, GoAwayCode
from transport.wire.mux import Role
from transport.wire.stream_state import StreamState
from transport.wire.window import INITIAL_WINDOW

from .go_peer import GoError, GoPeer, Moved, Program
from .meeting import (
    Ours,
    hashed,
    meeting,
    nothing_is_left,
    receive_all,
    receive_exactly,
    send_all,
    some_bytes,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_software("go"),
    pytest.mark.timeout(300),  # the first test builds the peer, and Go's library with it
]

MEBIBYTE: Final = 1 << 20
Met = tuple[Ours, GoPeer]


@pytest.fixture
async def met(role: Role, program: Program, tmp_path: Path) -> AsyncIterator[Met]:
    """A session with a peer that uses yamux's defaults."""
    async with meeting(role, program, tmp_path) as both_ends:
        yield both_ends


async def until_go_has_nothing_to_say(ours: Ours, go: GoPeer) -> None:
    """Wait until all that either side has said was dealt with by the other."""
    await ours.ping()
    await go.ask("ping")


# Bytes


async def test_what_go_echoes_is_what_we_sent(met: Met) -> None:
    ours, go = met
    data = some_bytes(3 * MEBIBYTE)
    stream = ours.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, stream, data)
        heard, echoed = await both(partial(go.echo, await go.accept()), partial(receive_all, stream))

    assert heard == hashed(data)
    assert echoed == data
    await nothing_is_left(ours, go)


async def test_what_we_echo_is_what_go_wrote(met: Met) -> None:
    ours, go = met
    number = await go.open()
    stream = await ours.accept()

    async def echo() -> None:
        async for chunk in stream:
            await stream.send(chunk)
        await stream.aclose()

    async def write() -> Moved:
        written = await go.write(number, 3 * MEBIBYTE)
        await go.ask("close", number)
        return written

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(echo)
        written, echoed = await both(write, partial(go.read, number))

    assert written.end == "done"
    assert (echoed.count, echoed.digest, echoed.end) == (3 * MEBIBYTE, written.digest, "EOF")
    await nothing_is_left(ours, go)


async def test_many_streams_of_both_sides_do_not_mix_up_their_bytes(met: Met) -> None:
    ours, go = met

    async def our_stream(seed: int) -> None:
        data = some_bytes(seed * 9_973, seed)
        stream = ours.open(data[:100])
        echoed, _ = await both(partial(receive_all, stream), partial(send_all, stream, data[100:]))
        assert echoed == data

    async def stream_of_go(seed: int) -> None:
        number = await go.open()
        written = await go.write(number, seed * 9_973, piece=seed * 100, seed=seed)
        await go.ask("close", number)
        digests[number] = (await go.read(number), Moved(written.count, written.digest, "EOF"))

    async def answer_go() -> None:
        for _ in range(40):
            tasks.start_soon(echo_of, await ours.accept())

    digests: dict[int, tuple[Moved, Moved]] = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go.ask, "serve", 40)
        tasks.start_soon(answer_go)
        for seed in range(1, 41):
            tasks.start_soon(our_stream, seed)
            tasks.start_soon(stream_of_go, seed)

    assert len(digests) == 40
    assert [read for read, written in digests.values() if read != written] == []
    await nothing_is_left(ours, go)


async def echo_of(stream: MuxByteStream) -> None:
    """Take everything, then say it again."""
    await send_all(stream, await receive_all(stream))


async def test_many_small_writes_of_both_sides_arrive_in_order(met: Met) -> None:
    ours, go = met
    data = some_bytes(5_000)
    stream = ours.open()
    number = await go.accept()

    async def trickle() -> None:
        for value in data:
            await stream.send(bytes([value]))
        await stream.send_eof()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trickle)
        written, heard = await both(partial(go.write, number, 5_000, piece=1), partial(go.read, number))

    assert heard == hashed(data)
    assert written == hashed(await receive_exactly(stream, 5_000), "done")


async def test_frames_as_large_as_a_window_are_taken_in_both_directions(
    role: Role, program: Program, tmp_path: Path
) -> None:
    data = some_bytes(4 * MEBIBYTE)
    async with meeting(role, program, tmp_path, "-window", str(4 * MEBIBYTE)) as (ours, go):
        stream = ours.open(data[:INITIAL_WINDOW])
        number = await go.accept()
        await turn_until(lambda: stream.stream.send_credit == 4 * MEBIBYTE - INITIAL_WINDOW)
        stream.stream.send(data[INITIAL_WINDOW:])  # past the byte stream, which would cut it into pieces
        stream.stream.send_fin()
        written, echoed = await both(
            partial(go.write, number, INITIAL_WINDOW, piece=INITIAL_WINDOW),
            partial(receive_exactly, stream, INITIAL_WINDOW),
        )

        assert await go.read(number) == hashed(data)
        assert written == hashed(echoed, "done")


# How a direction, and a stream, ends


async def test_go_answers_after_our_end(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    number = await go.accept()
    await send_all(stream, b"question")

    assert await go.read(number) == hashed(b"question")
    written = await go.write(number, MEBIBYTE // 8)
    await go.ask("close", number)

    assert hashed(await receive_all(stream), "done") == written
    await nothing_is_left(ours, go)


async def test_we_answer_after_the_end_of_go(met: Met) -> None:
    ours, go = met
    number = await go.open()
    stream = await ours.accept()
    written = await go.write(number, 1_000)
    await go.ask("close", number)
    assert hashed(await receive_all(stream), "done") == written

    answer = some_bytes(MEBIBYTE)
    _, heard = await both(partial(send_all, stream, answer), partial(go.read, number))

    assert heard == hashed(answer)
    await nothing_is_left(ours, go)


@pytest.mark.parametrize("window", [INITIAL_WINDOW, MEBIBYTE])
async def test_go_never_acknowledges_a_stream_that_we_ended_before_it_was_accepted(
    role: Role, program: Program, tmp_path: Path, window: int
) -> None:
    """What it says next stands for the acknowledgement; credit alone does not."""
    async with meeting(role, program, tmp_path, "-window", str(window)) as (ours, go):
        stream = ours.open(b"all at once")
        await stream.send_eof()
        await ours.ping()
        number = await go.accept()
        await until_go_has_nothing_to_say(ours, go)

        assert stream.stream.state is StreamState.OPENING_LOCAL_ENDED
        assert stream.stream.send_credit == window - len(b"all at once")
        assert await go.echo(number) == hashed(b"all at once")
        assert await receive_all(stream) == b"all at once"
        await nothing_is_left(ours, go)


async def test_go_may_end_such_a_stream_without_another_word(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    await stream.send_eof()
    await ours.ping()
    await go.ask("close", await go.accept())

    assert await receive_all(stream) == b""
    await nothing_is_left(ours, go)


async def test_go_may_end_a_stream_before_we_have_heard_of_it(met: Met) -> None:
    ours, go = met
    number = await go.open()
    written = await go.write(number, 10)
    await go.ask("close", number)

    stream = await ours.accept()

    assert hashed(await receive_all(stream), "done") == written


async def test_our_reset_is_a_reset_for_go_and_for_nobody_else(met: Met) -> None:
    ours, go = met
    stream, other = ours.open(), ours.open()
    number, number_of_other = await go.accept(), await go.accept()
    await stream.send(b"the start of something")
    await anyio.aclose_forcefully(stream)
    await ours.ping()

    assert await go.read(number) == hashed(b"", "connection reset")
    await send_all(other, b"fine")
    assert await go.echo(number_of_other) == hashed(b"fine")
    assert await receive_all(other) == b"fine"
    await nothing_is_left(ours, go)


async def test_a_reset_wakes_go_up_while_it_waits_for_credit(met: Met) -> None:
    ours, go = met
    number = await go.open()
    stream = await ours.accept()

    async def reset() -> None:
        await turn_until(lambda: len(stream._received) == INITIAL_WINDOW)
        await stream.aclose()  # something is unread, so that is a reset

    written, _ = await both(partial(go.write, number, MEBIBYTE, piece=MEBIBYTE), reset)

    assert (written.count, written.end) == (INITIAL_WINDOW, "connection reset")
    await nothing_is_left(ours, go)


async def test_a_reset_of_go_is_one_for_us(role: Role, program: Program, tmp_path: Path) -> None:
    """yamux has no call for it: it resets what it has closed and its peer does not end in time."""
    async with meeting(role, program, tmp_path, "-close-timeout", "1ms") as (ours, go):
        await go.ask("close", await go.open())
        stream = await ours.accept()

        await turn_until(lambda: stream.stream.is_closed)
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        await nothing_is_left(ours, go)


async def test_a_stream_that_we_refuse_is_reset_for_go(met: Met) -> None:
    ours, go = met
    ours.accepts = False
    number = await go.open()
    await ours.ping()

    assert await go.read(number) == hashed(b"", "connection reset")
    await nothing_is_left(ours, go)


async def test_go_refuses_the_streams_that_find_no_place_in_its_backlog(
    role: Role, program: Program, tmp_path: Path
) -> None:
    async with meeting(role, program, tmp_path, "-backlog", "4") as (ours, go):
        streams = [ours.open(b"word") for _ in range(6)]
        await until_go_has_nothing_to_say(ours, go)

        assert [stream.stream.is_closed for stream in streams] == [False] * 4 + [True] * 2
        for stream in streams[:4]:
            await stream.send_eof()
            assert await go.echo(await go.accept()) == hashed(b"word")
            assert await receive_all(stream) == b"word"
        with pytest.raises(anyio.BrokenResourceError):
            await streams[4].receive()
        await nothing_is_left(ours, go)


async def test_go_opens_more_streams_than_may_be_unacknowledged_since_we_acknowledge_them(
    role: Role, program: Program, tmp_path: Path
) -> None:
    async with meeting(role, program, tmp_path, "-backlog", "4") as (ours, go):
        for _ in range(9):
            await go.open()
        await ours.ping()

        assert len(ours.accepted) == 9


async def test_streams_that_are_opened_and_closed_in_a_rush_all_say_their_word(met: Met) -> None:
    ours, go = met

    async def hurry(number: int) -> None:
        stream = ours.open()
        word = f"word {number}".encode()
        await send_all(stream, word)
        assert await receive_all(stream) == word

    async def answer_go() -> None:
        for _ in range(500):
            tasks.start_soon(echo_of, await ours.accept())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go.ask, "serve", 200)
        tasks.start_soon(go.ask, "rush", 500)
        tasks.start_soon(answer_go)
        for number in range(200):
            tasks.start_soon(hurry, number)

    await nothing_is_left(ours, go)


# Windows


@pytest.mark.parametrize("window", [INITIAL_WINDOW, MEBIBYTE])
async def test_we_never_send_into_a_window_that_go_does_not_read_from(
    role: Role, program: Program, tmp_path: Path, window: int
) -> None:
    data = some_bytes(3 * MEBIBYTE)
    async with meeting(role, program, tmp_path, "-window", str(window)) as (ours, go):
        stream, other = ours.open(), ours.open()
        number, number_of_other = await go.accept(), await go.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_all, stream, data)
            await turn_until(lambda: stream.bytes_sent == window)
            await until_go_has_nothing_to_say(ours, go)
            assert stream.bytes_sent == window
            await send_all(other, b"not in the way")
            assert await go.echo(number_of_other) == hashed(b"not in the way")

            assert await go.read(number) == hashed(data)


async def test_go_never_sends_into_a_window_that_we_do_not_read_from(met: Met) -> None:
    ours, go = met
    number, number_of_other = await go.open(), await go.open()
    stream, other = await ours.accept(), await ours.accept()

    async def see() -> bytes:
        await turn_until(lambda: len(stream._received) == INITIAL_WINDOW)
        await until_go_has_nothing_to_say(ours, go)
        assert len(stream._received) == INITIAL_WINDOW
        written = await go.write(number_of_other, 100)
        assert hashed(await receive_exactly(other, 100), "done") == written
        return await receive_exactly(stream, 3 * MEBIBYTE)

    written, received = await both(partial(go.write, number, 3 * MEBIBYTE), see)

    assert written == hashed(received, "done")


async def test_go_would_have_said_so_if_we_had_sent_too_much(
    role: Role, program: Program, tmp_path: Path
) -> None:
    async with meeting(role, program, tmp_path) as (ours, go):
        stream = ours.open(bytes(INITIAL_WINDOW))
        ours.link.mux._send(data_frame(stream.stream.id, b"x"))
        await ours.bell.until(lambda: ours.is_lost)

        assert "receive window exceeded" in go.complaints()[0]
        go.forgive()


async def test_go_would_have_said_so_if_we_had_ended_twice(
    role: Role, program: Program, tmp_path: Path
) -> None:
    async with meeting(role, program, tmp_path) as (ours, go):
        stream = ours.open()
        await stream.send_eof()
        ours.link.mux._send(window_frame(stream.stream.id, flags=FIN))
        await ours.bell.until(lambda: ours.is_lost)

        assert "unexpected FIN" in go.complaints()[0]
        go.forgive()


async def test_a_deadline_of_go_says_nothing_to_us_and_the_stream_goes_on(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    number = await go.accept()
    await go.ask("deadline", number, 1)
    assert await go.read(number) == hashed(b"", "i/o deadline reached")
    await go.ask("no-deadline", number)

    first = await go.write(number, INITIAL_WINDOW)
    await go.ask("deadline", number, 1)
    assert await go.write(number, 1) == hashed(b"", "i/o deadline reached")
    await go.ask("no-deadline", number)

    assert hashed(await receive_exactly(stream, INITIAL_WINDOW), "done") == first
    second = await go.write(number, 1_000, seed=2)
    assert hashed(await receive_exactly(stream, 1_000), "done") == second
    await send_all(stream, b"still here")
    assert await go.read(number) == hashed(b"still here")


# The session


async def test_pings_are_answered_both_ways_also_in_the_middle_of_bulk(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    number = await go.accept()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go.write, number, 3 * MEBIBYTE)
        tasks.start_soon(receive_exactly, stream, 3 * MEBIBYTE)
        for value in (0, 1, 2**32 - 1):
            await ours.ping(value)
            await go.ask("ping")


async def test_go_opens_no_stream_once_we_are_going_away_and_the_open_ones_live_on(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    number = await go.accept()
    ours.link.mux.go_away(GoAwayCode.NORMAL)
    await ours.ping()

    with pytest.raises(GoError, match="remote end is not accepting connections"):
        await go.open()
    await send_all(stream, b"a last word")
    assert await go.echo(number) == hashed(b"a last word")
    assert await receive_all(stream) == b"a last word"


async def test_we_open_no_stream_once_go_is_going_away_and_the_open_ones_live_on(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    number = await go.accept()
    await go.ask("goaway")
    await ours.bell.until(lambda: ours.farewells)

    assert ours.farewells == [GoAwayCode.NORMAL]
    with pytest.raises(LocalProtocolError, match="going away"):
        ours.open()
    await send_all(stream, b"a last word")
    assert await go.echo(number) == hashed(b"a last word")
    assert await receive_all(stream) == b"a last word"
    await go.open()  # going away says nothing of the streams that its sender opens
    await ours.accept()


async def test_go_resets_a_stream_that_crossed_its_going_away(met: Met) -> None:
    ours, go = met
    await go.ask("goaway")
    ours.link.mux._peer_leaving = False  # as if it were still on its way
    stream = ours.open(b"crossed")
    await ours.ping()

    with pytest.raises(anyio.BrokenResourceError):
        await stream.receive()


async def test_a_session_that_go_closes_breaks_our_streams(met: Met) -> None:
    ours, go = met
    stream = ours.open()
    await go.write(await go.accept(), 1_000)
    await turn_until(lambda: len(stream._received) == 1_000)
    await go.ask("shutdown")
    await ours.bell.until(lambda: ours.is_lost)

    assert ours.error is None
    with pytest.raises(anyio.BrokenResourceError):
        await stream.receive()


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_a_session_that_we_end_is_an_end_of_file_for_go_even_where_the_stream_was_torn(
    met: Met, way: str
) -> None:
    """The reason why SPEC.md tells users of yamux to ask the session, too."""
    ours, go = met
    stream = ours.open()
    number = await go.accept()
    await stream.send(b"half of a")
    await ours.ping()
    getattr(ours.link, way)()
    await go.ask("closed")

    assert await go.read(number) == hashed(b"half of a", "EOF")


# The program itself


def test_the_program_is_formatted_and_vet_finds_nothing_in_it(program: Program) -> None:
    gofmt = Path(program.go).resolve().with_name("gofmt")
    unformatted = subprocess.run([gofmt, "-l", program.source], capture_output=True, text=True, check=True)

    assert unformatted.stdout == ""
    assert program.run_go("vet", "-buildvcs=false", ".").stderr == ""
