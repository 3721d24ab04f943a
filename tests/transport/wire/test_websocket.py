"""One end of a WebSocket: what of RFC 6455 it takes, what it says, and how little it keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from tests.support.mutations import cuts
from transport.wire.websocket import MAX_MESSAGE, WebSocketEnd


def server() -> WebSocketEnd:
    return WebSocketEnd(ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE))


def client() -> WebSocketEnd:
    uri = WebSocketURI(secure=True, host="gw1", port=443, path="/tunnel", query="")
    return WebSocketEnd(ClientProtocol(uri, state=State.OPEN, max_size=MAX_MESSAGE))


def framed(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2000), max_size=30))
def test_what_is_sent_arrives_however_it_is_cut(messages: list[bytes], places: list[int]) -> None:
    for sender, receiver in ((client(), server()), (server(), client())):
        wire = b"".join(sender.send(memoryview(message)) for message in messages)
        received = b"".join(receiver.receive(piece) for piece in cuts(wire, places))

        assert received == b"".join(messages)
        assert receiver.received == len(wire)
        assert not receiver.has_ended
        assert receiver.take_answers() == b""


def test_a_fragment_is_passed_on_before_the_next_one_comes() -> None:
    end = server()

    assert end.receive(framed(Opcode.BINARY, b"one ", fin=False)) == b"one "
    assert end.receive(framed(Opcode.PING, b"?") + framed(Opcode.CONT, b"two", fin=True)) == b"two"
    assert end.take_answers() == framed(Opcode.PONG, b"?", mask=False)


def test_many_fragments_of_one_message_are_limited_as_the_message_is() -> None:
    end = server()
    half = bytes(MAX_MESSAGE // 2)

    assert end.receive(framed(Opcode.BINARY, half, fin=False)) == half
    assert end.receive(framed(Opcode.CONT, half, fin=False)) == half
    assert end.receive(framed(Opcode.CONT, b"!", fin=False)) == b""
    assert end.has_ended
    assert "broke the rules" in end.failure


def test_an_oversized_message_is_refused_from_its_header() -> None:
    """Nobody waits for its bytes, and nothing of it is kept."""
    end = server()

    end.receive(framed(Opcode.BINARY, bytes(MAX_MESSAGE + 1))[:14])

    assert end.has_ended
    assert end.take_answers()[2:4] == (1009).to_bytes(2, "big")


@pytest.mark.parametrize("small", [(Opcode.BINARY, b""), (Opcode.BINARY, b"1"), (Opcode.PING, b"?")])
def test_frames_that_hold_next_to_nothing_end_it_with_1008(small: tuple[Opcode, bytes]) -> None:
    """They cost the reader as much as large ones, and a stranger next to nothing."""
    end = server()
    one = framed(*small)
    flood = one * (1_000_000 // len(one))
    while not end.has_ended:
        end.receive(memoryview(flood))

    assert end.received <= 32 * 1024  # and nothing of the rest was read
    assert end.failure == "the other side sent nothing but small frames, hundreds of them"
    assert framed(Opcode.CLOSE, (1008).to_bytes(2, "big") + b"too many small frames", mask=False) in (
        end.take_answers()
    )


def test_a_ping_now_and_then_and_small_frames_among_large_ones_are_nothing_to_end_it_for() -> None:
    end = server()
    for _ in range(1_000):
        end.receive(
            framed(Opcode.PING, b"?") + framed(Opcode.BINARY, bytes(1_100)) + framed(Opcode.BINARY, b"1")
        )
    assert not end.has_ended
    for _ in range(10):
        end.receive(framed(Opcode.PING, b"?") * 400)
        assert end.ping(1)
    assert not end.has_ended


@pytest.mark.parametrize("fin", [True, False])
def test_a_text_message_ends_it_with_1003(fin: bool) -> None:
    """What came before is passed on, what comes behind is not."""
    end = server()
    data = framed(Opcode.BINARY, b"good") + framed(Opcode.TEXT, b"bad", fin=fin)

    assert end.receive(data + framed(Opcode.BINARY if fin else Opcode.CONT, b"late")) == b"good"
    assert end.has_ended
    assert end.take_answers()[2:4] == (1003).to_bytes(2, "big")
    assert end.receive(framed(Opcode.BINARY, b"later")) == b""
    assert end.failure == "the other side sent a text message, where there are only binary ones"


@pytest.mark.parametrize(
    "broken",
    [
        framed(Opcode.BINARY, b"data", mask=False),
        b"GET / HTTP/1.1\r\nHost: gw1\r\n\r\n",
        bytes([0xC2, 0x80, 1, 2, 3, 4]),
        framed(Opcode.CONT, b"of nothing"),
        bytes([0x89, 0xFE, 0, 126, 1, 2, 3, 4]) + bytes(126),
    ],
    ids=["unmasked", "a request", "compressed", "a lone continuation", "a long ping"],
)
def test_whatever_breaks_the_rules_ends_it_with_1002(broken: bytes) -> None:
    end = server()

    assert end.receive(broken) == b""
    assert end.has_ended
    assert end.take_answers()[2:4] == (1002).to_bytes(2, "big")
    assert end.failure.startswith("the other side broke the rules of WebSockets")


def test_of_a_flood_of_pings_only_the_newest_wait_for_their_answer() -> None:
    end = server()

    for number in range(400):
        end.receive(framed(Opcode.PING, number.to_bytes(4, "big")))

    last = [framed(Opcode.PONG, number.to_bytes(4, "big"), mask=False) for number in range(396, 400)]
    assert end.take_answers() == b"".join(last)
    assert end.take_answers() == b""


def test_the_goodbye_is_answered_also_behind_a_flood_of_pings() -> None:
    end, peer = server(), client()

    end.receive(framed(Opcode.PING, b"?") * 100 + peer.close())
    peer.receive(end.take_answers())

    assert (end.has_ended, peer.has_ended) == (True, True)
    assert (end.failure, peer.failure) == ("", "")


def test_behind_a_goodbye_nothing_is_said() -> None:
    end = client()
    end.close()

    assert (end.send(b"more"), end.ping(1), end.close()) == (b"", b"", b"")
    assert not end.has_ended  # the other side still has to say its own


def test_a_ping_is_answered() -> None:
    end, peer = client(), server()

    peer.receive(end.ping(7))
    end.receive(peer.take_answers())

    assert not end.has_ended


def test_a_goodbye_with_a_reason_is_told() -> None:
    end = client()

    end.receive(framed(Opcode.CLOSE, (1011).to_bytes(2, "big") + b"kaputt\n", mask=False))

    assert end.failure == r"the other side closed the WebSocket: 1011 'kaputt\n'"


def test_an_end_without_a_goodbye_is_told() -> None:
    end = client()

    end.receive_end()

    assert end.has_ended
    assert end.failure == "the connection under the WebSocket was closed without a goodbye"
