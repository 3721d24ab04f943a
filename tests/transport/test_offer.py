"""An offered stream keeps what came on it until there is a socket, and is told of once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from schemas.messages import FailureCode, StreamFailed
from tests.support.mux_pair import End, Frame, data_frame, window_frame
from transport.offer import Offer
from transport.pump.held import Held
from transport.pump.relay import Relay
from transport.pump.sockets import dial_tcp
from transport.session import Session
from transport.wire.frames import FIN, RST, SYN, FrameType
from transport.wire.mux import MuxStream, Role, StreamSink
from transport.wire.open_header import OpenHeader, peek_open_header
from transport.wire.window import INITIAL_WINDOW

from .world import RecordingOwner, World, turn_until

_TEXT: Final = b'{"tunnel":"t","service":"s","source":["192.0.2.1",1],"destination":["192.0.2.2",2]}'
HEADER: Final = len(_TEXT).to_bytes(2, "big") + _TEXT


class OfferingEnd(End):
    """A client's mux whose streams become offers, as a session does it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.held = Held(10**9)
        self.ready: list[Offer] = []
        self.failed: list[tuple[Offer, FailureCode, str]] = []
        self.on_failed: Callable[[], None] = lambda: None

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        return Offer(stream, self.held, self, peek_open_header)

    def offer_ready(self, offer: Offer) -> None:
        self.ready.append(offer)

    def offer_failed(self, offer: Offer, code: FailureCode, message: str) -> None:
        self.failed.append((offer, code, message))
        self.on_failed()


@pytest.fixture
def end() -> OfferingEnd:
    return OfferingEnd(Role.CLIENT)


@pytest.mark.parametrize("pieces", [1, 3, None])
def test_an_offer_is_told_of_once_its_header_is_whole(end: OfferingEnd, pieces: int | None) -> None:
    end.receive(data_frame(2, HEADER[:-1], SYN), pieces=pieces)
    assert end.ready == []
    end.receive(data_frame(2, HEADER[-1:] + b"hello"), pieces=pieces)
    end.receive(data_frame(2, b" there", FIN), pieces=pieces)
    (offer,) = end.ready

    assert isinstance(offer.header, OpenHeader)
    assert (offer.header.tunnel, offer.header.source.host) == ("t", "192.0.2.1")
    assert end.failed == []
    assert bytes(offer._early) == b"hello there"


def test_an_offer_holds_a_window_at_most(end: OfferingEnd) -> None:
    """No credit goes back for what waits."""
    end.receive(data_frame(2, HEADER, SYN))
    end.receive(data_frame(2, bytes(INITIAL_WINDOW - len(HEADER))))
    (offer,) = end.ready

    assert len(offer._early) == INITIAL_WINDOW - len(HEADER)
    assert end.written() == []


@pytest.mark.parametrize("first", [b"\xff\xff", b"\x00\x02[]", b"\x00\x00"])
def test_a_header_that_makes_no_sense_is_told_once_and_what_follows_is_dropped(
    end: OfferingEnd, first: bytes
) -> None:
    end.receive(data_frame(2, first, SYN))
    end.receive(data_frame(2, b"and more"))
    end.receive(data_frame(2, b"", FIN))
    end.receive(window_frame(2, 0, RST))
    ((offer, code, message),) = end.failed

    assert end.ready == []
    assert code is FailureCode.MALFORMED
    assert "open header" in message
    assert (offer.holding, end.held.size) == (0, 0)


def test_a_stream_that_ends_within_its_header_is_an_error(end: OfferingEnd) -> None:
    end.receive(data_frame(2, HEADER[:-1], SYN | FIN))
    ((_, code, message),) = end.failed

    assert (code, message) == (FailureCode.MALFORMED, "the stream ended within its header")


@pytest.mark.parametrize("ending", ["reset", "refuse"])
def test_what_waits_is_counted_until_the_offer_ends(end: OfferingEnd, ending: str) -> None:
    end.receive(data_frame(2, HEADER + b"hello", SYN))
    assert end.held.size == 5
    if ending == "reset":
        end.receive(window_frame(2, 0, RST))
    else:
        end.ready[0].refuse(FailureCode.SERVICE_DOWN, "it does not answer")

    assert end.held.size == 0


