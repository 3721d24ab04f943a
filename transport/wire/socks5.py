"""The messages of SOCKS5, read and written: RFC 1928, and RFC 1929 for user and password.

Rule: what each byte of a message means is said here, for both sides; in which order they come is
said by ``socks5_server`` and ``socks5_client``. A ``peek`` looks at all bytes so far and answers with
a message and its size, None for "need more", or the one error.

    program                                     proxy
       | == 05 n methods ======================> |   greeting       RFC 1928 section 3
       | <==================== 05 method ======= |   choice
       | == 01 n user n password ==============> |   login          RFC 1929 section 2, if chosen
       | <==================== 01 status ======= |   verdict
       | == 05 command 00 address port ========> |   request        RFC 1928 section 4
       | <==================== 05 reply 00 ...== |   reply          section 6
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from .cursor import Buffer
from .egress_header import read_egress_host
from .errors import LocalProtocolError, RemoteProtocolError

VERSION: Final = 5
_LOGIN_VERSION: Final = 1
_LONGEST: Final = 255  # what a length of one byte can say
_PORT_SIZE: Final = 2
_CONNECT: Final = 1


class Method(IntEnum):
    """How the program proves who it is (RFC 1928 section 3)."""

    OPEN = 0x00
    PASSWORD = 0x02
    NONE_ACCEPTABLE = 0xFF


class Reply(IntEnum):
    """What became of a request (RFC 1928 section 6)."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


class _AddressType(IntEnum):
    """RFC 1928 section 5."""

    IPV4 = 1
    NAME = 3
    IPV6 = 4


_ADDRESS_TYPES: Final = frozenset(_AddressType)
_ADDRESS_SIZE: Final = {_AddressType.IPV4: 4, _AddressType.IPV6: 16}
_COMMANDS: Final = {2: "BIND", 3: "UDP ASSOCIATE"}


