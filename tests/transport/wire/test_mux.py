"""Two muxes and one link: what one end says is what the other end hears, and a liar gains nothing.

``test_mux_random.py`` says the same of everything that can happen, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mux_pair import (
    End,
    Frame,
    MuxPair,
    RecordingSink,
    data_frame,
    frame,
    frames_in,
    sink_of,
    window_frame,
)
from transport.wire.errors import LocalProtocolError, RemoteProtocolError
from transport.wire.frames import ACK, FIN, HEADER_SIZE, MAX_LENGTH, RST, SYN, FrameType, GoAwayCode
from transport.wire.mux import MuxLimits, MuxStream, Role, StreamSink
from transport.wire.stream_state import StreamState
from transport.wire.window import INITIAL_WINDOW

DATA, WINDOW, PING, GO_AWAY = FrameType


@pytest.fixture
def pair() -> MuxPair:
    return MuxPair()


@pytest.fixture
def server() -> End:
    """A gateway's mux, whose peer is what the test writes."""
    return End(Role.SERVER)


def offered(end: End, stream_id: int = 1) -> MuxStream:
    """A stream that the peer has opened and the end has accepted."""
    end.receive(window_frame(stream_id, flags=SYN))
    stream = end.offered[-1]
    stream.accept()
    end.written()
    return stream


# What is written


def test_the_dialing_side_opens_odd_streams_and_the_accepting_side_even_ones(pair: MuxPair) -> None:
    opened = [end.mux.open_stream(RecordingSink()).id for end in (pair.client, pair.server) for _ in range(3)]

    assert opened == [1, 3, 5, 2, 4, 6]


def test_a_stream_opens_with_a_window_update_or_with_its_first_data(pair: MuxPair) -> None:
    pair.client.mux.open_stream(RecordingSink())
    pair.client.mux.open_stream(RecordingSink(), b"hello")

    assert pair.client.written() == [Frame(WINDOW, SYN, 1, 0), Frame(DATA, SYN, 3, 5, b"hello")]


def test_a_stream_is_accepted_with_an_acknowledging_window_update(server: End) -> None:
    server.receive(window_frame(1, flags=SYN))
    assert server.written() == []
    server.offered[0].accept()

    assert server.written() == [Frame(WINDOW, ACK, 1, 0)]


def test_a_refused_stream_is_reset_and_forgotten(pair: MuxPair) -> None:
    pair.server.accepts = False
    stream = pair.client.mux.open_stream(RecordingSink(), b"hello")
    pair.deliver(pair.client)

    assert frames_in(pair.server.mux.take_output()) == [Frame(WINDOW, RST, 1, 0)]
    assert pair.server.mux.streams == {}
    assert stream.id in pair.client.mux.streams


def test_an_end_is_an_empty_data_frame_and_a_reset_a_window_update(server: End) -> None:
    one, three = offered(server, 1), offered(server, 3)
    one.send(b"last")
    one.send_fin()
    three.reset()

    assert server.written() == [
        Frame(DATA, 0, 1, 4, b"last"),
        Frame(DATA, FIN, 1, 0),
        Frame(WINDOW, RST, 3, 0),
    ]


