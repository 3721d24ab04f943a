"""The program's side of a SOCKS5 handshake: how to reach something through a proxy.

Rule: every step is a row of ``TRANSITIONS``, as on the other side; what the proxy may do wrong has a row of
its own.

How to use it: write what :meth:`Socks5Client.start` gives; then give :meth:`next_event` everything that has
come and was not taken yet, again and again until it is None, and write what it says, until it is
:class:`Connected`. What is left in the buffer then is the far end's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from .socks5 import (
    Connect,
    Login,
    Method,
    Reply,
    Socks5Error,
    Write,
    encode_greeting,
    encode_login,
    encode_request,
    peek_choice,
    peek_reply,
    peek_verdict,
)
from .steps import Steps, take


@dataclass(frozen=True, slots=True)
class Connected:
    """The proxy has reached the far end."""


ClientEvent: TypeAlias = Write | Connected


class ClientState(Enum):
    """Where a handshake is."""

    NEW = auto()  # nothing was said
    CHOICE = auto()  # waiting for the method that the proxy chooses
    VERDICT = auto()  # waiting for what it says of user and password
    REPLY = auto()  # waiting for what became of the request
    CONNECTED = auto()
    FAILED = auto()


class ClientInput(Enum):
    """What can happen to it."""

    START = auto()
    CHOSE_OPEN = auto()
    CHOSE_PASSWORD = auto()
    LET_IN = auto()
    SUCCEEDED = auto()
    REFUSED = auto()  # in whatever way, or the proxy broke the rules


_S = ClientState
_I = ClientInput

TRANSITIONS: Final[dict[tuple[ClientState, ClientInput], ClientState]] = {
    (_S.NEW, _I.START): _S.CHOICE,
    (_S.CHOICE, _I.CHOSE_OPEN): _S.REPLY,
    (_S.CHOICE, _I.CHOSE_PASSWORD): _S.VERDICT,
    (_S.CHOICE, _I.REFUSED): _S.FAILED,
    (_S.VERDICT, _I.LET_IN): _S.REPLY,
    (_S.VERDICT, _I.REFUSED): _S.FAILED,
    (_S.REPLY, _I.SUCCEEDED): _S.CONNECTED,
    (_S.REPLY, _I.REFUSED): _S.FAILED,
}

_SAYS: Final[dict[int, str]] = {
    Reply.GENERAL_FAILURE: "it failed; its log may say why",
    Reply.NOT_ALLOWED: "its rules do not allow it",
    Reply.NETWORK_UNREACHABLE: "it cannot reach that network",
    Reply.HOST_UNREACHABLE: "it cannot reach that host, or not find its name",
    Reply.CONNECTION_REFUSED: "nothing accepts connections there",
    Reply.TTL_EXPIRED: "nothing answered in time",
    Reply.COMMAND_NOT_SUPPORTED: "it does not support CONNECT",
    Reply.ADDRESS_TYPE_NOT_SUPPORTED: "it does not support this type of address",
}


class Socks5Client:
    """One handshake, with one proxy.

    :param connect: where to go. A name is looked up by the proxy.
    :param login: who we are, if the proxy should ask.
    :raises LocalProtocolError: if the login cannot be said in SOCKS5.
    """

    __slots__ = ("_connect", "_login", "_steps")

    def __init__(self, connect: Connect, login: Login | None = None) -> None:
        self._connect = connect
        self._login = None if login is None else encode_login(login)
        self._steps = Steps(ClientState.NEW, TRANSITIONS)

    @property
    def state(self) -> ClientState:
        return self._steps.state

    def start(self) -> bytes:
        """What to write first.

        :raises LocalProtocolError: if that was said already.
        """
        self._steps.follow(ClientInput.START)
        return encode_greeting((Method.OPEN,) if self._login is None else (Method.OPEN, Method.PASSWORD))

    def next_event(self, buffer: bytearray) -> ClientEvent | None:
        """What the start of the buffer comes to, which is taken from it; None for "need more".

        :raises Socks5Error: if the handshake has failed; says why.
        """
        try:
            match self.state:
                case ClientState.CHOICE:
                    return self._chosen(take(peek_choice, buffer))
                case ClientState.VERDICT:
                    return self._judged(take(peek_verdict, buffer))
                case ClientState.REPLY:
                    return self._replied(take(peek_reply, buffer))
                case _:
                    return None
        except Socks5Error:
            self._steps.follow(ClientInput.REFUSED)
            raise

    def _chosen(self, method: int | None) -> Write | None:
        if method is None:
            return None
        if method == Method.OPEN:
            self._steps.follow(ClientInput.CHOSE_OPEN)
            return Write(encode_request(self._connect))
        if method == Method.PASSWORD and self._login is not None:
            self._steps.follow(ClientInput.CHOSE_PASSWORD)
            return Write(self._login)
        if method == Method.NONE_ACCEPTABLE:
            raise Socks5Error(
                "the proxy wants a user and a password; give them in its URL"
                if self._login is None
                else "the proxy accepts neither a password nor doing without"
            )
        raise Socks5Error(f"the proxy chose method {method:#04x}, which it was not offered")

    def _judged(self, is_let_in: bool | None) -> Write | None:
        if is_let_in is None:
            return None
        if not is_let_in:
            raise Socks5Error("the proxy refuses the user or the password; correct them in its URL")
        self._steps.follow(ClientInput.LET_IN)
        return Write(encode_request(self._connect))

    def _replied(self, reply: int | None) -> Connected | None:
        if reply is None:
            return None
        if reply != Reply.SUCCEEDED:
            says = _SAYS.get(reply, "RFC 1928 does not say what that means")
            raise Socks5Error(f"the proxy answers with reply {reply}: {says}")
        self._steps.follow(ClientInput.SUCCEEDED)
        return Connected()
