"""Whether an address is this machine's own.

Rule: the system is asked at every question, as interfaces come and go. Only what is its own can be bound:
also an address that another one of the same interface would answer for, and all of 127.0.0.0/8.
"""

from __future__ import annotations

import socket
from typing import Final

from .special_addresses import Address

# Nobody's. Where even these can be bound (ip_nonlocal_bind, for addresses that move between machines),
# binding says nothing.
_NOBODYS: Final = {4: "240.0.0.1", 6: "100::1"}
_ANY_PORT: Final = 9  # of a connected UDP socket, which sends nothing


def is_own(address: Address) -> bool:
    """Whether whoever dials it reaches this machine.

    :raises OSError: if the system does not say.
    """
    text = str(address)
    if not _can_bind(text, address.version):
        return False
    return not _can_bind(_NOBODYS[address.version], address.version) or _is_its_own_source(address)


def can_bind(address: Address) -> bool:
    """Whether this machine can dial from it."""
    return _can_bind(str(address), address.version)


def _can_bind(text: str, version: int) -> bool:
    with _probe(version) as probe:
        try:
            probe.bind((text, 0))
        except OSError:
            return False
        return True


def _is_its_own_source(address: Address) -> bool:
    if address.is_loopback or address.is_unspecified:
        return True
    with _probe(address.version) as probe:
        try:
            probe.connect((str(address), _ANY_PORT))
        except OSError:
            return False  # there is no way there
        source: str = probe.getsockname()[0]
        return source == str(address)


def _probe(version: int) -> socket.socket:
    return socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