def test_credit_comes_back_as_one_frame_for_a_quarter_of_a_window(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send(bytes(INITIAL_WINDOW))
    pair.settle()
    for _ in range(INITIAL_WINDOW // 1024):
        far.take(1024)

    assert pair.server.written() == [Frame(WINDOW, 0, 1, INITIAL_WINDOW // 4)] * 4


def test_no_credit_is_given_to_a_direction_that_has_ended(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send(bytes(INITIAL_WINDOW))
    stream.send_fin()
    pair.settle()
    far.take(INITIAL_WINDOW)

    assert pair.server.written() == []


# What is heard


def test_data_arrives_at_the_other_end_of_its_stream(pair: MuxPair) -> None:
    one, far_one = pair.open(pair.client)
    two, far_two = pair.open(pair.server)
    one.send(b"to the gateway")
    far_one.send(b"to the client")
    two.send(b"to the client, too")
    far_two.send(b"to the gateway, too")
    pair.settle()

    assert [bytes(sink_of(stream).received) for stream in (far_one, one, far_two, two)] == [
        b"to the gateway",
        b"to the client",
        b"to the client, too",
        b"to the gateway, too",
    ]


def test_what_opens_a_stream_is_its_first_data(pair: MuxPair) -> None:
    _, far = pair.open(pair.client, b"open header")

    assert bytes(sink_of(far).received) == b"open header"


def test_data_sent_before_the_acknowledgement_arrives(pair: MuxPair) -> None:
    stream = pair.client.mux.open_stream(RecordingSink(), b"a")
    stream.send(b"b")
    stream.send_fin()
    pair.settle()
    far = pair.server.offered[0]

    assert bytes(sink_of(far).received) == b"ab"
    assert sink_of(far).is_ended
    far.accept()
    far.send(b"answer")
    far.send_fin()
    pair.settle()
    assert bytes(sink_of(stream).received) == b"answer"
    assert pair.client.mux.streams == pair.server.mux.streams == {}


def test_the_opener_is_told_once_that_its_stream_was_accepted(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)

    assert (sink_of(stream).acknowledgements, sink_of(far).acknowledgements) == (1, 0)


def test_each_direction_ends_alone(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send_fin()
    pair.settle()
    far.send(b"still here")
    pair.settle()

    assert sink_of(far).is_ended
    assert not sink_of(stream).is_ended
    assert bytes(sink_of(stream).received) == b"still here"
    far.send_fin()
    pair.settle()
    assert stream.is_closed
    assert far.is_closed
    assert not sink_of(stream).is_reset


def test_a_reset_reaches_the_other_end_behind_what_was_sent_before(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send(b"before")
    stream.reset()
    pair.settle()

    assert bytes(sink_of(far).received) == b"before"
    assert sink_of(far).is_reset
    assert not sink_of(stream).is_reset  # who resets knows it
    assert pair.client.mux.streams == pair.server.mux.streams == {}


def test_a_reset_waits_for_nothing(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send(bytes(INITIAL_WINDOW))
    assert stream.send_credit == 0
    stream.reset()
    stream.reset()
    pair.settle()

    assert sink_of(far).is_reset


def test_resets_that_cross_on_the_wire_are_one_reset(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.reset()
    far.reset()
    pair.settle()

    assert not sink_of(stream).is_reset
    assert not sink_of(far).is_reset
    assert pair.client.mux.streams == pair.server.mux.streams == {}


def test_what_crosses_a_reset_on_the_wire_is_dropped(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    other, far_other = pair.open(pair.client)
    far.send(bytes(1000))
    far.send_fin()
    far_other.send(b"for somebody else")
    stream.reset()
    pair.settle()

    assert bytes(sink_of(stream).received) == b""
    assert bytes(sink_of(other).received) == b"for somebody else"


def test_a_stream_that_was_reset_while_its_frame_arrives_hears_no_more_of_it(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    far.send(b"x" * 100)
    far.send(b"y" * 100)
    pair.deliver(pair.server, HEADER_SIZE + 50)
    assert len(sink_of(stream).received) == 50
    stream.reset()
    pair.settle()

    assert len(sink_of(stream).received) == 50
    fresh, far_fresh = pair.open(pair.client)
    far_fresh.send(b"in step again")
    pair.settle()
    assert bytes(sink_of(fresh).received) == b"in step again"


def test_a_ping_is_answered_with_its_value(pair: MuxPair) -> None:
    pair.client.mux.ping(7)
    pair.server.mux.ping(0xFFFFFFFF)
    pair.settle()

    assert (pair.client.pongs, pair.server.pongs) == ([7], [0xFFFFFFFF])


@given(st.integers(1, 40), st.binary(min_size=1, max_size=100))
def test_frames_may_be_cut_anywhere(pieces: int, payload: bytes) -> None:
    end = End(Role.SERVER)
    end.receive(
        window_frame(1, flags=SYN)
        + data_frame(1, payload)
        + frame(PING, SYN, 0, 9)
        + data_frame(3, payload, SYN | FIN)
        + window_frame(1, 5, FIN),
        pieces=pieces,
    )

    one, three = end.offered
    assert bytes(sink_of(one).received) == bytes(sink_of(three).received) == payload
    assert sink_of(one).is_ended
    assert sink_of(three).is_ended
    assert one.send_credit == INITIAL_WINDOW + 5
    assert end.written() == [Frame(PING, ACK, 0, 9)]


# Credit


def test_no_more_is_sent_than_there_is_credit_for(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    with pytest.raises(LocalProtocolError):
        stream.send(bytes(INITIAL_WINDOW + 1))
    stream.send(bytes(INITIAL_WINDOW))
    with pytest.raises(LocalProtocolError):
        stream.send(b"x")
    pair.settle()

    assert len(sink_of(far).received) == INITIAL_WINDOW
    assert stream.send_credit == 0


def test_what_opens_a_stream_is_paid_for_too(pair: MuxPair) -> None:
    with pytest.raises(LocalProtocolError):
        pair.client.mux.open_stream(RecordingSink(), bytes(INITIAL_WINDOW + 1))
    assert pair.client.mux.streams == {}
    stream = pair.client.mux.open_stream(RecordingSink(), bytes(1000))

    assert (stream.id, stream.send_credit) == (1, INITIAL_WINDOW - 1000)


def test_credit_lets_the_sender_go_on_and_tells_it(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send(bytes(INITIAL_WINDOW))
    pair.settle()
    assert sink_of(stream).credits == 0
    far.take(INITIAL_WINDOW)
    pair.settle()

    assert sink_of(stream).credits == 1
    assert stream.send_credit == INITIAL_WINDOW


def test_a_peer_with_larger_windows_may_grant_them_while_it_opens_and_accepts(pair: MuxPair) -> None:
    """yamux lets either side do that in the frame with the SYN or the ACK."""
    pair.server.receive(window_frame(1, 1_000_000, SYN))
    assert pair.server.offered[0].send_credit == INITIAL_WINDOW + 1_000_000
    stream = pair.client.mux.open_stream(RecordingSink())
    pair.client.receive(window_frame(stream.id, 1_000_000, ACK))

    assert stream.send_credit == INITIAL_WINDOW + 1_000_000
    assert stream.state is StreamState.OPEN


def test_credit_for_bytes_sent_before_our_end_is_no_error_and_nobody_is_told(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    stream.send(bytes(INITIAL_WINDOW))
    pair.deliver(pair.client)
    far.take(INITIAL_WINDOW)
    stream.send_fin()
    pair.settle()

    assert sink_of(stream).credits == 0


# What we may not do


@pytest.mark.parametrize(
    "act",
    [
        lambda stream: stream.send(b"x"),
        lambda stream: stream.send_fin(),
        lambda stream: stream.accept(),
    ],
)
def test_nothing_is_sent_on_a_stream_that_is_closed(pair: MuxPair, act: Callable[[MuxStream], None]) -> None:
    stream, _ = pair.open(pair.client)
    stream.reset()
    pair.settle()
    with pytest.raises(LocalProtocolError):
        act(stream)

    assert pair.client.written() == []


def test_nothing_is_sent_behind_our_end(pair: MuxPair) -> None:
    stream, _ = pair.open(pair.client)
    stream.send_fin()
    with pytest.raises(LocalProtocolError):
        stream.send(b"x")
    with pytest.raises(LocalProtocolError):
        stream.send_fin()


def test_an_offered_stream_is_accepted_before_anything_is_sent_on_it(server: End) -> None:
    server.receive(window_frame(1, flags=SYN))
    stream = server.offered[0]
    with pytest.raises(LocalProtocolError):
        stream.send(b"x")
    with pytest.raises(LocalProtocolError):
        stream.send_fin()
    stream.accept()
    with pytest.raises(LocalProtocolError):
        stream.accept()
    stream.send(b"x")

    assert server.written() == [Frame(WINDOW, ACK, 1, 0), Frame(DATA, 0, 1, 1, b"x")]


# What a peer may not do

hostile = pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        pytest.param(b"\x01" + bytes(11), "version", id="a later version"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "version", id="another protocol"),
        pytest.param(frame(4, 0, 1, 0), "type", id="a type that does not exist"),
        pytest.param(frame(255, 0, 0, 0), "type", id="the last type"),
        pytest.param(frame(DATA, 0x10, 1, 0), "flags", id="a flag that does not exist"),
        pytest.param(frame(WINDOW, 0x8000, 1, 0), "flags", id="the last flag"),
        pytest.param(data_frame(0, b"x"), "without the stream's id", id="data for the session"),
        pytest.param(window_frame(0, 5), "without the stream's id", id="credit for the session"),
        pytest.param(window_frame(0, flags=SYN), "not the peer's", id="the session opened"),
        pytest.param(frame(PING, SYN, 1, 0), "session", id="a ping for a stream"),
        pytest.param(frame(GO_AWAY, 0, 3, 0), "session", id="a farewell for a stream"),
        pytest.param(frame(GO_AWAY, 0, 0, 3), "code", id="a farewell with an unknown code"),
        pytest.param(window_frame(2, flags=SYN), "not the peer's", id="a stream with our parity"),
        pytest.param(window_frame(1, flags=SYN) * 2, "twice", id="a stream opened twice"),
        pytest.param(window_frame(1, flags=SYN | ACK), "RECV_ACK", id="a stream that acknowledges itself"),
        pytest.param(
            window_frame(1, flags=SYN) + window_frame(1, flags=ACK), "RECV_ACK", id="ACK by who opened"
        ),
        pytest.param(
            window_frame(1, flags=SYN | FIN) + data_frame(1, b"x"), "RECV_DATA", id="data behind the end"
        ),
        pytest.param(window_frame(1, flags=SYN | FIN) + data_frame(1, b"", FIN), "RECV_FIN", id="two ends"),
        pytest.param(
            frame(DATA, SYN, 1, INITIAL_WINDOW + 1), "window of 262144", id="more than the first window"
        ),
        pytest.param(
            frame(DATA, SYN, 1, INITIAL_WINDOW, bytes(INITIAL_WINDOW)) + data_frame(1, b"x"),
            "window of 0",
            id="a byte more than the window",
        ),
        pytest.param(
            window_frame(1, flags=SYN) + frame(DATA, 0, 1, MAX_LENGTH), "window of", id="the longest frame"
        ),
        pytest.param(window_frame(1, MAX_LENGTH, SYN), "window can hold", id="more credit than can be"),
        pytest.param(
            window_frame(1, MAX_LENGTH - INITIAL_WINDOW, SYN) + window_frame(1, 1),
            "window can hold",
            id="credit that adds up to too much",
        ),
    ],
)


@hostile
@pytest.mark.parametrize("pieces", [None, 1])
def test_a_peer_that_breaks_the_protocol_is_told_apart(
    server: End, wire: bytes, complaint: str, pieces: int | None
) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        server.receive(wire, pieces=pieces)


@hostile
def test_the_error_is_the_same_for_the_streams_of_the_other_role(wire: bytes, complaint: str) -> None:
    """Every id one higher: the same lies, told to the dialing side."""
    told = bytearray(wire)
    position = 0
    while position + HEADER_SIZE <= len(told):
        kind, stream_id = told[position + 1], int.from_bytes(told[position + 4 : position + 8], "big")
        length = int.from_bytes(told[position + 8 : position + 12], "big")
        if stream_id:
            told[position + 4 : position + 8] = (stream_id + 1).to_bytes(4, "big")
        position += HEADER_SIZE + (length if kind == DATA else 0)
    with pytest.raises(RemoteProtocolError):
        End(Role.CLIENT).receive(bytes(told))


@pytest.mark.parametrize("ends_first", [False, True])
@pytest.mark.parametrize(
    "answer",
    [data_frame(1, b"x"), data_frame(1, b"", FIN), data_frame(1, b"x", FIN), window_frame(1, 0, FIN)],
)
def test_an_answer_without_an_acknowledgement_stands_for_one(answer: bytes, ends_first: bool) -> None:
    """hashicorp/yamux sends none when our FIN arrives before its program has called Accept."""
    client = End(Role.CLIENT)
    stream = client.mux.open_stream(RecordingSink())
    if ends_first:
        stream.send_fin()
    client.receive(answer)
    sink = sink_of(stream)

    assert sink.acknowledgements == 1
    assert bytes(sink.received) == frames_in(answer)[0].payload
    assert sink.is_ended is bool(frames_in(answer)[0].flags & FIN)
    assert stream.is_closed is (ends_first and sink.is_ended)
    with pytest.raises(RemoteProtocolError):
        client.receive(data_frame(1, b"x", ACK) if not stream.is_closed else b"\x01" * HEADER_SIZE)


@pytest.mark.parametrize("answer", [window_frame(1, 5), data_frame(1, b"")])
def test_what_says_nothing_stands_for_no_acknowledgement(answer: bytes) -> None:
    client = End(Role.CLIENT)
    stream = client.mux.open_stream(RecordingSink())
    client.receive(answer)

    assert stream.state is StreamState.OPENING
    assert sink_of(stream).acknowledgements == 0


def test_two_acknowledgements_are_the_peers_error() -> None:
    client = End(Role.CLIENT)
    stream = client.mux.open_stream(RecordingSink())
    client.receive(window_frame(stream.id, flags=ACK))
    with pytest.raises(RemoteProtocolError):
        client.receive(window_frame(stream.id, flags=ACK))


def test_an_acknowledgement_may_come_with_data_and_an_end() -> None:
    """Another yamux may put the ACK onto whatever it sends first."""
    client = End(Role.CLIENT)
    stream = client.mux.open_stream(RecordingSink())
    client.receive(data_frame(stream.id, b"banner", ACK | FIN))

    assert sink_of(stream).acknowledgements == 1
    assert bytes(sink_of(stream).received) == b"banner"
    assert sink_of(stream).is_ended


@pytest.mark.parametrize("flags", [0, ACK, FIN, RST, ACK | FIN | RST])
@pytest.mark.parametrize("kind", [DATA, WINDOW])
def test_frames_of_a_stream_that_is_gone_or_never_was_are_passed_over(
    server: End, kind: FrameType, flags: int
) -> None:
    """They cross our reset on the wire, and we keep no list of the dead."""
    offered(server, 1).reset()
    server.written()
    for stream_id in (1, 2, 99):
        server.receive(frame(kind, flags, stream_id, 100, bytes(100) if kind == DATA else b""))

    assert server.written() == []
    assert server.mux.streams == {}


def test_the_payload_of_a_dead_stream_is_kept_nowhere(server: End) -> None:
    server.receive(frame(DATA, 0, 77, MAX_LENGTH))
    for _ in range(100):
        server.receive(bytes(65_536))

    assert server.mux.output_size == 0
    assert server.offered == []


def test_a_pong_that_nobody_asked_for_is_passed_on_and_no_flag_is_passed_over(server: End) -> None:
    server.receive(frame(PING, ACK, 0, 5) + frame(PING, 0, 0, 6))

    assert (server.pongs, server.written()) == ([5], [])


# Limits


def test_a_ping_flood_is_cut_off_once_the_answers_are_not_read() -> None:
    end = End(Role.SERVER, MuxLimits(max_answers=100))
    end.receive(frame(PING, SYN, 0, 1) * 100)
    end.flush()  # read: counting begins again
    end.receive(frame(PING, SYN, 0, 1) * 100)
    with pytest.raises(RemoteProtocolError, match="faster than it reads"):
        end.receive(frame(PING, SYN, 0, 1))

    assert end.mux.output_size == 100 * HEADER_SIZE


def test_streams_beyond_the_number_that_may_wait_are_refused_and_the_others_live() -> None:
    end = End(Role.SERVER, MuxLimits(max_offered=3))
    end.receive(b"".join(window_frame(number, flags=SYN) for number in (1, 3, 5, 7)))
    assert [stream.id for stream in end.offered] == [1, 3, 5]
    assert end.written() == [Frame(WINDOW, RST, 7, 0)]

    end.offered[0].accept()
    end.receive(window_frame(9, flags=SYN))
    assert end.offered[-1].id == 9
    end.offered[1].reset()
    end.receive(window_frame(11, flags=SYN))
    assert end.offered[-1].id == 11
    end.receive(window_frame(5, flags=RST))
    end.receive(window_frame(13, flags=SYN))
    assert end.offered[-1].id == 13
    end.written()
    end.receive(window_frame(15, flags=SYN))
    assert end.written() == [Frame(WINDOW, RST, 15, 0)]


def test_streams_beyond_the_number_that_may_live_are_refused_on_either_side() -> None:
    end = End(Role.SERVER, MuxLimits(max_streams=2))
    offered(end, 1)
    end.mux.open_stream(RecordingSink())
    assert not end.mux.can_open
    with pytest.raises(LocalProtocolError, match="limit"):
        end.mux.open_stream(RecordingSink())
    end.written()
    end.receive(window_frame(3, flags=SYN))

    assert end.written() == [Frame(WINDOW, RST, 3, 0)]


def test_a_flood_of_streams_that_are_refused_is_cut_off_like_a_flood_of_pings() -> None:
    end = End(Role.SERVER, MuxLimits(max_answers=100), accepts=False)
    flood = b"".join(window_frame(number, flags=SYN) for number in range(1, 203, 2))
    with pytest.raises(RemoteProtocolError, match="faster than it reads"):
        end.receive(flood)

    assert end.mux.streams == {}


def test_a_flood_of_streams_that_are_reset_once_they_are_known_is_cut_off_too() -> None:
    end = End(Role.SERVER, MuxLimits(max_answers=100))
    for number in range(1, 203, 2):
        end.receive(window_frame(number, flags=SYN))
        end.offered[-1].reset()
    with pytest.raises(RemoteProtocolError, match="faster than it reads"):
        end.receive(window_frame(203, flags=SYN))
    end.flush()  # read: counting begins again
    end.receive(window_frame(205, flags=SYN))

    assert end.offered[-1].id == 205


def test_the_data_of_a_refused_stream_is_dropped() -> None:
    end = End(Role.SERVER, accepts=False)
    end.receive(data_frame(1, b"open header", SYN | FIN) + frame(PING, SYN, 0, 3))

    assert end.written() == [Frame(WINDOW, RST, 1, 0), Frame(PING, ACK, 0, 3)]


def test_a_peer_that_makes_us_speak_and_does_not_read_is_cut_off() -> None:
    """Opened, accepted and reset, again and again: no answer to count, and twelve bytes each time."""
    end = End(Role.SERVER, MuxLimits(max_unsent=1_200))
    for number in range(1, 203, 2):
        end.receive(window_frame(number, flags=SYN))
        end.offered[-1].accept()
        if end.mux.output_size <= 1_200:
            end.receive(window_frame(number, flags=RST))
    with pytest.raises(RemoteProtocolError, match="does not read"):
        end.receive(window_frame(203, flags=SYN))


def test_our_stream_ids_end_and_say_so(pair: MuxPair) -> None:
    for end, last in ((pair.client, 2**32 - 1), (pair.server, 2**32 - 2)):
        end.mux._next_id = last
        opened = end.mux.open_stream(RecordingSink())
        assert (opened.id, end.mux.can_open) == (last, False)
        with pytest.raises(LocalProtocolError, match="connect again"):
            end.mux.open_stream(RecordingSink())


# The end of the session


def test_who_is_going_away_opens_nothing_and_accepts_nothing(pair: MuxPair) -> None:
    stream, far = pair.open(pair.client)
    pair.server.mux.go_away(GoAwayCode.NORMAL)
    with pytest.raises(LocalProtocolError, match="going away"):
        pair.server.mux.open_stream(RecordingSink())
    late = pair.client.mux.open_stream(RecordingSink())  # crosses the farewell on the wire
    pair.settle()

    assert pair.client.farewells == [GoAwayCode.NORMAL]
    assert sink_of(late).is_reset
    with pytest.raises(LocalProtocolError, match="going away"):
        pair.client.mux.open_stream(RecordingSink())
    assert not pair.client.mux.can_open
    stream.send(b"open streams go on")
    pair.settle()
    assert bytes(sink_of(far).received) == b"open streams go on"


def test_a_peer_that_accepts_no_more_may_still_open(pair: MuxPair) -> None:
    """GOAWAY says what its sender accepts, not what it will do; the spec leaves its receiver alone."""
    pair.client.receive(frame(GO_AWAY, 0, 0, GoAwayCode.NORMAL))
    pair.client.receive(window_frame(2, flags=SYN))

    assert [stream.id for stream in pair.client.offered] == [2]


@pytest.mark.parametrize("code", GoAwayCode)
def test_a_farewell_arrives_with_its_reason(pair: MuxPair, code: GoAwayCode) -> None:
    pair.client.mux.go_away(code)
    pair.settle()

    assert pair.server.farewells == [code]


def test_the_loss_of_the_link_resets_every_stream_once_and_ends_the_session(pair: MuxPair) -> None:
    streams = [pair.open(pair.client)[0] for _ in range(5)]
    streams[1].send_fin()
    waiting = pair.client.mux.open_stream(RecordingSink())
    pair.client.mux.connection_lost()
    pair.client.mux.connection_lost()

    assert all(sink_of(stream).is_reset for stream in [*streams, waiting])
    assert pair.client.mux.streams == {}
    with pytest.raises(LocalProtocolError):
        pair.client.mux.open_stream(RecordingSink())
    pair.client.receive(frame(PING, SYN, 0, 1) + b"anything at all")
    assert pair.client.pongs == []


# Sinks and owners that call back


class _Act(RecordingSink):
    """Does something when it is told something."""

    def __init__(self, **acts: Callable[[], None]) -> None:
        super().__init__()
        self._acts = acts

    def data(self, chunk: memoryview) -> None:
        super().data(chunk)
        self._act("data")

    def fin(self) -> None:
        super().fin()
        self._act("fin")

    def reset(self) -> None:
        super().reset()
        self._act("reset")

    def acknowledged(self) -> None:
        super().acknowledged()
        self._act("acknowledged")

    def credit(self) -> None:
        super().credit()
        self._act("credit")

    def _act(self, name: str) -> None:
        if name in self._acts:
            self._acts[name]()


@pytest.mark.parametrize("told", ["acknowledged", "data", "credit"])
def test_a_sink_may_reset_its_stream_whatever_it_is_told(told: str) -> None:
    """And the peer, who could not know, is not blamed for the rest of its frame."""
    client = End(Role.CLIENT)
    sink = _Act(**{told: lambda: stream.reset()})
    stream: MuxStream = client.mux.open_stream(sink)
    client.written()
    client.receive(window_frame(stream.id, 10, ACK))
    client.receive(data_frame(stream.id, b"x" * 20, FIN), pieces=5)

    assert client.written() == [Frame(WINDOW, RST, stream.id, 0)]
    assert not sink.is_ended
    assert client.mux.streams == {}


def test_a_stream_reset_in_the_acknowledgement_that_carries_data_is_nobodys_error() -> None:
    client = End(Role.CLIENT)
    sink = _Act(acknowledged=lambda: stream.reset())
    stream: MuxStream = client.mux.open_stream(sink)
    client.receive(data_frame(stream.id, b"x" * 20, ACK | FIN))

    assert (bytes(sink.received), sink.is_ended) == (b"", False)


@pytest.mark.parametrize("told", ["data", "fin", "reset", "acknowledged", "credit"])
def test_a_session_that_ends_within_a_callback_hears_nothing_after_it(told: str) -> None:
    client = End(Role.CLIENT)
    sink = _Act(**{told: client.mux.connection_lost})
    stream = client.mux.open_stream(sink)
    bystander = client.mux.open_stream(RecordingSink())
    client.written()
    client.receive(
        window_frame(stream.id, 10, ACK)
        + data_frame(stream.id, b"x")
        + window_frame(stream.id, 10)
        + (window_frame(stream.id, 0, RST) if told == "reset" else data_frame(stream.id, b"", FIN))
        + frame(PING, SYN, 0, 1)
        + frame(PING, ACK, 0, 2)
        + frame(GO_AWAY, 0, 0, 0)
        + window_frame(2, flags=SYN)
        + b"nonsense that nobody reads"
    )

    assert sink_of(bystander).is_reset
    assert [*client.pongs, *client.farewells, *client.offered, *client.written()] == []


def test_the_loss_of_the_link_survives_sinks_that_reset_each_other() -> None:
    client = End(Role.CLIENT)
    streams: list[MuxStream] = []

    def reset_all() -> None:
        for stream in streams:
            stream.reset()

    sinks = [_Act(reset=reset_all) for _ in range(3)]
    streams += [client.mux.open_stream(sink) for sink in sinks]
    client.mux.connection_lost()

    assert client.mux.streams == {}
    assert [sink.is_reset for sink in sinks] == [True, False, False]  # who is reset by us is not told


@pytest.mark.parametrize("act", ["accept", "reset", "lose", "accept and refuse"])
def test_an_owner_may_act_on_a_stream_while_it_is_offered(act: str) -> None:
    class Owner(End):
        def stream_offered(self, stream: MuxStream) -> StreamSink | None:
            if act.startswith("accept"):
                stream.accept()
            elif act == "reset":
                stream.reset()
            else:
                self.mux.connection_lost()
            return None if act == "accept and refuse" else RecordingSink()

    end = Owner(Role.SERVER)
    end.receive(data_frame(1, b"first", SYN) + data_frame(1, b"second", FIN))

    assert (
        end.written()
        == {
            "accept": [Frame(WINDOW, ACK, 1, 0)],
            "reset": [Frame(WINDOW, RST, 1, 0)],
            "lose": [],
            "accept and refuse": [Frame(WINDOW, ACK, 1, 0), Frame(WINDOW, RST, 1, 0)],
        }[act]
    )
    assert list(end.mux.streams) == ([1] if act == "accept" else [])
    assert end.mux._offered == 0


# Fuzzing

any_frame = st.builds(
    lambda kind, flags, stream_id, size, is_honest: frame(
        kind, flags, stream_id, size, bytes(min(size, 64)) if kind == DATA and is_honest else b""
    ),
    st.sampled_from([DATA, WINDOW, PING, GO_AWAY, DATA, WINDOW, 4]),
    st.sampled_from([0, SYN, ACK, FIN, RST, SYN | FIN, ACK | FIN, FIN | RST, SYN | ACK, 0x10]),
    st.sampled_from([0, 1, 2, 3, 4, 5, 7, 2**32 - 1]),
    st.sampled_from([0, 1, 2, 17, 64, 100_000, INITIAL_WINDOW, INITIAL_WINDOW + 1, MAX_LENGTH]),
    st.booleans(),
)


@given(st.sampled_from(Role), st.lists(any_frame, max_size=30), st.integers(1, 200), st.data())
def test_any_sequence_of_frames_is_understood_or_is_the_peers_error_and_nothing_else(
    role: Role, wire: list[bytes], pieces: int, data: st.DataObject
) -> None:
    end = End(role)
    for _ in range(data.draw(st.integers(0, 3))):
        end.mux.open_stream(RecordingSink())
    with suppress(RemoteProtocolError):
        for part in wire:
            end.receive(part, pieces=pieces)
            for stream in end.offered:
                if data.draw(st.booleans()) and not stream.is_closed and stream.state.name.startswith("OFF"):
                    stream.accept()

    _books_are_right(end)


@given(st.sampled_from(Role), st.binary(max_size=400), st.integers(1, 50))
def test_noise_is_the_peers_error_and_nothing_else(role: Role, noise: bytes, pieces: int) -> None:
    end = End(role)
    with suppress(RemoteProtocolError):
        end.receive(b"\x00" + noise, pieces=pieces)

    _books_are_right(end)


def _books_are_right(end: End) -> None:
    assert end.mux._offered == sum(
        stream.state.name.startswith("OFFERED") for stream in end.mux.streams.values()
    )
    assert all(stream.id == number and not stream.is_closed for number, stream in end.mux.streams.items())
    assert all(stream.send_credit >= 0 for stream in end.mux.streams.values())
    end.mux.connection_lost()
    assert end.mux._offered == 0
    assert end.mux.streams == {}
