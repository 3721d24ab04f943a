"""What is asked of the socket behind a transport, and of the system about it.

Rule: nothing here raises because of the peer. What it has done to a socket is for the
loop to find out, and a call of ours may come before that, in the midst of what arrived
for everybody. Linux takes an option of a dead socket as of any other; macOS refuses it.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any, Final, Protocol

# With these, a machine that has vanished is noticed within about three minutes. The system's own are hours.
KEEP_ALIVE_TIMES: Final = tuple(
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 90), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 6))
    if hasattr(socket, name)
)
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
_UNSENT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: close sends RST


class SocketOptions(Protocol):
    """As much of a socket as every loop shows of its own."""

    @property
    def family(self) -> int: ...

    def getsockopt(self, level: int, option: int, /) -> Any: ...

    def setsockopt(self, level: int, option: int, value: Any, /) -> Any: ...


def address(name: object) -> tuple[str, int]:
    """What a socket calls an address; a unix socket, or one that is dead already, has none."""
    match name:
        case (str() as host, int() as port, *_):
            return host, port
        case _:
            return "?", 0


def is_broken(connection: SocketOptions) -> bool:
    """Whether it broke. The system says so once: this is for a socket that no loop reads."""
    try:
        error: int = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        return True
    return error != 0


def keep_alive(connection: SocketOptions) -> None:
    """Have the system watch whether the machine at the far end is still there. Harmless if it does."""
    with suppress(OSError):
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if connection.family in _INTERNET:
            for option, seconds in KEEP_ALIVE_TIMES:
                connection.setsockopt(socket.IPPROTO_TCP, option, seconds)


def reset_when_closed(connection: SocketOptions) -> None:
    """Have closing it say that not all went well. A unix socket cannot say that."""
    if connection.family in _INTERNET:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)


def limit_unsent(connection: SocketOptions, size: int) -> None:
    """Have the system take no more than that beyond what it has sent; 0 for as much as it likes.

    What it has taken and not sent waits there as it would here, and a system takes megabytes.
    """
    if connection.family in _INTERNET and _UNSENT is not None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, _UNSENT, size)
