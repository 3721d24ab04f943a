"""The router of the default route: who ``gateway`` is in the URL of a proxy.

Rule: Linux tells its routes in two files of /proc, one for each IP version, and they are read here. The route
with the lowest metric counts, and an IPv4 one before any IPv6 one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from schemas.errors import TidegateError

_ROUTES_4: Final = Path("/proc/net/route")
_ROUTES_6: Final = Path("/proc/net/ipv6_route")

# linux/route.h
_UP: Final = 0x1
_GATEWAY: Final = 0x2
_REJECT: Final = 0x200


class NoRouterError(TidegateError):
    """Nobody knows a router here; the message says what to write instead."""


def default_router(routes_4: Path = _ROUTES_4, routes_6: Path = _ROUTES_6) -> str:
    """The address of the default route's router. A link-local one has its interface behind a %.

    Read anew each time: who carries a machine about asks in another network.

    :raises NoRouterError: if there is none.
    """
    if not routes_4.exists() and not routes_6.exists():
        raise NoRouterError(
            "the router of the default route is known on Linux only; "
            "write its address into client.proxy in the place of gateway"
        )
    for file, read in ((routes_4, _routers_4), (routes_6, _routers_6)):
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            continue  # a kernel without this IP version
        found = min(read(lines), default=None)
        if found is not None:
            return found[1]
    raise NoRouterError(
        "this machine has no default route with a router now; connect it to a network, "
        "or write the address of the proxy into client.proxy in the place of gateway"
    )


def _routers_4(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Metric and router of each default route: Iface Destination Gateway Flags RefCnt Use Metric Mask …"""
    for line in lines[1:]:
        fields = line.split()
        if len(fields) < 8 or int(fields[1], 16) or int(fields[7], 16):
            continue
        if _leads_to_router(int(fields[3], 16)):
            # The kernel prints a number in its own byte order, and the address was in that of the network.
            packed = int(fields[2], 16).to_bytes(4, sys.byteorder)
            yield int(fields[6]), str(IPv4Address(packed))


def _routers_6(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The same: destination, prefix, source, its prefix, next hop, metric, count, use, flags, interface."""
    for line in lines:
        fields = line.split()
        if len(fields) < 10 or int(fields[0], 16) or int(fields[1], 16):
            continue
        if _leads_to_router(int(fields[8], 16)):
            router = IPv6Address(int(fields[4], 16))
            yield int(fields[5], 16), f"{router}%{fields[9]}" if router.is_link_local else str(router)


def _leads_to_router(flags: int) -> bool:
    return flags & (_UP | _GATEWAY | _REJECT) == _UP | _GATEWAY
