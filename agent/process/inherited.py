"""Listening sockets that a service manager opened, and handed over to us.

Rule: which of them is which of ours is decided here, by the address that it is bound
to and by nothing else. It must be the very same: ``0.0.0.0:443`` is not
``192.0.2.1:443``, and ``[::]:443`` is the one that takes IPv6 only.

A socket that nobody asks for stays open and is told of, for it is not ours to close.
One that could not be put to use is given back, and is there for the next attempt.
One that was in use and is given up, because the state no longer has its port, is closed
like any other. Whoever handed it over may hold it open all the same, and then nobody
can have that port until the service is started anew.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from schemas.names import ListenAddress

_NONE: Final[Mapping[int, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Descriptor:
    descriptor: int
    name: str  # what the service manager calls it
    bound: ListenAddress | str  # a port; or a path, or whatever else it is, in words
    flaw: str = ""  # why it cannot be used

    def __str__(self) -> str:
        return f"the socket {self.bound} ({self.name})"

    def is_in_the_way_of(self, address: ListenAddress) -> bool:
        """Whether no other socket can be bound there because of this one."""
        mine = self.bound
        return (
            isinstance(mine, ListenAddress)
            and mine.port == address.port
            and (mine.family == address.family or (mine.host == "::" and bool(self.flaw)))
            and (mine.is_wildcard or address.is_wildcard or mine == address)
        )


class HandedOver(socket.socket):
    """A listening socket that is older than we are: whoever connected before we began is in its queue."""

    def __init__(self, origin: Inherited, found: _Descriptor) -> None:
        super().__init__(fileno=found.descriptor)
        self._origin = origin
        self._found = found

    def give_back(self) -> None:
        """Keep another descriptor of it, so that it can be taken again. Too late if it is closed."""
        if self.fileno() < 0:
            return
        try:
            kept = os.dup(self.fileno())  # an event loop that failed with the old one may still close that
        except OSError:
            kept = self.detach()
        self.close()
        self._origin.take_back(replace(self._found, descriptor=kept))


class Inherited:
    """Whatever was handed over, and has not been taken.

    :param descriptors: open file descriptors, and what the service manager calls each.
    :param complaints: what is wrong with the handing over as such.
    """

    def __init__(self, descriptors: Mapping[int, str] = _NONE, *, complaints: tuple[str, ...] = ()) -> None:
        self._complaints = complaints
        self._taken: set[ListenAddress] = set()
        self._left: list[_Descriptor] = []
        for descriptor, name in descriptors.items():
            found = _look_at(descriptor, name or "unknown")
            if any(found.bound == other.bound for other in self._left):
                found = replace(found, flaw="another one is bound to the same; hand over one of the two")
            self._left.append(found)

    def take(self, address: ListenAddress) -> HandedOver | None:
        """The socket that listens there, which is the caller's from now on; None if there is none."""
        found = self._find(address)
        if found is None:
            return None
        self._taken.add(address)
        return self._give(found)

    def take_back(self, found: _Descriptor) -> None:
        """Have what was taken to be taken again."""
        if isinstance(found.bound, ListenAddress):
            self._taken.discard(found.bound)
        self._left.append(found)

    def has(self, address: ListenAddress) -> bool:
        """Whether :meth:`take` would give one."""
        return self._find(address) is not None

    def take_path(self, path: Path) -> socket.socket | None:
        """The unix socket at that path, which is the caller's from now on; None if there is none."""
        wanted = os.path.realpath(path)
        for left in self._left:
            if isinstance(left.bound, str) and not left.flaw and os.path.realpath(left.bound) == wanted:
                return self._give(left)
        return None

    def explain(self, address: ListenAddress) -> str | None:
        """Why a port cannot be had, if that is because of what was handed over."""
        if address in self._taken:  # and asked for again, so it was given up
            return (
                f"{address} was given up by an earlier state and is held open still by the service manager, "
                "who had handed it over; restart the service"
            )
        for left in self._left:
            if left.is_in_the_way_of(address):
                reason = left.flaw or f"it is not {address}: write the same address in both places"
                return f"{address} cannot be opened beside {left}, which was handed over; {reason}"
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What cannot be used, and what nobody has asked for."""
        return (*self._complaints, *self._unused())

    def _unused(self) -> Iterator[str]:
        for left in self._left:
            reason = left.flaw or "the state asks for no such address; correct one of the two"
            yield f"{left} was handed over and is not used: {reason}"

    def _find(self, address: ListenAddress) -> _Descriptor | None:
        return next((left for left in self._left if left.bound == address and not left.flaw), None)

    def _give(self, found: _Descriptor) -> HandedOver:
        self._left.remove(found)
        return HandedOver(self, found)


def _look_at(descriptor: int, name: str) -> _Descriptor:
    try:
        os.set_inheritable(descriptor, False)  # no child of ours is to have it
        handed_over = socket.socket(fileno=descriptor)
    except OSError as error:
        bound = f"with the number {descriptor}"
        return _Descriptor(
            descriptor=descriptor, name=name, bound=bound, flaw=f"it is no socket ({error.strerror})"
        )
    try:
        return _describe(handed_over, name)
    finally:
        handed_over.detach()


def _describe(handed_over: socket.socket, name: str) -> _Descriptor:
    bound = _address(handed_over)
    descriptor = handed_over.fileno()
    return _Descriptor(
        descriptor=descriptor,
        name=name,
        bound=f"with the number {descriptor}" if bound is None else bound,
        flaw=_flaw(handed_over, bound),
    )


def _flaw(handed_over: socket.socket, bound: ListenAddress | str | None) -> str:
    if bound is None:
        return "it is neither a TCP port nor a unix socket with a path"
    if handed_over.type != socket.SOCK_STREAM:
        return "it carries no streams; write ListenStream= in its unit"
    if not handed_over.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it does not listen; write Accept=no in its unit"
    if (
        isinstance(bound, ListenAddress)
        and bound.host == "::"
        and not handed_over.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    ):
        return (
            f"it takes IPv4 as well, and {bound} takes IPv6 only; write BindIPv6Only=ipv6-only in its unit, "
            f"and ListenStream=0.0.0.0:{bound.port} for IPv4"
        )
    return ""


def _address(handed_over: socket.socket) -> ListenAddress | str | None:
    """The port or the path that it is bound to."""
    address = handed_over.getsockname()
    match handed_over.family:
        case socket.AF_INET | socket.AF_INET6:
            return ListenAddress(str(ipaddress.ip_address(address[0])), address[1])
        case socket.AF_UNIX if isinstance(address, str) and address:
            return address
        case _:
            return None
