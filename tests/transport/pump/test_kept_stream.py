"""What a visitor says before it is accepted anywhere is said again where it is led next, once and whole."""

from __future__ import annotations

import pytest

from tests.support.mux_pair import Frame, data_frame, window_frame
from tests.transport.pump.played import FakeLink, FakeSocket, connect, stream_of
from tests.transport.world import RecordingOwner
from transport.pump.kept_stream import LIMIT
from transport.pump.relay import Relay
from transport.wire.errors import LocalProtocolError
from transport.wire.frames import ACK, FIN, RST, SYN, FrameType

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]


def say(relay: Relay, words: bytes) -> None:
    """As a visitor does, as far as the relay reads."""
    while words:
        room = relay.get_buffer(-1)[: len(words)]
        room[:] = words[: len(room)]
        relay.buffer_updated(len(room))
        words = words[len(room) :]


class Led:
    """A visitor whose stream is open and not accepted, and what it is led by next."""

    def __init__(self) -> None:
        self.owner = RecordingOwner(on_refused=lambda relay: None)
        self.relay = Relay(self.owner)
        self.connection: FakeSocket
        self.connection, self.link = connect(self.relay)
        self.next = FakeLink()

    def open(self, *, keeps: bool = True) -> Led:
        self.relay.open(self.link.as_link(), b"header", keeps=keeps)
        return self

    def refuse(self) -> None:
        self.link.end.receive(window_frame(stream_of(self.relay).id, 0, RST))

    def accept(self, link: FakeLink | None = None) -> None:
        (link or self.link).end.receive(window_frame(stream_of(self.relay).id, 0, ACK))

    def open_next(self, *, keeps: bool = False) -> list[Frame]:
        """The frames that the next client gets at once."""
        self.relay.open(self.next.as_link(), b"another header", keeps=keeps)
        return self.next.end.written()


@pytest.mark.parametrize("how", ["refused", "withdrawn"])
async def test_what_was_said_before_and_after_the_stream_was_opened_is_said_again_in_order(how: str) -> None:
    led = Led()
    led.relay.peek()
    say(led.relay, b"first ")
    led.open()
    say(led.relay, b"second ")
    say(led.relay, b"third")
    assert bytes(led.relay.early) == b""
    if how == "refused":
        led.refuse()
        assert led.owner.names(led.relay)[-1] == "refused"
    else:
        led.link.end.written()
        led.relay.withdraw()
        assert led.link.end.written() == [Frame(FrameType.WINDOW_UPDATE, RST, 2, 0)]
        assert led.owner.names(led.relay)[-1] == "peeked"
    frames = led.open_next()

    assert frames == [Frame(FrameType.DATA, SYN, 2, 32, b"another headerfirst second third")]
    assert led.relay.bytes_read == len(b"first second third")


async def test_without_another_client_nothing_is_kept() -> None:
    led = Led().open(keeps=False)
    say(led.relay, b"words")
    led.refuse()

    assert (bytes(led.relay.early), led.relay.stream) == (b"", None)


async def test_an_end_that_was_said_is_said_again() -> None:
    led = Led().open()
    say(led.relay, b"all of it")
    led.relay.eof_received()
    led.refuse()

    assert led.open_next() == [
        Frame(FrameType.DATA, SYN, 2, 23, b"another headerall of it"),
        Frame(FrameType.DATA, FIN, 2, 0),
    ]


async def test_no_more_is_read_than_is_kept_until_the_far_side_accepts() -> None:
    led = Led().open()
    led.connection.calls.clear()
    say(led.relay, bytes(LIMIT - 10))
    assert (len(led.relay.get_buffer(-1)), led.connection.calls) == (10, [])
    say(led.relay, bytes(10))
    assert led.connection.calls == ["pause"]
    led.relay.credit()
    assert led.connection.calls == ["pause"]
    led.accept()

    assert led.connection.calls == ["pause", "resume"]
    assert led.relay.stream is stream_of(led.relay)


async def test_a_stream_that_is_accepted_is_not_begun_again() -> None:
    led = Led().open()
    say(led.relay, b"words")
    led.accept()
    led.relay.withdraw()
    assert led.relay.stream is not None
    led.refuse()

    assert "refused" not in led.owner.names(led.relay)
    assert led.connection.calls[-1] == "abort"
    with pytest.raises(LocalProtocolError):
        led.open_next()


async def test_more_that_was_peeked_at_than_is_kept_goes_on_whole() -> None:
    led = Led()
    led.relay.peek()
    say(led.relay, bytes(LIMIT) + b"more")
    led.open()
    assert stream_of(led.relay).send_credit
    assert led.relay.stream is not None
    assert led.relay.stream.send_credit == 0
    assert led.connection.calls[-1] == "pause"  # a loop that finds no room to read into ends the connection
    led.refuse()

    (frame,) = led.open_next()
    assert frame.payload == b"another header" + bytes(LIMIT) + b"more"


async def test_what_waits_for_a_full_link_is_kept_and_goes_on_as_well() -> None:
    led = Led()
    led.relay.peek()
    say(led.relay, b"hello")
    led.link.is_paused = led.next.is_paused = True
    led.open()
    led.refuse()
    assert led.link.waiting == []
    led.relay.open(led.next.as_link(), b"another header", keeps=True)
    led.next.end.written()
    led.next.is_paused = False
    led.next.waiting[0]()
    assert led.next.end.written() == [Frame(FrameType.DATA, 0, 2, 5, b"hello")]
    led.next.end.receive(window_frame(2, 0, RST))

    assert bytes(led.relay.early) == b"hello"


async def test_one_refusal_after_the_other_keeps_everything_once() -> None:
    led = Led().open()
    say(led.relay, b"one ")
    for _ in range(3):
        led.refuse()
        led.open()
        say(led.relay, b"more ")
    led.refuse()
    led.open_next(keeps=True)
    led.accept(led.next)
    led.next.end.receive(data_frame(2, b"the answer"))

    assert led.connection.written == [b"the answer"]
    assert led.relay.bytes_read == len(b"one more more more ")
