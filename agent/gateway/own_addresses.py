"""Whether an address is this machine's own.

Rule: the system is asked at every question, as interfaces come and go. Linux says whether it would keep a
packet to itself. Where nobody says that, only what is its own can be bound: also an address that another one
of the same interface would answer for, and all of 127.0.0.0/8.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from .special_addresses import Address

# Nobody's. Where even these can be bound (ip_nonlocal_bind, for addresses that move between machines),
# binding says nothing.
_NOBODYS: Final = {4: "240.0.0.1", 6: "100::1"}
_ANY_PORT: Final = 9  # of a connected UDP socket, which sends nothing

# rtnetlink(7): which way would a packet to that address go?
_MESSAGE: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # family, bits, …, type, flags
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_ERROR: Final = struct.Struct("=i")
_GET_ROUTE, _NEW_ROUTE, _NO_ROUTE = 26, 24, 2
_REQUEST: Final = 1
_DESTINATION: Final = 1
_LOCAL: Final = 2
_NOWHERE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL})


def is_own(address: Address) -> bool:
    """Whether whoever dials it reaches this machine.

    :raises OSError: if the system does not say.
    """
    if address.is_loopback or address.is_unspecified:
        return True
    is_kept = _is_kept(address)
    if is_kept is not None:
        return is_kept
    if not can_bind(address):
        return False
    return not _can_bind(_NOBODYS[address.version], address.version) or _is_its_own_source(address)


def can_bind(address: Address) -> bool:
    """Whether this machine can dial from it.

    :raises OSError: if the system does not say.
    """
    return _can_bind(str(address), address.version)


def _is_kept(address: Address) -> bool | None:
    """Whether the system keeps what is sent there; None if it is none that says so."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    family, packed = _family(address.version), address.packed
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _DESTINATION) + packed
    route = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    size = _MESSAGE.size + len(route) + len(attribute)
    question = _MESSAGE.pack(size, _GET_ROUTE, _REQUEST, 1, 0) + route + attribute
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
            netlink.setblocking(False)  # the answer is there when the question has been asked
            netlink.send(question)
            answer = netlink.recv(65_536)
    except OSError:  # a sandbox; or too few files are left, and the other way of asking says so
        return None
    _, kind, *_ = _MESSAGE.unpack_from(answer)
    if kind == _NEW_ROUTE:
        return bool(_ROUTE.unpack_from(answer, _MESSAGE.size)[7] == _LOCAL)
    if kind == _NO_ROUTE and -_ERROR.unpack_from(answer, _MESSAGE.size)[0] in _NOWHERE:
        return False
    return None


def _can_bind(text: str, version: int) -> bool:
    with _probe(version) as probe:
        try:
            probe.bind((text, 0))
        except OSError:
            return False
        return True


def _is_its_own_source(address: Address) -> bool:
    with _probe(address.version) as probe:
        try:
            probe.connect((str(address), _ANY_PORT))
        except OSError:
            return False  # there is no way there
        source: str = probe.getsockname()[0]
        return source == str(address)


def _probe(version: int) -> socket.socket:
    return socket.socket(_family(version), socket.SOCK_DGRAM)


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6
