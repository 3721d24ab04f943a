"""The proxy's side of a SOCKS5 handshake.

Rule: every step is a row of ``TRANSITIONS``; a pair that is not a row is a mistake of ours, since what the
program may do wrong has a row of its own. Who may log in, and what becomes of a request, is
the caller's to say.

How to use it: give :meth:`Socks5Server.next_event` everything that has come and was not taken yet, again and
again until it is None; write what it says; answer a :class:`Login` with :meth:`judge` and a
:class:`Connect` with :meth:`reply`. What is left in the buffer behind a Connect is the program's, for the
far end: it may be sent before the reply.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, TypeAlias

from .socks5 import (
    UNKNOWN,
    Connect,
    Login,
    Method,
    Reply,
    Socks5Error,
    Write,
    encode_choice,
    encode_reply,
    encode_verdict,
    peek_greeting,
    peek_login,
    peek_request,
)
from .steps import Steps, take

ServerEvent: TypeAlias = Write | Login | Connect


class ServerState(Enum):
    """Where a handshake is."""

    GREETING = auto()  # waiting for the methods that the program offers
    LOGIN = auto()  # waiting for user and password
    JUDGING = auto()  # the caller is to say whether they are right
    REQUEST = auto()  # waiting for the request
    DIALING = auto()  # the caller is to say what became of it
    CONNECTED = auto()  # what is said now is no SOCKS any more
    REFUSED = auto()  # nothing more is said


class ServerInput(Enum):
    """What can happen to it: something that came, or something that is answered."""

    OFFERED_OPEN = auto()  # nobody needs to log in
    OFFERED_PASSWORD = auto()
    LOGGED_IN = auto()
    ASKED = auto()
    BROKE_RULES = auto()  # or offered nothing that is enough, or asked for what there is not
    LET_IN = auto()
    TURNED_AWAY = auto()
    SUCCEEDED = auto()
    FAILED = auto()


_S = ServerState
_I = ServerInput

TRANSITIONS: Final[dict[tuple[ServerState, ServerInput], ServerState]] = {
    (_S.GREETING, _I.OFFERED_OPEN): _S.REQUEST,
    (_S.GREETING, _I.OFFERED_PASSWORD): _S.LOGIN,
    (_S.GREETING, _I.BROKE_RULES): _S.REFUSED,
    (_S.LOGIN, _I.LOGGED_IN): _S.JUDGING,
    (_S.LOGIN, _I.BROKE_RULES): _S.REFUSED,
    (_S.JUDGING, _I.LET_IN): _S.REQUEST,
    (_S.JUDGING, _I.TURNED_AWAY): _S.REFUSED,
    (_S.REQUEST, _I.ASKED): _S.DIALING,
    (_S.REQUEST, _I.BROKE_RULES): _S.REFUSED,
    (_S.DIALING, _I.SUCCEEDED): _S.CONNECTED,
    (_S.DIALING, _I.FAILED): _S.REFUSED,
}


class Socks5Server:
    """One handshake, with one program.

    :param needs_login: whether it has to say a user and a password.
    """

    __slots__ = ("_needs_login", "_steps")

    def __init__(self, *, needs_login: bool) -> None:
        self._needs_login = needs_login
        self._steps = Steps(ServerState.GREETING, TRANSITIONS)

    @property
    def state(self) -> ServerState:
        return self._steps.state

    def next_event(self, buffer: bytearray) -> ServerEvent | None:
        """What the start of the buffer says, and take it; None for "need more", or if an answer is due.

        :raises Socks5Error: if the handshake is over. Write its answer, and close.
        """
        try:
            match self.state:
                case ServerState.GREETING:
                    return self._greeted(take(peek_greeting, buffer))
                case ServerState.LOGIN:
                    return self._said(ServerInput.LOGGED_IN, take(peek_login, buffer))
                case ServerState.REQUEST:
                    return self._said(ServerInput.ASKED, take(peek_request, buffer))
                case _:
                    return None
        except Socks5Error:
            self._steps.follow(ServerInput.BROKE_RULES)
            raise

    def judge(self, *, is_right: bool) -> bytes:
        """What to write about a login; if it is not right, close then (RFC 1929 section 2).

        :raises LocalProtocolError: if there was none.
        """
        self._steps.follow(ServerInput.LET_IN if is_right else ServerInput.TURNED_AWAY)
        return encode_verdict(accepted=is_right)

    def reply(self, reply: Reply, host: str = UNKNOWN[0], port: int = UNKNOWN[1]) -> bytes:
        """What to write about a request; if it is no success, close then (RFC 1928 section 6).

        :param host: the IP address from which the far side has dialed, and ``port`` the port.
        :raises LocalProtocolError: if there was none.
        """
        self._steps.follow(ServerInput.SUCCEEDED if reply is Reply.SUCCEEDED else ServerInput.FAILED)
        return encode_reply(reply, host, port)

    def _greeted(self, offered: bytes | None) -> Write | None:
        if offered is None:
            return None
        method = Method.PASSWORD if self._needs_login else Method.OPEN
        if method not in offered:
            raise Socks5Error(_not_enough(method, offered), encode_choice(Method.NONE_ACCEPTABLE))
        self._steps.follow(ServerInput.OFFERED_PASSWORD if self._needs_login else ServerInput.OFFERED_OPEN)
        return Write(encode_choice(method))

    def _said(self, happened: ServerInput, event: Login | Connect | None) -> Login | Connect | None:
        if event is not None:
            self._steps.follow(happened)
        return event


def _not_enough(method: Method, offered: bytes) -> str:
    if method is Method.PASSWORD:
        return "the program offers no user and password; give it those of socks5 in the client's file"
    if Method.PASSWORD in offered:
        return "the program insists on a user and a password; set them under socks5 in the client's file too"
    return f"the program offers none of the supported methods, but {offered.hex(' ') or 'nothing'}"