def test_an_offer_that_has_to_make_room_is_refused_and_its_dial_given_up(end: OfferingEnd) -> None:
    """A hostile gateway could otherwise make a client hold a window for each of thousands of dials."""
    end.held = Held(1_000)
    told: list[str] = []
    end.receive(data_frame(2, HEADER, SYN))
    end.ready[0].on_reset = lambda: told.append("given up")
    end.receive(data_frame(2, bytes(1_001)))
    ((offer, code, message),) = end.failed

    assert told == ["given up"]
    assert (offer, code) == (end.ready[0], FailureCode.OTHER)
    assert message == "as much waits on this side as may, for those who do not answer"
    assert end.held.size == 0


def test_a_reset_is_passed_on_once_also_if_refusing_ends_the_session(end: OfferingEnd) -> None:
    """As it does where the gateway does not read what it is told."""
    end.held = Held(1_000)
    told: list[str] = []
    end.receive(data_frame(2, HEADER, SYN))
    end.ready[0].on_reset = lambda: told.append("given up")
    end.on_failed = end.mux.connection_lost
    end.receive(data_frame(2, bytes(1_001)))

    assert told == ["given up"]


def test_a_reset_is_passed_on_to_who_works_on_the_offer(end: OfferingEnd) -> None:
    told: list[str] = []
    end.receive(data_frame(2, HEADER, SYN))
    end.ready[0].on_reset = lambda: told.append("reset")
    end.receive(window_frame(2, 0, RST))

    assert told == ["reset"]
    assert end.ready[0].stream.is_closed


def test_a_reset_that_nobody_waits_for_is_nobodys_error(end: OfferingEnd) -> None:
    end.receive(data_frame(2, HEADER[:1], SYN) + window_frame(2, 0, RST))

    assert (end.ready, end.mux.streams) == ([], {})


def test_nothing_is_answered_before_there_is_a_socket(end: OfferingEnd) -> None:
    end.receive(data_frame(2, HEADER, SYN))
    assert end.written() == []
    end.ready[0].stream.reset()

    assert end.written() == [Frame(FrameType.WINDOW_UPDATE, RST, 2, 0)]


@pytest.mark.anyio
@pytest.mark.usefixtures("quiet")
class TestOnALink:
    """With a service at the end."""

    async def test_what_came_early_reaches_the_service_and_the_end_too(self, site: World) -> None:
        lead = site.client_handler.on_offered
        site.client_handler.on_offered = lambda session, offer: None
        visitor = await site.visit()
        await visitor.send(b"all of it")
        visitor.end()
        await site.client_handler.bell.until(lambda: site.client_handler.offers)
        (offer,) = site.client_handler.offers
        await turn_until(lambda: offer._ended)
        assert bytes(offer._early) == b"all of it"
        lead(site.client, offer)
        service = await site.service.accept()

        assert await service.receive_all() == b"all of it"

    async def test_a_socket_for_a_stream_that_is_gone_is_dropped(self, site: World) -> None:
        site.client_handler.on_offered = lambda session, offer: offer.stream.reset()
        await site.visit()
        await site.door.until("refused")
        owner = RecordingOwner()
        relay = await dial_tcp(*site.service.address, owner)
        site.client_handler.offers[0].join(relay, site.client.link, b"prologue")
        service = await site.service.accept()

        assert await service.is_reset()
        await owner.until_all_ended()

    async def test_failing_a_stream_twice_is_said_once(self, site: World) -> None:
        def fail(session: Session, offer: Offer) -> None:
            for _ in range(2):
                session.fail_stream(offer.stream, FailureCode.UNKNOWN_SERVICE, "no such service")

        site.client_handler.on_offered = fail
        site.door.on_refused = Relay.abort
        await site.visit()
        await site.door.until("ended")

        assert site.gateway_handler.messages == [
            StreamFailed(stream=2, code=FailureCode.UNKNOWN_SERVICE, message="no such service")
        ]
