"""The program's side of SOCKS5: what it says to a proxy, and what it makes of the answers."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import cuts, mutated
from transport.wire.errors import LocalProtocolError
from transport.wire.socks5 import Connect, Login, Reply, Socks5Error, Write
from transport.wire.socks5_client import TRANSITIONS, ClientInput, ClientState, Connected, Socks5Client
from transport.wire.socks5_server import ServerEvent, Socks5Server

from .test_socks5 import connects, logins

CONNECT: Final = Connect("gw1.example.com", 9056)
REQUEST: Final = b"\x05\x01\x00\x03\x0fgw1.example.com\x23\x60"
LOGIN: Final = Login(b"me", b"secret")
SUCCEEDED: Final = b"\x05\x00\x00\x01" + bytes(6)
CONVERSATIONS: Final = [
    b"\x05\x00" + SUCCEEDED + b"hello",
    b"\x05\x02\x01\x00" + SUCCEEDED,
    b"\x05\x00\x05\x05\x00\x01" + bytes(6),
    b"\x05\xff",
]


def test_without_a_login_none_is_offered() -> None:
    client, buffer = Socks5Client(CONNECT), bytearray(b"\x05\x00")

    assert client.start() == b"\x05\x01\x00"
    assert client.next_event(buffer) == Write(REQUEST)
    assert client.next_event(buffer) is None
    buffer += SUCCEEDED + b"the far end's"
    assert client.next_event(buffer) == Connected()
    assert client.next_event(buffer) is None
    assert buffer == b"the far end's"


def test_a_login_is_said_when_the_proxy_asks_for_it() -> None:
    client, buffer = Socks5Client(CONNECT, LOGIN), bytearray(b"\x05\x02")

    assert client.start() == b"\x05\x02\x00\x02"
    assert client.next_event(buffer) == Write(b"\x01\x02me\x06secret")
    buffer += b"\x01\x00"
    assert client.next_event(buffer) == Write(REQUEST)


def test_a_login_is_not_said_to_a_proxy_that_does_not_ask() -> None:
    client = Socks5Client(CONNECT, LOGIN)
    client.start()

    assert client.next_event(bytearray(b"\x05\x00")) == Write(REQUEST)


@pytest.mark.parametrize(
    ("login", "heard", "why"),
    [
        (None, b"\x05\xff", "wants a user and a password; give them in its URL"),
        (LOGIN, b"\x05\xff", "neither a password nor"),
        (None, b"\x05\x02", "method 0x02, which it was not offered"),
        (LOGIN, b"\x05\x01", "method 0x01, which it was not offered"),
        (None, b"HTTP/1.1 400", "does not speak SOCKS5: it began with byte 0x48"),
        (LOGIN, b"\x05\x02\x01\x01", "refuses the user or the password"),
        (LOGIN, b"\x05\x02\x07\x00", "version 7"),
        (None, b"\x05\x00\x04", "version 4"),
        (None, b"\x05\x00\x05\x02", "reply 2: its rules do not allow it"),
        (None, b"\x05\x00\x05\x05", "reply 5: nothing accepts connections there"),
        (None, b"\x05\x00\x05\x5b", "reply 91: RFC 1928 does not say"),
        (None, b"\x05\x00\x05\x00\x00\x02", "address type 2"),
    ],
)
def test_a_proxy_that_says_no_or_nonsense_ends_it_with_the_reason(
    login: Login | None, heard: bytes, why: str
) -> None:
    client, buffer = Socks5Client(CONNECT, login), bytearray()
    client.start()
    buffer += heard

    with pytest.raises(Socks5Error, match=why):
        deque(iter(partial(client.next_event, buffer), None))
    assert client.state is ClientState.FAILED
    assert client.next_event(buffer) is None


@pytest.mark.parametrize("reply", [reply for reply in Reply if reply is not Reply.SUCCEEDED])
def test_every_reply_but_success_is_explained(reply: Reply) -> None:
    client, buffer = Socks5Client(CONNECT), bytearray(b"\x05\x00\x05" + bytes([reply]))
    client.start()
    client.next_event(buffer)

    with pytest.raises(Socks5Error, match=f"reply {reply:d}: (?!RFC)"):
        client.next_event(buffer)


def test_it_begins_once() -> None:
    client = Socks5Client(CONNECT)
    client.start()

    with pytest.raises(LocalProtocolError):
        client.start()


def test_nothing_is_heard_before_the_beginning() -> None:
    assert Socks5Client(CONNECT).next_event(bytearray(b"\x05\x00")) is None


def test_each_state_is_reached_and_all_but_the_last_two_are_left() -> None:
    assert {*TRANSITIONS.values(), ClientState.NEW} == set(ClientState)
    assert set(ClientState) - {state for state, _ in TRANSITIONS} == {
        ClientState.CONNECTED,
        ClientState.FAILED,
    }
    assert {given for _, given in TRANSITIONS} == set(ClientInput)


def converse(client: Socks5Client, pieces: list[bytes]) -> tuple[list[object], bytes]:
    said: list[object] = [client.start()]
    buffer = bytearray()
    try:
        for piece in pieces:
            buffer += piece
            while (event := client.next_event(buffer)) is not None:
                said.append(event)
    except Socks5Error as error:
        said.append(str(error))
        return said, b""  # what comes behind is nobody's
    return said, bytes(buffer)


@given(
    st.none() | st.just(LOGIN),
    mutated(CONVERSATIONS) | st.binary(max_size=40),
    st.lists(st.integers(1, 40), max_size=6),
)
def test_whatever_comes_is_heard_the_same_wherever_it_is_cut(
    login: Login | None, wire: bytes, places: list[int]
) -> None:
    whole = converse(Socks5Client(CONNECT, login), [wire])
    trickled = converse(Socks5Client(CONNECT, login), [wire[at : at + 1] for at in range(len(wire))])
    in_pieces = converse(Socks5Client(CONNECT, login), list(cuts(wire, places)))

    assert whole == trickled == in_pieces
    assert all(said.isprintable() for said in whole[0] if isinstance(said, str))


@given(connects, logins, st.booleans(), st.booleans(), st.sampled_from(Reply))
def test_the_two_sides_understand_each_other_byte_by_byte(
    connect: Connect, login: Login, needs_login: bool, is_right: bool, reply: Reply
) -> None:
    client, server = Socks5Client(connect, login), Socks5Server(needs_login=needs_login)
    to_server, to_client = bytearray(), bytearray()
    wire = bytearray(client.start())  # what is under way to the server
    heard: list[ServerEvent] = []
    outcome: str | Connected | None = None
    while outcome is None:
        to_server.append(wire.pop(0))
        answer = b""
        match event := server.next_event(to_server):
            case Write(data=data):
                answer = data
            case Login():
                answer = server.judge(is_right=is_right)
            case Connect():
                answer = server.reply(reply)
        if event is not None:
            heard.append(event)
        for byte in answer:
            to_client.append(byte)
            try:
                match client.next_event(to_client):
                    case Write(data=data):
                        wire += data
                    case Connected() as connected:
                        outcome = connected
            except Socks5Error as error:
                outcome = str(error)
                break

    if needs_login:
        assert heard[1] == login
    if needs_login and not is_right:
        assert isinstance(outcome, str)
        assert "password" in outcome
        return
    assert heard[-1] == connect
    if reply is Reply.SUCCEEDED:
        assert outcome == Connected()
    else:
        assert f"reply {reply:d}:" in str(outcome)
    assert not to_server
