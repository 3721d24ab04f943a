"""The life of one stream: which input is legal in which state, and where it leads.

Rule: every transition is a row of ``TRANSITIONS``. A pair that is not a row is a
protocol error, ours if it is something sent and the peer's if it is something
received; no other file decides what a stream may do next.

The two ends obey one table. The side that opens a stream starts in ``OPENING``,
the side it is offered to in ``OFFERED``. Both become ``OPEN`` with the
acknowledgement; the mux knows what stands for one. A stream may be ended (FIN) by
its sender at any time, also before the acknowledgement, hence the two states that
are both. A reset ends every state at once.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class StreamState(Enum):
    """Where a stream is in its life."""

    # Members are looked up for every visitor several times, and Enum's own hash is a call of Python code.
    __hash__ = object.__hash__

    OPENING = auto()  # we sent SYN and wait for ACK
    OPENING_LOCAL_ENDED = auto()  # the same, and we sent FIN already
    OFFERED = auto()  # the peer sent SYN; we have not answered
    OFFERED_REMOTE_ENDED = auto()  # the same, and the peer sent FIN already
    OPEN = auto()
    LOCAL_ENDED = auto()  # we sent FIN
    REMOTE_ENDED = auto()  # the peer sent FIN
    CLOSED = auto()


class StreamInput(Enum):
    """What can happen to a stream: something we send or something we receive."""

    __hash__ = object.__hash__  # as above

    SEND_DATA = auto()
    SEND_ACK = auto()
    SEND_FIN = auto()
    SEND_RST = auto()
    RECV_DATA = auto()
    RECV_WINDOW = auto()
    RECV_ACK = auto()
    RECV_FIN = auto()
    RECV_RST = auto()


_S = StreamState
_I = StreamInput

TRANSITIONS: Final[dict[tuple[StreamState, StreamInput], StreamState]] = {
    (_S.OPENING, _I.SEND_DATA): _S.OPENING,  # within the initial window, before the ACK
    (_S.OPENING, _I.SEND_FIN): _S.OPENING_LOCAL_ENDED,
    (_S.OPENING, _I.SEND_RST): _S.CLOSED,
    (_S.OPENING, _I.RECV_WINDOW): _S.OPENING,
    (_S.OPENING, _I.RECV_ACK): _S.OPEN,
    (_S.OPENING, _I.RECV_RST): _S.CLOSED,
    (_S.OPENING_LOCAL_ENDED, _I.SEND_RST): _S.CLOSED,
    (_S.OPENING_LOCAL_ENDED, _I.RECV_WINDOW): _S.OPENING_LOCAL_ENDED,
    (_S.OPENING_LOCAL_ENDED, _I.RECV_ACK): _S.LOCAL_ENDED,
    (_S.OPENING_LOCAL_ENDED, _I.RECV_RST): _S.CLOSED,
    (_S.OFFERED, _I.SEND_ACK): _S.OPEN,
    (_S.OFFERED, _I.SEND_RST): _S.CLOSED,
    (_S.OFFERED, _I.RECV_DATA): _S.OFFERED,
    (_S.OFFERED, _I.RECV_WINDOW): _S.OFFERED,
    (_S.OFFERED, _I.RECV_FIN): _S.OFFERED_REMOTE_ENDED,
    (_S.OFFERED, _I.RECV_RST): _S.CLOSED,
    (_S.OFFERED_REMOTE_ENDED, _I.SEND_ACK): _S.REMOTE_ENDED,
    (_S.OFFERED_REMOTE_ENDED, _I.SEND_RST): _S.CLOSED,
    (_S.OFFERED_REMOTE_ENDED, _I.RECV_WINDOW): _S.OFFERED_REMOTE_ENDED,
    (_S.OFFERED_REMOTE_ENDED, _I.RECV_RST): _S.CLOSED,
    (_S.OPEN, _I.SEND_DATA): _S.OPEN,
    (_S.OPEN, _I.SEND_FIN): _S.LOCAL_ENDED,
    (_S.OPEN, _I.SEND_RST): _S.CLOSED,
    (_S.OPEN, _I.RECV_DATA): _S.OPEN,
    (_S.OPEN, _I.RECV_WINDOW): _S.OPEN,
    (_S.OPEN, _I.RECV_FIN): _S.REMOTE_ENDED,
    (_S.OPEN, _I.RECV_RST): _S.CLOSED,
    (_S.LOCAL_ENDED, _I.SEND_RST): _S.CLOSED,
    (_S.LOCAL_ENDED, _I.RECV_DATA): _S.LOCAL_ENDED,
    (_S.LOCAL_ENDED, _I.RECV_WINDOW): _S.LOCAL_ENDED,  # credit for bytes sent before our FIN
    (_S.LOCAL_ENDED, _I.RECV_FIN): _S.CLOSED,
    (_S.LOCAL_ENDED, _I.RECV_RST): _S.CLOSED,
    (_S.REMOTE_ENDED, _I.SEND_DATA): _S.REMOTE_ENDED,
    (_S.REMOTE_ENDED, _I.SEND_FIN): _S.CLOSED,
    (_S.REMOTE_ENDED, _I.SEND_RST): _S.CLOSED,
    (_S.REMOTE_ENDED, _I.RECV_WINDOW): _S.REMOTE_ENDED,
    (_S.REMOTE_ENDED, _I.RECV_RST): _S.CLOSED,
}

# What the table says of data, as sets: the question is asked for every data frame, and a
# lookup of a pair of enums there costs more than all the rest of the header.
MAY_SEND: Final = frozenset(state for state, given in TRANSITIONS if given is _I.SEND_DATA)
MAY_RECEIVE: Final = frozenset(state for state, given in TRANSITIONS if given is _I.RECV_DATA)
AWAITING_ACK: Final = frozenset(state for state, given in TRANSITIONS if given is _I.RECV_ACK)
UNACKNOWLEDGED: Final = frozenset(state for state, given in TRANSITIONS if given is _I.SEND_ACK)
