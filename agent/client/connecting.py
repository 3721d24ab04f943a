"""A connected socket, from a port that may be chosen.

Rule: this file opens the sockets of a client's links. With ports to dial from, the first one counts from
which the other side can be reached: another session may have one, and a connection that has ended keeps its
own for a minute.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Final

import anyio

from schemas.errors import TidegateError
from schemas.ports import PortRange

# In use here; or in use, or used a moment ago, between here and there.
_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})


class PortsTakenError(TidegateError):
    """There is no port left to dial from."""


async def connect(
    addresses: Sequence[str], port: int, *, patience: float, local_ports: PortRange | None = None
) -> socket.socket:
    """A socket that is connected to one of the addresses, which are tried in turn. It does not block.

    :param patience: seconds for all of them together.
    :raises OSError: if none answers; the last one's error.
    :raises PortsTakenError: if none of the ports can be dialed from.
    """
    failure: OSError | None = None
    for address in addresses:
        try:
            with anyio.fail_after(patience / len(addresses)):
                if local_ports is None:
                    return await _connect(address, port, None)
                return await _connect_from(address, port, local_ports)
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


async def _connect_from(address: str, port: int, local_ports: PortRange) -> socket.socket:
    for local in range(local_ports.first, local_ports.last + 1):
        try:
            return await _connect(address, port, local)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
    raise PortsTakenError(
        f"no port of client.local_ports ({local_ports}) is free to dial {address} from: "
        "others use them, or did within the last minute; widen the range"
    )


async def _connect(address: str, port: int, local: int | None) -> socket.socket:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    family, _, _, _, there = found[0]
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if local is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            connection.bind(("", local))
        failed = connection.connect_ex(there)
        if failed == errno.EINPROGRESS:
            await anyio.wait_writable(connection)
            failed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
    except BaseException:
        connection.close()
        raise
    return connection
