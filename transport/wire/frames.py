"""The yamux frame header: twelve bytes in front of everything on a link.

Rule: this file alone knows the layout of the header (yamux specification,
"Framing"). It says nothing about which frame is legal when; see ``mux``.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

VERSION: Final = 0
HEADER: Final = Struct("!BBHII")  # version, type, flags, stream id, length
HEADER_SIZE: Final = HEADER.size
MAX_LENGTH: Final = 2**32 - 1
SESSION_ID: Final = 0  # the stream id of frames that concern the whole session


class FrameType(IntEnum):
    """What the length field of a frame means."""

    DATA = 0  # bytes of payload that follow
    WINDOW_UPDATE = 1  # credit granted to the receiver of the frame
    PING = 2  # an opaque value, sent back in the answer
    GO_AWAY = 3  # a code, see ``GoAwayCode``


class GoAwayCode(IntEnum):
    """Why a session ends (yamux specification, "Go Away")."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


# Plain integers: IntFlag arithmetic costs a microsecond, and these are tested for every frame.
SYN: Final = 0x1
ACK: Final = 0x2
FIN: Final = 0x4
RST: Final = 0x8
ALL_FLAGS: Final = SYN | ACK | FIN | RST


def encode_header(kind: FrameType, flags: int, stream_id: int, length: int) -> bytes:
    """The twelve bytes of a header.

    :raises struct.error: if a number does not fit its field.
    """
    return HEADER.pack(VERSION, kind, flags, stream_id, length)
