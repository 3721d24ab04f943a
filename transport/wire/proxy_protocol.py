"""The PROXY protocol header, versions 1 and 2: who the visitor of a forwarded connection is.

Rule: this file alone writes and reads the header. Section numbers are those of HAProxy's
doc/proxy-protocol.txt. A header either says both ends of the connection or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

from .cursor import Buffer, Cursor
from .errors import LocalProtocolError, RemoteProtocolError

MAX_V1: Final = 107  # section 2.1: the longest line, with its CRLF

# Section 2.2 allows 16 + 65,535 bytes and wants them in one segment of 536. nginx reads up to 4096 as
# well; beside the largest addresses (two unix paths, 216) that leaves 3,864 bytes for TLVs.
MAX_V2: Final = 4096

_V1_START: Final = b"PROXY "
_V1_STARTS: Final = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOW")
_V2_START: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = Struct("!12sBBH")
_V4_BLOCK: Final = Struct("!4s4sHH")
_V6_BLOCK: Final = Struct("!16s16sHH")
_V1_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")

_Address: TypeAlias = IPv4Address | IPv6Address


class NoProxyHeaderError(RemoteProtocolError):
    """What came begins with something else: whoever sent it knows nothing of PROXY."""


class Endpoint(NamedTuple):
    """One end of a visitor's connection: an IP address as text, and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """What a header said. `size` is how many bytes it took from the buffer.

    Both ends are None when the sender did not say (UNKNOWN, LOCAL, UNSPEC) or said something that is
    no internet address: the receiver then uses those of the connection itself (section 2.2).
    """

    version: Literal[1, 2]
    source: Endpoint | None
    destination: Endpoint | None
    size: int


class _Command(Enum):
    LOCAL = 0
    PROXY = 1


class _Family(Enum):
    UNSPEC = 0
    INET = 1
    INET6 = 2
    UNIX = 3


class _Protocol(Enum):
    UNSPEC = 0
    STREAM = 1
    DGRAM = 2


_BLOCK_SIZE: Final = {
    _Family.UNSPEC: 0,
    _Family.INET: _V4_BLOCK.size,
    _Family.INET6: _V6_BLOCK.size,
    _Family.UNIX: 2 * 108,
}


def build_v1(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """The line of version 1; UNKNOWN when an end is not known.

    :raises LocalProtocolError: when an end is not an IP address with a port.
    """
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n"
    first, second = _same_family(source, destination)
    family = "TCP4" if isinstance(first, IPv4Address) else "TCP6"
    line = f"PROXY {family} {_text(first)} {_text(second)} {source.port} {destination.port}\r\n"
    return line.encode("ascii")


def build_v2(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """The binary header of version 2; LOCAL when an end is not known.

    :raises LocalProtocolError: when an end is not an IP address with a port.
    """
    if source is None or destination is None:
        return _v2(_Command.LOCAL, _Family.UNSPEC, _Protocol.UNSPEC, b"")
    first, second = _same_family(source, destination)
    is_v4 = isinstance(first, IPv4Address)
    block = _V4_BLOCK if is_v4 else _V6_BLOCK
    return _v2(
        _Command.PROXY,
        _Family.INET if is_v4 else _Family.INET6,
        _Protocol.STREAM,
        block.pack(first.packed, second.packed, source.port, destination.port),
    )


def _v2(command: _Command, family: _Family, protocol: _Protocol, block: bytes) -> bytes:
    kind = family.value << 4 | protocol.value
    return _V2_FIXED.pack(_V2_START, 2 << 4 | command.value, kind, len(block)) + block


def _same_family(source: Endpoint, destination: Endpoint) -> tuple[_Address, _Address]:
    """Both addresses in one family, as either header wants them.

    An IPv4 visitor of a dual-stack port shows as ::ffff:a.b.c.d and is IPv4 again here; only next to
    an end that is truly IPv6 does IPv4 become such a mapped address (RFC 4291 section 2.5.5.2).
    """
    first, second = _address(source), _address(destination)
    if isinstance(first, IPv4Address) == isinstance(second, IPv4Address):
        return first, second
    return _mapped(first), _mapped(second)


def _address(endpoint: Endpoint) -> _Address:
    if not 0 <= endpoint.port <= 65535:
        raise LocalProtocolError(f"port {endpoint.port} of a PROXY header is not within 0 to 65535")
    try:
        # Neither header has room for the zone of a link-local address (RFC 4007 section 11).
        address = ip_address(endpoint.host.partition("%")[0])
    except ValueError:
        raise LocalProtocolError(f"{endpoint.host!r} in a PROXY header is not an IP address") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _mapped(address: _Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(0xFFFF << 32 | int(address))


def _text(address: _Address) -> str:
    """Hexadecimal groups only, as section 2.1 asks; `str` of a mapped address depends on the Python."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        number = int(address.ipv4_mapped)
        return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"
    return str(address)


