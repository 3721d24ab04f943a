"""Where a relay is in its life.

Rule: which phase allows what is said here; what leads from one to the next, in ``relay``.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Phase(Enum):
    """What a relay has come to."""

    __hash__ = object.__hash__  # looked up for every chunk, and Enum's own hash is a call of Python code

    NEW = auto()  # not connected; nobody has been told of it
    WAITING = auto()  # connected; nothing is read
    PEEKING = auto()  # what is read is kept in ``early``
    OPENING = auto()  # joined to a stream that we opened and the far side has not accepted
    JOINED = auto()
    REFUSED = auto()  # the answer is written; what is read is dropped
    CLOSING = auto()  # only what is buffered is still to be written
    CLOSED = auto()


NOT_READ: Final = frozenset({Phase.WAITING, Phase.CLOSING, Phase.CLOSED})
WATCHED: Final = frozenset({Phase.OPENING, Phase.JOINED})
NO_STREAM_YET: Final = frozenset({Phase.WAITING, Phase.PEEKING})
REFUSABLE: Final = frozenset({Phase.WAITING, Phase.PEEKING, Phase.OPENING})
