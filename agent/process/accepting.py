"""Accepting a connection, also while the machine is short of something.

Rule: what can go wrong with one connection, or for a while with the machine, never
ends the accepting. Public ports do not come by here: the pump accepts them.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

import anyio
import structlog

from schemas.names import HostPort

from .descriptors import TOO_MANY, Use, may_have

# accept() fails like this when the machine is short of something. Waiting a little and trying
# again is what nginx and trio do; giving up would lose the port.
_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_PAUSE: Final = 0.1  # seconds
# accept() also hands on what has happened to the connection already; accept(2) says to treat these as
# "try again".
_GONE: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
        getattr(errno, "ENONET", errno.EPROTO),
    }
)

_log: Any = structlog.get_logger("accepting")


async def accept(listening: socket.socket) -> socket.socket:
    """The next connection to a non-blocking listening socket, itself non-blocking.

    :raises OSError: if the listening socket itself is of no more use.
    """
    connection, _ = await accept_from(listening)
    return connection


async def accept_from(listening: socket.socket) -> tuple[socket.socket, object]:
    """The same, and from where it comes, which nobody can tell of one that is reset a moment later.

    :raises OSError: if the listening socket itself is of no more use.
    """
    while True:
        await anyio.wait_readable(listening)
        try:
            connection, address = listening.accept()
        except BlockingIOError:
            continue  # somebody else took it
        except OSError as error:
            if error.errno in _GONE:
                continue
            if error.errno not in _SHORTAGE:
                raise
            reason = error.strerror
        else:
            # Whoever asks the admin socket can do something about a shortage.
            if connection.family == socket.AF_UNIX or may_have(Use.SESSION, connection.fileno()):
                connection.setblocking(False)
                return connection, address
            connection.close()
            reason = TOO_MANY
        _log.error("accept_failed", listen=str(listening.getsockname()), reason=reason)
        await anyio.sleep(_PAUSE)


def host_of(address: object) -> str:
    """Where a connection comes from, without the port."""
    match address:
        case (str() as host, int(), *_):
            return host
        case _:
            return "?"  # it is no internet socket, or has gone again on a system that then does not tell


def name_of(address: object) -> str:
    """Where a connection comes from, as a log line writes it."""
    match address:
        case (str() as host, int() as port, *_):
            return str(HostPort(host, port))
        case _:
            return "?"
