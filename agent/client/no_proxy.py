"""Which hosts the environment wants to be dialed without a proxy: what ``no_proxy`` says.

Rule: it is read as curl, Go and Python read it, as far as they agree: names with everything below them,
addresses, networks, each with a port or for all of them, and ``*``. What makes no sense matches nothing.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_SEPARATOR: Final = re.compile(r"[,\s]+")
_WITH_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})")


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether it is to be dialed without a proxy.

    :param host: a name, or an IP address without brackets.
    """
    return is_loopback(host) or any(_matches(host, port, entry) for entry in _SEPARATOR.split(no_proxy))


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself: a proxy would take it for its own."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    name = host.lower()
    return name == "localhost" or name.endswith(".localhost")


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port is not None:
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.removeprefix("[").removesuffix("]")
    address = _address(host)
    if address is None:
        suffix = entry.lower().removeprefix("*").strip(".")
        name = host.lower().rstrip(".")
        return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return False
    return address in network


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
