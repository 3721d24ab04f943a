"""The proxy's side of SOCKS5: each step in its order, and an end that is told for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import cuts, mutated
from transport.wire.errors import LocalProtocolError
from transport.wire.socks5 import Connect, Login, Reply, Socks5Error, Write
from transport.wire.socks5_server import TRANSITIONS, ServerInput, ServerState, Socks5Server

GREETING: Final = b"\x05\x01\x00"
GREETING_BOTH: Final = b"\x05\x02\x00\x02"
LOGIN: Final = b"\x01\x04mail\x06secret"
REQUEST: Final = b"\x05\x01\x00\x03\x0amx.example\x00\x19"
CONNECT: Final = Connect("mx.example", 25)
CONVERSATIONS: Final = [
    GREETING + REQUEST + b"EHLO me\r\n",
    GREETING_BOTH + LOGIN + REQUEST,
    GREETING + b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x19",
    GREETING + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x19",
    GREETING + b"\x05\x03\x00\x01" + bytes(6),
]


class Held:
    """A conversation with one server, which is let in and led to where it wants."""

    def __init__(self, *, needs_login: bool) -> None:
        self.server = Socks5Server(needs_login=needs_login)
        self.buffer = bytearray()
        self.said: list[object] = []

    def hear(self, piece: bytes) -> None:
        self.buffer += piece
        try:
            while (event := self.server.next_event(self.buffer)) is not None:
                self.said.append(event)
                match event:
                    case Login():
                        self.said.append(self.server.judge(is_right=event == Login(b"mail", b"secret")))
                    case Connect():
                        self.said.append(self.server.reply(Reply.SUCCEEDED))
        except Socks5Error as error:
            self.said.append((str(error), error.answer))


def test_a_program_without_a_login_is_led_where_it_wants() -> None:
    server, buffer = Socks5Server(needs_login=False), bytearray(GREETING)

    assert server.next_event(buffer) == Write(b"\x05\x00")
    assert server.next_event(buffer) is None
    buffer += REQUEST
    assert server.next_event(buffer) == CONNECT
    assert server.reply(Reply.SUCCEEDED) == b"\x05\x00\x00\x01" + bytes(6)
    assert server.state is ServerState.CONNECTED
    assert not buffer


def test_a_program_that_must_log_in_says_who_it_is_before_where_it_wants_to_go() -> None:
    server, buffer = Socks5Server(needs_login=True), bytearray(GREETING_BOTH + LOGIN + REQUEST)

    assert server.next_event(buffer) == Write(b"\x05\x02")
    assert server.next_event(buffer) == Login(b"mail", b"secret")
    assert server.next_event(buffer) is None  # until the caller has judged
    assert server.judge(is_right=True) == b"\x01\x00"
    assert server.next_event(buffer) == CONNECT


def test_a_login_that_is_not_right_ends_it() -> None:
    server, buffer = Socks5Server(needs_login=True), bytearray(GREETING_BOTH + LOGIN + REQUEST)
    server.next_event(buffer)
    server.next_event(buffer)

    assert server.judge(is_right=False) == b"\x01\x01"
    assert server.state is ServerState.REFUSED
    assert server.next_event(buffer) is None


def test_what_a_program_sends_ahead_is_kept_for_the_far_end() -> None:
    server, buffer = Socks5Server(needs_login=False), bytearray(GREETING + REQUEST + b"EHLO me\r\n")
    server.next_event(buffer)

    assert server.next_event(buffer) == CONNECT
    assert server.next_event(buffer) is None
    assert buffer == b"EHLO me\r\n"
    server.reply(Reply.SUCCEEDED)
    assert server.next_event(buffer) is None
    assert buffer == b"EHLO me\r\n"


@pytest.mark.parametrize(
    ("needs_login", "offered", "why"),
    [
        (True, b"\x00", "offers no user and password"),
        (True, b"\x01", "offers no user and password"),
        (True, b"", "offers no user and password"),
        (False, b"\x02", "insists on a user"),
        (False, b"\x01\x80", "01 80"),
        (False, b"", "nothing"),
    ],
)
def test_a_program_whose_methods_are_not_enough_is_told_so(
    needs_login: bool, offered: bytes, why: str
) -> None:
    server = Socks5Server(needs_login=needs_login)

    with pytest.raises(Socks5Error, match=why) as caught:
        server.next_event(bytearray([5, len(offered), *offered]))
    assert caught.value.answer == b"\x05\xff"
    assert server.state is ServerState.REFUSED


@pytest.mark.parametrize("reply", [reply for reply in Reply if reply is not Reply.SUCCEEDED])
def test_every_reply_but_success_ends_it(reply: Reply) -> None:
    server, buffer = Socks5Server(needs_login=False), bytearray(GREETING + REQUEST)
    server.next_event(buffer)
    server.next_event(buffer)

    assert server.reply(reply)[:2] == bytes([5, reply])
    assert server.state is ServerState.REFUSED


def test_an_error_ends_it_with_an_answer() -> None:
    server, buffer = Socks5Server(needs_login=False), bytearray(GREETING + b"\x05\x02")
    server.next_event(buffer)

    with pytest.raises(Socks5Error) as caught:
        server.next_event(buffer)
    assert caught.value.answer[:2] == b"\x05\x07"
    assert server.state is ServerState.REFUSED
    assert server.next_event(buffer) is None


def test_a_login_of_another_version_ends_it() -> None:
    server, buffer = Socks5Server(needs_login=True), bytearray(b"\x05\x01\x02\x05")
    server.next_event(buffer)

    with pytest.raises(Socks5Error) as caught:
        server.next_event(buffer)
    assert caught.value.answer == b"\x01\x01"


# The table

_WAYS: Final[dict[ServerState, bytes]] = {
    ServerState.GREETING: b"",
    ServerState.LOGIN: b"\x05\x01\x02",
    ServerState.JUDGING: b"\x05\x01\x02" + LOGIN,
    ServerState.REQUEST: GREETING,
    ServerState.DIALING: GREETING + REQUEST,
    ServerState.CONNECTED: GREETING + REQUEST,
    ServerState.REFUSED: b"\x00",
}
_ANSWERS: Final[dict[ServerInput, Callable[[Socks5Server], bytes]]] = {
    ServerInput.LET_IN: lambda server: server.judge(is_right=True),
    ServerInput.TURNED_AWAY: lambda server: server.judge(is_right=False),
    ServerInput.SUCCEEDED: lambda server: server.reply(Reply.SUCCEEDED),
    ServerInput.FAILED: lambda server: server.reply(Reply.GENERAL_FAILURE),
}


def server_in(state: ServerState) -> Socks5Server:
    server = Socks5Server(needs_login=state in (ServerState.LOGIN, ServerState.JUDGING))
    buffer = bytearray(_WAYS[state])
    try:
        while server.next_event(buffer) is not None:
            pass
    except Socks5Error:
        pass
    if state is ServerState.CONNECTED:
        server.reply(Reply.SUCCEEDED)
    assert server.state is state
    return server


@given(st.sampled_from(ServerState), st.sampled_from(sorted(_ANSWERS, key=lambda given: given.value)))
def test_an_answer_is_taken_where_the_table_has_a_row_and_nowhere_else(
    state: ServerState, given_: ServerInput
) -> None:
    server = server_in(state)
    following = TRANSITIONS.get((state, given_))

    if following is None:
        with pytest.raises(LocalProtocolError):
            _ANSWERS[given_](server)
        assert server.state is state
    else:
        assert _ANSWERS[given_](server)
        assert server.state is following


def test_each_state_is_reached_and_all_but_the_last_two_are_left() -> None:
    assert {*TRANSITIONS.values(), ServerState.GREETING} == set(ServerState)
    assert set(ServerState) - {state for state, _ in TRANSITIONS} == {
        ServerState.CONNECTED,
        ServerState.REFUSED,
    }


# Whatever comes


@given(
    st.booleans(), mutated(CONVERSATIONS) | st.binary(max_size=60), st.lists(st.integers(1, 60), max_size=6)
)
def test_whatever_comes_is_heard_the_same_wherever_it_is_cut(
    needs_login: bool, wire: bytes, places: list[int]
) -> None:
    """Events, "need more", or the one error, after which nothing is heard."""
    whole, trickled, in_pieces = (Held(needs_login=needs_login) for _ in range(3))
    whole.hear(wire)
    for at in range(len(wire)):
        trickled.hear(wire[at : at + 1])
    for piece in cuts(wire, places):
        in_pieces.hear(piece)

    assert whole.said == trickled.said == in_pieces.said
    assert whole.buffer == trickled.buffer == in_pieces.buffer
    assert whole.server.state is trickled.server.state is in_pieces.server.state
    assert all(said[0].isprintable() for said in whole.said if isinstance(said, tuple))


@given(st.booleans(), st.binary(max_size=2000))
def test_no_more_is_waited_for_than_a_message_can_have(needs_login: bool, noise: bytes) -> None:
    held = Held(needs_login=needs_login)
    for at in range(len(noise)):
        held.hear(noise[at : at + 1])
        if held.server.state not in (ServerState.REFUSED, ServerState.CONNECTED):
            assert len(held.buffer) <= 2 * 256 + 1
