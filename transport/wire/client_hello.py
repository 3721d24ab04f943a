"""Who a TLS visitor asks for, read from its ClientHello without answering it.

Rule: this file alone decides whether bytes are a TLS ClientHello, whether there are enough of
them, and which server name and protocols they ask for. It opens nothing: the bytes go on to the
service as they came, and the service judges the rest of the message.

Decision: a hello is refused for what makes its name doubtful (a repeated extension, two names, a
name that is none) and not for what only its service can judge (versions, suites, key shares).
With Encrypted Client Hello the name seen here is the public one, as its authors intend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from .cursor import Buffer, Cursor
from .errors import RemoteProtocolError
from .visitor_name import read_visitor_name

# RFC 8446 section 4 lets a handshake message grow to 16 MiB, which a stranger may not make us keep.
# Real hellos have some 500 bytes, or 1,500 to 2,500 with a post-quantum key share.
MAX_PEEK: Final = 64 * 1024

# Every call walks the records from the first one, so very many tiny ones would make each call dear.
# RFC 8449 section 4 lets nobody ask for records under 64 bytes, and 64 KiB in those are 1,024. Twice
# that also lets a post-quantum hello through that is cut into records of one byte.
MAX_RECORDS: Final = 2048

_RECORD: Final = Struct("!BBBH")  # RFC 8446 section 5.1: type, version (major, minor), length
_MAX_FRAGMENT: Final = 2**14
_HANDSHAKE: Final = 22
_MESSAGE_HEADER: Final = 4  # RFC 8446 section 4: type, then a length of three bytes
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0  # RFC 6066 section 3
_HOST_NAME: Final = 0
_ALPN: Final = 16  # RFC 7301 section 3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """What a ClientHello asks for: a lower-cased name if it gives one, protocols by preference."""

    server_name: str | None
    alpn: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """Nothing can be decided before the buffer holds `at_least` bytes in all."""

    at_least: int


def peek_client_hello(buffer: Buffer) -> ClientHello | None:
    """The ClientHello at the start of `buffer`, or None when more bytes are needed.

    :raises RemoteProtocolError: when no bytes to come can make it a ClientHello of MAX_PEEK bytes
        with a well-formed name.
    """
    found = scan_client_hello(buffer)
    return found if isinstance(found, ClientHello) else None


def scan_client_hello(buffer: Buffer) -> ClientHello | Short:
    """As `peek_client_hello`, but what is too short says how many bytes to wait for.

    A caller that waits for them makes fewer than a hundred calls for any hello, also for one that comes
    byte by byte. At the very beginning it is one byte more, so that what is no TLS shows at once.

    :raises RemoteProtocolError: as there.
    """
    message = bytearray()
    missing = _MESSAGE_HEADER
    offset = 0
    for _ in range(MAX_RECORDS):
        start = offset + _RECORD.size
        if len(buffer) < start:
            _check_record(*buffer[offset : offset + 2])
            return _short(buffer, start + missing)
        kind, major, _, length = _RECORD.unpack_from(buffer, offset)
        _check_record(kind, major)
        if not 0 < length <= _MAX_FRAGMENT:
            raise RemoteProtocolError(f"a TLS handshake record of {length} bytes is not allowed")
        fragment = buffer[start : start + length]
        message += fragment
        missing = _missing(message)
        end = start + len(fragment) + missing
        if missing <= 0:
            _check_size(end)
            return _parse(bytes(message[_MESSAGE_HEADER : len(message) + missing]))
        to_come = length - len(fragment)
        if to_come:
            return _short(buffer, end if missing <= to_come else end + _RECORD.size)
        offset = start + length
    raise RemoteProtocolError(f"a ClientHello in more than {MAX_RECORDS} TLS records is not accepted")


def _check_record(kind: int = _HANDSHAKE, major: int = 3) -> None:
    """Raise for a record that carries no handshake, also when only its first bytes are there.

    RFC 8446 section 5.1 forbids other content within a message, and tells us to ignore the version; its
    major half has been 3 from SSL 3 on, and tells TLS from other protocols.
    """
    if kind != _HANDSHAKE:
        raise RemoteProtocolError("not a TLS ClientHello: a record holds something other than a handshake")
    if major != 3:
        raise RemoteProtocolError("not a TLS ClientHello: a record has an unknown version")


def _missing(message: bytearray) -> int:
    """How many bytes of the message are missing at least; zero or less when none is."""
    if message and message[0] != _CLIENT_HELLO:
        raise RemoteProtocolError(f"not a ClientHello: the handshake begins with message type {message[0]}")
    if len(message) < _MESSAGE_HEADER:
        return _MESSAGE_HEADER - len(message)
    return _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big") - len(message)


def _short(buffer: Buffer, at_least: int) -> Short:
    _check_size(at_least)
    certain = _RECORD.size + 1  # with the message type, the visitor has said that it speaks TLS
    return Short(at_least=at_least if len(buffer) >= certain else len(buffer) + 1)


def _check_size(end: int) -> None:
    if end > MAX_PEEK:
        raise RemoteProtocolError(f"a ClientHello that needs more than {MAX_PEEK} bytes is not accepted")


def _parse(body: bytes) -> ClientHello:
    """RFC 8446 section 4.1.2, which TLS 1.0 to 1.2 hellos fit as well (RFC 5246 section 7.4.1.2)."""
    cursor = Cursor(body, what="the ClientHello")
    cursor.get_u16()  # legacy_version: the service's to judge
    cursor.get_bytes(32)  # random
    cursor.get_bytes(cursor.get_u8())  # legacy_session_id
    cursor.get_bytes(cursor.get_u16())  # cipher_suites
    cursor.get_bytes(cursor.get_u8())  # legacy_compression_methods
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    for kind, data in _extensions(cursor):
        if kind == _SERVER_NAME:
            server_name = _server_name(data)
        elif kind == _ALPN:
            alpn = _protocols(data)
    return ClientHello(server_name=server_name, alpn=alpn)


def _extensions(cursor: Cursor) -> Iterator[tuple[int, bytes]]:
    if cursor.is_at_end:
        return  # RFC 5246 section 7.4.1.2: a hello may end before the extensions
    block = Cursor(cursor.get_bytes(cursor.get_u16()), what="the extension block of the ClientHello")
    cursor.check_end()
    seen: set[int] = set()
    while not block.is_at_end:
        kind = block.get_u16()
        if kind in seen:
            raise RemoteProtocolError(f"the ClientHello has extension {kind} twice (RFC 8446 section 4.2)")
        seen.add(kind)
        yield kind, block.get_bytes(block.get_u16())


def _server_name(data: bytes) -> str | None:
    extension = Cursor(data, what="the server name extension")
    listed = extension.get_bytes(extension.get_u16())
    extension.check_end()
    if not listed:
        raise RemoteProtocolError("the server name list is empty (RFC 6066 section 3)")
    names = Cursor(listed, what="the server name list")
    found: str | None = None
    while not names.is_at_end:
        kind = names.get_u8()
        raw = names.get_bytes(names.get_u16())  # every kind, also a future one, begins with its length
        if kind != _HOST_NAME:
            continue
        if found is not None:
            raise RemoteProtocolError("the server name list has two host names (RFC 6066 section 3)")
        found = read_visitor_name(raw)
    return found


def _protocols(data: bytes) -> tuple[bytes, ...]:
    extension = Cursor(data, what="the ALPN extension")
    names = Cursor(extension.get_bytes(extension.get_u16()), what="the ALPN list")
    extension.check_end()
    found: list[bytes] = []
    while not names.is_at_end:
        name = names.get_bytes(names.get_u8())
        if not name:
            raise RemoteProtocolError("the ALPN list has an empty protocol name (RFC 7301 section 3.1)")
        found.append(name)
    if not found:
        raise RemoteProtocolError("the ALPN list is empty (RFC 7301 section 3.1)")
    return tuple(found)
