"""Addresses that are not of the public internet, and what each of them is.

Rule: what is special is decided here, by the registries of IANA (RFC 6890 and what has been added to
them since) and by what the large clouds say of their own. An address that hides an IPv4 one is what
it hides: a packet to it ends there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, TypeAlias

from schemas.networks import Network

Address: TypeAlias = IPv4Address | IPv6Address

LOOPBACK: Final = "loopback"
METADATA: Final = "a cloud's metadata service"

# The narrowest one that holds an address says what it is.
_KINDS: Final = {
    LOOPBACK: ("127.0.0.0/8", "::1"),
    "unspecified": ("0.0.0.0/8", "::"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "shared by a provider's customers": ("100.64.0.0/10",),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "site-local": ("fec0::/10",),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "broadcast": ("255.255.255.255",),
    "for documentation": (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "233.252.0.0/24"),
        *("2001:db8::/32", "3fff::/20"),
    ),
    "for benchmarks": ("198.18.0.0/15", "2001:2::/48"),
    "6to4": ("192.88.99.0/24", "2002::/16"),
    "Teredo": ("2001::/32",),
    "a translator's": ("64:ff9b:1::/48", "::ffff:0:0:0/96"),
    # Of IPv6, everything but the one eighth that addresses are given out of.
    "reserved": (
        *("192.0.0.0/24", "240.0.0.0/4"),
        *("::/3", "2001::/23", "4000::/2", "8000::/1"),
    ),
    METADATA: (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"),  # AWS and nearly all others; Google by IPv6
        *("169.254.170.2", "169.254.170.23", "fd00:ec2::23"),  # the credentials of containers on AWS
        "168.63.129.16",  # Azure; of its public addresses, and still in each machine's own reach
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        *("169.254.42.42", "fd00:42::42"),  # Scaleway
        "169.254.0.23",  # Tencent
    ),
}

_COMPATIBLE: Final = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: NAT64, as DNS64 answers it
_IPV4: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Special:
    """A range of addresses that are something else than a machine on the public internet."""

    network: Network
    kind: str


_SPECIAL: Final = tuple(
    sorted(
        (Special(ip_network(text), kind) for kind, texts in _KINDS.items() for text in texts),
        key=lambda special: -special.network.prefixlen,
    )
)


def unwrapped(address: Address) -> Address:
    """The address to dial for it: the IPv4 one that an IPv6 one is another spelling of."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _COMPATIBLE and int(address) > 1:
        return IPv4Address(int(address))
    return address


def destination(address: Address) -> Address:
    """Where a packet to it ends, which is what it is judged by."""
    address = unwrapped(address)
    if isinstance(address, IPv6Address) and address in _TRANSLATED:
        return IPv4Address(int(address) & _IPV4)
    return address


@lru_cache(maxsize=1024)
def special_range(address: Address) -> Special | None:
    """The narrowest special range that it is of, None if it is of none.

    One whose tunnel ends at a special IPv4 address is a range of its own.
    """
    address = destination(address)
    for special in _SPECIAL:
        if special.network.version == address.version and address in special.network:
            if isinstance(address, IPv6Address):
                for end in _tunnel_ends(address):
                    hidden = special_range(end)
                    if hidden is not None:
                        return Special(IPv6Network(int(address)), f"{special.kind} to what is {hidden.kind}")
            return special
    return None


def _tunnel_ends(address: IPv6Address) -> tuple[IPv4Address, ...]:
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return address.teredo or ()


def is_within(network: Network, special: Special) -> bool:
    """Whether the network names that range or a part of it, and nothing else."""
    match network, special.network:
        case (IPv4Network() as inner, IPv4Network() as outer):
            return inner.subnet_of(outer)
        case (IPv6Network() as inner, IPv6Network() as outer):
            return inner.subnet_of(outer)
        case _:
            return False
