"""Binding the ports of this machine, and saying why one could not be bound.

Rule: every listening TCP socket of an agent is made here, with the same options.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from reconcile.actuator import ActionError
from schemas.names import ListenAddress

# A visitor whose machine vanished is noticed by the kernel within about three minutes.
# Accepted sockets inherit these from the listening one (tcp(7)).
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 90), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 6))


def bind(address: ListenAddress) -> socket.socket:
    """A non-blocking TCP socket that listens at the address. Nobody is accepted yet.

    ``[::]`` takes IPv6 only, so that it and ``0.0.0.0`` are two ports, as in the state file.

    :raises ActionError: if the address cannot be had; says what to do about it.
    """
    try:
        listening = socket.socket(
            socket.AF_INET if address.family == 4 else socket.AF_INET6, socket.SOCK_STREAM
        )
    except OSError as error:
        raise _explain(address, error) from error
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if address.family == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address.host, address.port))
        # Linux lets two sockets with SO_REUSEADDR bind one port, and refuses the second here.
        listening.listen()
    except OSError as error:
        listening.close()
        raise _explain(address, error) from error
    return listening


def _explain(address: ListenAddress, error: OSError) -> ActionError:
    match error.errno:
        case errno.EADDRINUSE:
            return ActionError(
                f"{address} is taken by another program; stop it (see ss -ltnp) or choose another port",
                reason="AddressInUse",
            )
        case errno.EACCES | errno.EPERM:
            return ActionError(
                f"{address} may not be opened by this user; allow it (CAP_NET_BIND_SERVICE) "
                "or choose a port above 1023",
                reason="PermissionDenied",
            )
        case errno.EADDRNOTAVAIL:
            return ActionError(
                f"{address} is not an address of this machine; write one that ip addr shows",
                reason="NoSuchAddress",
            )
        case errno.EAFNOSUPPORT:
            return ActionError(
                f"{address} needs IPv{address.family}, which this machine does not have; "
                f"write an address of the other family",
                reason="NoSuchAddress",
            )
        case _:
            return ActionError(f"{address} cannot be opened: {error.strerror or error}", reason="Failed")
