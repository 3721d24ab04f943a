"""Networks: addresses that belong together, as a file names them.

Rule: a text becomes a network here and nowhere else. An address alone is the network of
that one address.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import TypeAlias

from .quoting import quote

Network: TypeAlias = IPv4Network | IPv6Network

_EXAMPLE = 'write an address or a network, for example "192.0.2.7" or "192.0.2.0/24"'


def parse_network(text: str) -> Network:
    """``192.0.2.7``, ``192.0.2.0/24``, ``2001:db8::/32``. Bits behind the prefix are a mistake.

    :raises ValueError: with one line that says what to write instead.
    """
    if not text.isprintable() or "%" in text:
        raise ValueError(f"{quote(text)} is not a network; {_EXAMPLE}")
    try:
        interface = ip_interface(text)
    except ValueError:
        raise ValueError(f"{quote(text)} is not a network; {_EXAMPLE}") from None
    if "/" in text and interface.ip != interface.network.network_address:
        raise ValueError(
            f"{quote(text)} has bits behind its prefix; "
            f'write "{interface.network}" for the network or "{interface.ip}" for the address'
        )
    if isinstance(interface.network, IPv6Network) and interface.ip.version == 6:
        mapped = interface.network.network_address.ipv4_mapped
        if mapped is not None and interface.network.prefixlen >= 96:
            raise ValueError(
                f"{quote(text)} is an IPv4 network in disguise; "
                f'write "{mapped}/{interface.network.prefixlen - 96}"'
            )
    return interface.network


def spell_network(network: Network) -> str:
    """As a person would write it: an address where it is only one."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)
