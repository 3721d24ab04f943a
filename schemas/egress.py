"""Destinations of egress: what a client may reach through its gateway, as a file names it.

Rule: a text becomes a destination here and nowhere else. What a destination admits is decided
by the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from .names import parse_hostname
from .networks import Network, parse_network, spell_network
from .quoting import quote


@dataclass(frozen=True, slots=True)
class HostGlob:
    """A host name in lower case, in which ``*`` stands for anything, dots too. ``*`` alone is any host."""

    glob: str

    def __str__(self) -> str:
        return self.glob


Destination: TypeAlias = HostGlob | Network

ANY_HOST: Final = HostGlob("*")


def parse_destination(text: str) -> Destination:
    """``*.example.com``, ``mail.example.com``, ``192.0.2.7``, ``198.51.100.0/24``, ``*``.

    What looks like a number is an address or a mistake: no name ends in one (RFC 3696, section 2).

    :raises ValueError: with one line that says what to write instead.
    """
    last = text.rstrip(".").rpartition(".")[2]
    if ("/" in text and "//" not in text) or (":" in text and "//" not in text) or last.isdigit():
        return parse_network(text)
    if not text:
        raise ValueError('the destination is empty; write a host, a network, or "*" for any host')
    if "//" in text:
        raise ValueError(f"{quote(text)} is a URL; write the host alone")
    return HostGlob(parse_hostname(text))


def spell_destination(destination: Destination) -> str:
    """As a person would write it."""
    return destination.glob if isinstance(destination, HostGlob) else spell_network(destination)
