"""Destinations of egress: what a client may reach through its gateway, as a file names it.

Rule: a text becomes a destination here and nowhere else. What a destination admits is decided
by the gateway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
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

_WITH_PORT: Final = re.compile(r"(\[.*\]|[^:]*):([0-9]+|\*)")
# Numbers and asterisks, as some write a network. It would be looked for among names, and none is like that.
_LIKE_NUMBERS: Final = re.compile(r"[0-9*]*[0-9][0-9*]*\.[0-9.*]*")


def parse_destination(text: str) -> Destination:
    """``*.example.com``, ``mail.example.com``, ``192.0.2.7``, ``198.51.100.0/24``, ``*``.

    What looks like a number is an address or a mistake: no name ends in one (RFC 3696, section 2).

    :raises ValueError: with one line that says what to write instead.
    """
    with_port = _WITH_PORT.fullmatch(text)
    if with_port is not None:
        host = with_port[1].removeprefix("[").removesuffix("]") or "*"
        raise ValueError(f"{quote(text)} holds a port; write {quote(host)} here and {with_port[2]} in ports")
    last = text.rstrip(".").rpartition(".")[2]
    if ("/" in text and "//" not in text) or (":" in text and "//" not in text) or last.isdigit():
        return parse_network(text)
    if not text:
        raise ValueError('the destination is empty; write a host, a network, or "*" for any host')
    if "//" in text:
        raise ValueError(f"{quote(text)} is a URL; write the host alone")
    name = parse_hostname(text)
    if _LIKE_NUMBERS.fullmatch(name):
        raise ValueError(
            f"{quote(text)} is no pattern of names; "
            f"for addresses write a network, for example {quote(_network_like(name))}"
        )
    return HostGlob(name)


def _network_like(glob: str) -> str:
    """What ``10.1.*`` was meant to be, as far as its numbers go."""
    octets = [str(int(label)) for label in takewhile(str.isdecimal, glob.split(".")[:3])]
    if not octets or any(len(octet) > 3 or int(octet) > 255 for octet in octets):
        return "10.0.0.0/24"
    return f"{'.'.join([*octets, *['0'] * (4 - len(octets))])}/{8 * len(octets)}"


def spell_destination(destination: Destination) -> str:
    """As a person would write it."""
    return destination.glob if isinstance(destination, HostGlob) else spell_network(destination)
