"""Ports and addresses that somebody may use, as a file names them: many at a time.

Rule: a text becomes a range of ports, or a pattern of listen addresses, here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from .names import ListenAddress
from .quoting import quote

_RANGE: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_LAST: Final = 65535


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """All ports from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def is_single(self) -> bool:
        """Whether this is one port."""
        return self.first == self.last

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        if self.is_single:
            return str(self.first)
        return "*" if self == ALL_PORTS else f"{self.first}-{self.last}"


ALL_PORTS: Final = PortRange(1, _LAST)


def parse_port_range(text: str) -> PortRange:
    """``25``, ``8000-8099``, or ``*`` for every port.

    :raises ValueError: with one line that says what to write instead.
    """
    if text == "*":
        return ALL_PORTS
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f'{quote(text)} is no port; write a number, or two as in "8000-8099"')
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if not 1 <= first <= _LAST or not 1 <= last <= _LAST:
        raise ValueError(f"{quote(text)} is no port; write numbers from 1 to {_LAST}")
    if last < first:
        raise ValueError(f'{quote(text)} ends before it starts; write "{last}-{first}"')
    return PortRange(first, last)


@dataclass(frozen=True, slots=True, order=True)
class ListenPattern:
    """Listen addresses. ``host`` is an IP address in canonical spelling, or "" for any.

    A wildcard address stands for every address of its family, itself included.
    """

    host: str
    ports: PortRange

    def covers(self, address: ListenAddress) -> bool:
        """Whether that is one of them."""
        if address.port not in self.ports:
            return False
        if self.host in ("", address.host):
            return True
        mine = ListenAddress(self.host, address.port)
        return mine.is_wildcard and mine.family == address.family

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.ports}"


def parse_listen_pattern(text: str) -> ListenPattern:
    """``0.0.0.0:8000-8999``, ``[::1]:443``, ``:443``, ``192.0.2.1:*``.

    :raises ValueError: with one line that says what to write instead.
    """
    advice = 'write an address and ports, for example "0.0.0.0:8000-8999", or ":443" for any address'
    host, colon, ports = text.rpartition(":")
    if _RANGE.fullmatch(text):
        raise ValueError(f'{quote(text)} are ports alone; write ":{text}" for any address')
    if not colon:
        raise ValueError(f"{quote(text)} has no port; {advice}")
    bare = host.removeprefix("[").removesuffix("]")
    if host and (":" in bare) != (host == f"[{bare}]"):
        raise ValueError(f"{quote(host)} is not an IP address with its brackets; {advice}")
    if "%" in bare:
        raise ValueError(f"{quote(host)} names an interface; {advice}")
    try:
        canonical = str(ip_address(bare)) if bare else ""
    except ValueError:
        raise ValueError(f"{quote(host)} is not an IP address; {advice}") from None
    if not bare and host:
        raise ValueError(f"{quote(text)} has nothing between its brackets; {advice}")
    return ListenPattern(canonical, parse_port_range(ports))
