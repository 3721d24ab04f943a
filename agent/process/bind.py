"""Binding the ports of this machine, and saying why one could not be bound.

Rule: every listening TCP socket of an agent comes from here, with the same options,
whether it is made or was handed over by a service manager.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TypeAlias

from reconcile.actuator import ActionError
from schemas.names import ListenAddress
from transport.pump.socket_options import keep_alive

from .descriptors import Use, may_have, shortage
from .inherited import Inherited

#: Gives a non-blocking TCP socket that listens at the address.
#: :raises ActionError: if the address cannot be had; says what to do about it.
Bind: TypeAlias = Callable[[ListenAddress], socket.socket]


def bind(address: ListenAddress) -> socket.socket:
    """A non-blocking TCP socket that listens at the address. Nobody is accepted yet.

    ``[::]`` takes IPv6 only, so that it and ``0.0.0.0`` are two ports, as in the state file.

    :raises ActionError: if the address cannot be had; says what to do about it.
    """
    return Ports().bind(address)


class Ports:
    """The ports of this machine, some of which may be open already.

    :param inherited: sockets that were handed over. One that is bound to an address is used in place of
        another one.
    """

    def __init__(self, inherited: Inherited | None = None) -> None:
        self._inherited = inherited or Inherited()

    def bind(self, address: ListenAddress) -> socket.socket:
        """As the function of that name, or what was handed over.

        :raises ActionError: if the address cannot be had; says what to do about it.
        """
        handed_over = self._inherited.take(address)
        if handed_over is not None:
            try:
                _prepare(handed_over)
            except OSError as error:
                handed_over.give_back()
                raise _explain(address, error) from error
            return handed_over
        try:
            return _bound(address)
        except OSError as error:
            raise self._explain(address, error) from error

    def probe(self, address: ListenAddress) -> None:
        """See whether :meth:`bind` would do, and leave everything as it is.

        :raises ActionError: if it would not.
        """
        if not self._inherited.has(address):
            self.bind(address).close()

    def _explain(self, address: ListenAddress, error: OSError) -> ActionError:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            why = self._inherited.explain(address)
            if why is not None:
                in_use = error.errno == errno.EADDRINUSE
                return ActionError(why, reason="AddressInUse" if in_use else "PermissionDenied")
        return _explain(address, error)


def _bound(address: ListenAddress) -> socket.socket:
    listening = _new(address)
    try:
        listening.bind((address.host, address.port))
        _prepare(listening)
    except OSError:
        listening.close()
        raise
    return listening


def _new(address: ListenAddress) -> socket.socket:
    listening = socket.socket(socket.AF_INET if address.family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        if not may_have(Use.PORT, listening.fileno()):
            raise _too_many(address)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    except (OSError, ActionError):
        listening.close()
        raise
    return listening


def _too_many(address: ListenAddress) -> ActionError:
    return ActionError(f"{address} is not opened: {shortage()}", reason="TooManyFiles")


def _prepare(listening: socket.socket) -> None:
    listening.setblocking(False)
    keep_alive(listening)  # inherited by what is accepted (tcp(7))
    if not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        # Linux lets two sockets with SO_REUSEADDR bind one port, and refuses the second here.
        listening.listen()


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
        case errno.EMFILE:
            return _too_many(address)
        case _:
            return ActionError(f"{address} cannot be opened: {error.strerror or error}", reason="Failed")