class Socks5Error(RemoteProtocolError):
    """The other side said what it may not, or what ends the handshake.

    :ivar answer: what to write to it before the connection is closed; b"" for nothing.
    """

    def __init__(self, message: str, answer: bytes = b"") -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Write:
    """Send this to the other side."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Login:
    """Who the program says it is. Compare both in constant time."""

    user: bytes
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connect:
    """Where the program wants to go: a host as ``egress_header`` has it, and a port from 1 to 65535."""

    host: str
    port: int


# The greeting and the choice


def encode_greeting(methods: tuple[Method, ...]) -> bytes:
    return bytes([VERSION, len(methods), *methods])


def peek_greeting(buffer: Buffer) -> tuple[bytes, int] | None:
    """The methods that the program offers, as it numbers them.

    :raises Socks5Error: if it speaks something else.
    """
    if buffer and buffer[0] != VERSION:
        raise _no_socks5(buffer[0])
    if len(buffer) < 2 or len(buffer) < (end := 2 + buffer[1]):
        return None
    return bytes(buffer[2:end]), end


def encode_choice(method: Method) -> bytes:
    return bytes([VERSION, method])


def peek_choice(buffer: Buffer) -> tuple[int, int] | None:
    """The method that the proxy chose, as it numbers it.

    :raises Socks5Error: if it speaks something else.
    """
    if buffer and buffer[0] != VERSION:
        raise Socks5Error(f"the proxy does not speak SOCKS5: it began with byte {buffer[0]:#04x}")
    return None if len(buffer) < 2 else (buffer[1], 2)


# The login and the verdict


def encode_login(login: Login) -> bytes:
    """:raises LocalProtocolError: if user or password is empty or longer than 255 bytes."""
    message = bytearray([_LOGIN_VERSION])
    for text in (login.user, login.password):
        if not 0 < len(text) <= _LONGEST:
            raise LocalProtocolError(f"a user and a password for SOCKS5 have 1 to {_LONGEST} bytes each")
        message.append(len(text))
        message += text
    return bytes(message)


def peek_login(buffer: Buffer) -> tuple[Login, int] | None:
    """:raises Socks5Error: if it is of another version."""
    if buffer and buffer[0] != _LOGIN_VERSION:
        raise Socks5Error(
            f"the program logs in by version {buffer[0]} of RFC 1929, which knows version 1 only",
            encode_verdict(accepted=False),
        )
    at = 1
    found: list[bytes] = []
    while len(found) < 2:
        if len(buffer) <= at or len(buffer) < (end := at + 1 + buffer[at]):
            return None
        found.append(bytes(buffer[at + 1 : end]))
        at = end
    return Login(*found), at


def encode_verdict(*, accepted: bool) -> bytes:
    return bytes([_LOGIN_VERSION, 0 if accepted else 1])


def peek_verdict(buffer: Buffer) -> tuple[bool, int] | None:
    """Whether the proxy lets us in. Any status but 0 says no (RFC 1929 section 2).

    :raises Socks5Error: if it is of another version.
    """
    if len(buffer) < 2:
        return None
    # Some proxies write the version of SOCKS where that of the login belongs.
    if buffer[0] not in (_LOGIN_VERSION, VERSION):
        raise Socks5Error(f"the proxy answered the login with version {buffer[0]} of RFC 1929")
    return buffer[1] == 0, 2


# The request and the reply


def encode_request(connect: Connect) -> bytes:
    return bytes([VERSION, _CONNECT, 0]) + _encode_address(connect.host, connect.port)


def peek_request(buffer: Buffer) -> tuple[Connect, int] | None:
    """Where the program wants to go.

    :raises Socks5Error: if there is no going there; its answer is the reply that says so.
    """
    if buffer and buffer[0] != VERSION:
        raise _refused(f"the program's request is of version {buffer[0]}")
    if len(buffer) > 1 and buffer[1] != _CONNECT:
        command = _COMMANDS.get(buffer[1], f"command {buffer[1]}")
        raise _refused(
            f"the program asked for {command}; only CONNECT is supported", Reply.COMMAND_NOT_SUPPORTED
        )
    if len(buffer) < 4:
        return None  # byte 2 is reserved, and whatever it is means nothing
    if buffer[3] not in _ADDRESS_TYPES:
        raise _refused(
            f"the program asked for address type {buffer[3]}; IPv4, IPv6 and names are supported",
            Reply.ADDRESS_TYPE_NOT_SUPPORTED,
        )
    found = _peek_address(buffer, 3)
    if found is None:
        return None
    host, port, end = found
    try:
        host = read_egress_host(host)
    except RemoteProtocolError as error:
        raise _refused(f"the program asked for no host: {error}", Reply.HOST_UNREACHABLE) from None
    if not port:
        raise _refused(f"the program asked for port 0 of {host}, where nothing can listen")
    return Connect(host, port), end


UNKNOWN: Final = ("0.0.0.0", 0)  # noqa: S104 - nothing listens there
"""What stands in a reply in place of an address and port: of a failure, or if nobody has told."""


def encode_reply(reply: Reply, host: str = UNKNOWN[0], port: int = UNKNOWN[1]) -> bytes:
    """The reply; host and port are those that the far side dialed from (BND.ADDR and BND.PORT)."""
    return bytes([VERSION, reply, 0]) + _encode_address(host, port)


def peek_reply(buffer: Buffer) -> tuple[int, int] | None:
    """The reply of the proxy, as it numbers it. Of one that is no success the rest is not waited for.

    :raises Socks5Error: if it is no reply.
    """
    if buffer and buffer[0] != VERSION:
        raise Socks5Error(f"the proxy's reply is of version {buffer[0]}")
    if len(buffer) < 2:
        return None
    if buffer[1] != Reply.SUCCEEDED:
        return buffer[1], 2
    if len(buffer) < 4:
        return None
    if buffer[3] not in _ADDRESS_TYPES:
        raise Socks5Error(f"the proxy's reply has address type {buffer[3]}, which does not exist")
    found = _peek_address(buffer, 3)
    return None if found is None else (buffer[1], found[2])


# What they have in common


def _encode_address(host: str, port: int) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return bytes([_AddressType.NAME, len(name)]) + name + port.to_bytes(_PORT_SIZE, "big")
    kind = _AddressType.IPV4 if address.version == 4 else _AddressType.IPV6
    return bytes([kind]) + address.packed + port.to_bytes(_PORT_SIZE, "big")


def _peek_address(buffer: Buffer, at: int) -> tuple[str, int, int] | None:
    """Host, port, and where they end; ``at`` is the place of an address type that there is."""
    kind = _AddressType(buffer[at])
    at += 1
    if kind is _AddressType.NAME:
        if len(buffer) <= at:
            return None
        size = buffer[at]
        at += 1
    else:
        size = _ADDRESS_SIZE[kind]
    end = at + size + _PORT_SIZE
    if len(buffer) < end:
        return None
    raw = bytes(buffer[at : at + size])
    match kind:
        case _AddressType.IPV4:
            host = str(IPv4Address(raw))
        case _AddressType.IPV6:
            host = str(IPv6Address(raw))
        case _:
            host = raw.decode("latin-1")
    return host, int.from_bytes(buffer[at + size : end], "big"), end


def _refused(message: str, reply: Reply = Reply.GENERAL_FAILURE) -> Socks5Error:
    return Socks5Error(message, encode_reply(reply))


_LETTERS: Final = range(ord("A"), ord("Z") + 1)  # no other byte begins the head of a request
_TO_HTTP: Final = b"This port speaks SOCKS5, not HTTP.\n"
_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_TO_HTTP), _TO_HTTP)
)
# What the programs of before SOCKS5 read as "request rejected": a version of 0, and 91.
_SOCKS4_ANSWER: Final = bytes([0, 91, 0, 0, 0, 0, 0, 0])


def _no_socks5(first: int) -> Socks5Error:
    match first:
        case 4:
            return Socks5Error(
                "a program spoke SOCKS4, which is not supported; set it to SOCKS5 (in URLs: socks5h://)",
                _SOCKS4_ANSWER,
            )
        case 0x16:
            return Socks5Error("a program spoke TLS; SOCKS5 is spoken without, set it to socks5h://")
        case _ if first in _LETTERS:
            return Socks5Error(
                "a program spoke HTTP, or something like it; set its proxy to socks5h://, not http://",
                _HTTP_ANSWER,
            )
        case _:
            return Socks5Error(f"a program spoke no SOCKS5: it began with byte {first:#04x}")