def peek_proxy_header(buffer: Buffer) -> ProxyHeader | None:
    """The header of either version at the start of `buffer`, or None when more bytes are needed.

    :raises NoProxyHeaderError: when it is no header at all.
    :raises RemoteProtocolError: when no bytes to come can make it a valid header; the specification
        wants the connection closed then.
    """
    start = bytes(buffer[: len(_V2_START)])
    if _V2_START.startswith(start):
        return _peek_v2(buffer)
    if start.startswith(_V1_START) or _V1_START.startswith(start):
        return _peek_v1(bytes(buffer[:MAX_V1]))
    raise NoProxyHeaderError("the connection does not begin with a PROXY protocol header")


def begins_with_proxy_header(buffer: Buffer) -> bool:
    """Whether the first bytes are those of a header of either version, be it complete or correct or not.

    Less than twelve bytes are none: what begins like one may go on as something else.
    """
    start = bytes(buffer[: len(_V2_START)])
    return start == _V2_START or start.startswith(_V1_STARTS)


def _peek_v1(data: bytes) -> ProxyHeader | None:
    line, ending, _ = data.partition(b"\r\n")
    if b"\n" in line or b"\r" in (line if ending else line.removesuffix(b"\r")):
        raise RemoteProtocolError("a PROXY line has a lone CR or LF (section 2.1)")
    if not ending:
        if len(data) >= MAX_V1:
            raise RemoteProtocolError(f"a PROXY line has no end within {MAX_V1} bytes (section 2.1)")
        return None
    source: Endpoint | None = None
    destination: Endpoint | None = None
    match line.decode("latin-1").split(" "):
        case [_, "UNKNOWN", *_]:
            pass  # section 2.1: whatever follows is ignored
        case [_, "TCP4", first, second, first_port, second_port]:
            source = _v1_endpoint(IPv4Address, first, first_port)
            destination = _v1_endpoint(IPv4Address, second, second_port)
        case [_, "TCP6", first, second, first_port, second_port]:
            source = _v1_endpoint(IPv6Address, first, first_port)
            destination = _v1_endpoint(IPv6Address, second, second_port)
        case _:
            raise RemoteProtocolError("a PROXY line is not of the form of section 2.1")
    return ProxyHeader(version=1, source=source, destination=destination, size=len(line) + len(ending))


def _v1_endpoint(family: type[IPv4Address] | type[IPv6Address], host: str, port: str) -> Endpoint:
    if not _V1_PORT.fullmatch(port) or int(port) > 65535:
        raise RemoteProtocolError(f"{port!a} in a PROXY line is not a port")
    try:
        if "%" in host:
            raise ValueError("a zone is no part of an address here")
        return Endpoint(str(family(host)), int(port))
    except ValueError:
        raise RemoteProtocolError(f"{host!a} in a PROXY line is not an address of its family") from None


def _peek_v2(buffer: Buffer) -> ProxyHeader | None:
    if len(buffer) > 12 and buffer[12] not in (0x20, 0x21):
        raise RemoteProtocolError(f"a PROXY header has version and command {buffer[12]:#04x} (section 2.2)")
    if len(buffer) < _V2_FIXED.size:
        return None
    _, version_command, kind, length = _V2_FIXED.unpack_from(buffer)
    size = _V2_FIXED.size + length
    if size > MAX_V2:
        raise RemoteProtocolError(f"a PROXY header of {size} bytes is longer than {MAX_V2}")
    # Section 2.2: with LOCAL the receiver ignores all the rest, also the family.
    is_local = version_command & 0xF == _Command.LOCAL.value
    family = _Family.UNSPEC if is_local else _family(kind)
    if length < _BLOCK_SIZE[family]:
        raise RemoteProtocolError(f"{length} bytes are too few for the addresses of a PROXY header")
    if len(buffer) < size:
        return None
    source: Endpoint | None = None
    destination: Endpoint | None = None
    if family is not _Family.UNSPEC:
        content = Cursor(bytes(buffer[_V2_FIXED.size : size]), what="a PROXY header")
        source, destination = _v2_endpoints(family, content.get_bytes(_BLOCK_SIZE[family]))
        _skip_tlvs(content)
    return ProxyHeader(version=2, source=source, destination=destination, size=size)


def _family(kind: int) -> _Family:
    """UNSPEC also where only the protocol is unspecified: both then say no address (section 2.2)."""
    try:
        family, protocol = _Family(kind >> 4), _Protocol(kind & 0xF)
    except ValueError:
        raise RemoteProtocolError(f"a PROXY header has unknown family {kind:#04x} (section 2.2)") from None
    return _Family.UNSPEC if protocol is _Protocol.UNSPEC else family


def _v2_endpoints(family: _Family, block: bytes) -> tuple[Endpoint | None, Endpoint | None]:
    if family is _Family.INET:
        first, second, first_port, second_port = _V4_BLOCK.unpack(block)
    elif family is _Family.INET6:
        first, second, first_port, second_port = _V6_BLOCK.unpack(block)
    else:
        return None, None
    return Endpoint(str(ip_address(first)), first_port), Endpoint(str(ip_address(second)), second_port)


def _skip_tlvs(content: Cursor) -> None:
    """Section 2.2: type, length and value, again and again; none of them is needed, all must fit."""
    while not content.is_at_end:
        content.get_u8()
        content.get_bytes(content.get_u16())
