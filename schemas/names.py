"""Names and addresses: how they are spelled in a file, and what they then mean.

Rule: a text from a file or a request becomes a name, an address, a hostname or a
target here and nowhere else. Every function here is total: it returns the value
or raises ``ValueError`` with one line that says what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal, NewType, TypeAlias

from .quantities import parse_duration as parse_duration  # part of this module's vocabulary
from .quantities import parse_size as parse_size
from .quoting import quote

ClientId = NewType("ClientId", str)
ServiceName = NewType("ServiceName", str)
TunnelName = NewType("TunnelName", str)


class ProxyProtocol(Enum):
    """Which PROXY protocol header the client sends to the service, if any."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"


class Balance(Enum):
    """Which of several clients a visitor is led to, of those that are connected and offer the service."""

    PREFERENCE = "preference"  # the first one of the list
    ROUND_ROBIN = "round_robin"  # each in turn
    LEAST_CONNECTIONS = "least_connections"  # the one with the fewest visitors of the tunnel


class Declares(Enum):
    """What becomes of tunnels that a client's own file declares."""

    NONE = "none"  # they are refused, as those are that it declares through the API
    SESSION = "session"  # they are gone when its last session is
    KEPT = "kept"  # they stay


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PORT: Final = re.compile(r"[0-9]{1,5}")
HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_GLOB_LABEL: Final = re.compile(r"[a-z0-9_*-]+")
# IDNA (RFC 5891, UTS 46) treats these three as full stops too.
_UNICODE_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")

_LISTEN_EXAMPLE: Final = (
    'write an address of this machine, for example "0.0.0.0:443", or ":443" for all of them'
)


def check_name(text: str) -> str:
    """The name of a tunnel, a service or a gateway: 1 to 128 letters, digits, ``.``, ``_``, ``-``."""
    if NAME.fullmatch(text):
        return text
    if len(text) > 128:
        raise ValueError(f"the name {quote(text)} has {len(text)} characters; write at most 128")
    if not text:
        raise ValueError("the name is empty; write a name of letters, digits, '.', '_' and '-'")
    if not NAME.match(text):
        raise ValueError(f"the name {quote(text)} must start with a letter (a to z) or a digit")
    raise ValueError(f"the name {quote(text)} may hold only letters (a to z), digits, '.', '_' and '-'")


def check_client_id(text: str) -> ClientId:
    """A client's id. It becomes the common name of its certificate, so the alphabet has no ``@``."""
    if "@" in text:
        raise ValueError(f"the client id {quote(text)} may not hold '@'; write only the part before it")
    return ClientId(check_name(text))


@dataclass(frozen=True, slots=True, order=True)
class ListenAddress:
    """A port of this machine. ``host`` is an IP address in canonical spelling, without brackets."""

    host: str
    port: int

    @property
    def family(self) -> Literal[4, 6]:
        """The IP version."""
        return 6 if ":" in self.host else 4

    @property
    def is_wildcard(self) -> bool:
        """Whether this is every address of its family."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """Somewhere to dial: a host name or an IP address (without brackets), and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A service that listens on TCP."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """A service that listens on a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Target: TypeAlias = TcpTarget | UnixTarget


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A service that a client offers. ``health_check``: seconds between two tries whether it answers."""

    target: Target
    health_check: float | None = None

    def __str__(self) -> str:
        return str(self.target)


def parse_listen(text: str) -> tuple[ListenAddress, ...]:
    """``0.0.0.0:443`` and ``[::]:443`` are one address; ``:443`` is both of these.

    Ports are 1 to 65535. A host name is refused: which address it means may change.
    """
    if _PORT.fullmatch(text):
        raise ValueError(f'{quote(text)} is a port alone; write ":{text}" for every address of this machine')
    host, port = _split(text, _LISTEN_EXAMPLE)
    if host == "":
        return (ListenAddress("0.0.0.0", port), ListenAddress("::", port))  # noqa: S104 - what was asked for
    address = _ip(host)
    match address:
        case None if host == "*":
            raise ValueError(
                f'{quote(text)} is not an address; write ":{port}" for every address of this machine'
            )
        case None:
            raise ValueError(f"{quote(host)} is not an IP address; {_LISTEN_EXAMPLE}")
        case IPv6Address() if address.ipv4_mapped is not None:
            raise ValueError(
                f'{quote(text)} is an IPv4 address in disguise; write "{address.ipv4_mapped}:{port}"'
            )
        case _:
            return (ListenAddress(str(address), port),)


def parse_host_port(text: str) -> HostPort:
    """``gw1.example.com:9056``, ``192.0.2.1:9056`` or ``[2001:db8::1]:9056``. The port is never left out."""
    host, port = _split(text, 'write a host and a port, for example "gw1.example.com:9056"')
    return HostPort(_dialed_host(host, text), port)


def parse_target(text: str) -> Target:
    """``127.0.0.1:8443``, ``[::1]:22``, ``name:80`` or ``unix:/run/x.sock``."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or not path.isprintable():
            raise ValueError(
                f'{quote(text)} names no socket; write its path, for example "unix:/run/app.sock"'
            )
        return UnixTarget(path)
    host, port = _split(
        text, 'write a host and a port, for example "127.0.0.1:8080", or "unix:/run/app.sock"'
    )
    return TcpTarget(_dialed_host(host, text), port)


def parse_hostname(text: str) -> str:
    """A visitor's hostname in lower case: an exact name, or a glob whose ``*`` stands for anything, dots too.

    International names become their ASCII form (IDNA 2008, RFC 5891, with the
    mapping of UTS 46). ``*`` alone is any name.
    """
    if not text or text == ".":
        raise ValueError(
            "the hostname is empty; write a name, or leave hostname out for the port's default route"
        )
    if "://" in text or "/" in text:
        bare = (text.partition("://")[2] or text).partition("/")[0]
        name = bare if bare.startswith("[") else bare.partition(":")[0]
        raise ValueError(f"{quote(text)} is not a hostname; write the name alone: {quote(name)}")
    if any(character.isspace() for character in text):
        raise ValueError(f"the hostname {quote(text)} holds a space; write one name, or several as a list")
    if ":" in text:
        raise ValueError(
            f"the hostname {quote(text)} holds ':'; write the name alone, the port belongs in listen"
        )
    labels = _ascii_labels(text)
    name = re.sub(r"\*+", "*", ".".join(labels).lower())
    for label in name.split("."):
        if not label:
            raise ValueError(
                f"the hostname {quote(text)} has two dots together or starts with one; remove it"
            )
        if not _GLOB_LABEL.fullmatch(label):
            raise ValueError(
                f"the hostname {quote(text)} may hold only letters, digits, '-', '_', '.' and '*'"
            )
        if len(label) > 63:
            raise ValueError(
                f"the hostname {quote(text)} has a part of more than 63 characters; write a shorter one"
            )
    if len(name) > 253:
        raise ValueError(f"the hostname {quote(text)} has more than 253 characters; write a shorter one")
    return name


def check_domain(text: str) -> str:
    """A DNS domain in lower case, without wildcards; it follows the ``@`` in a certificate's common name."""
    if text.startswith("@"):
        raise ValueError(f"the domain {quote(text)} starts with '@'; write {quote(text[1:])}")
    name = parse_hostname(text)
    if "*" in name:
        raise ValueError(
            f"the domain {quote(text)} holds a wildcard; write one name, for example example.com"
        )
    if not _is_host_name(name) or _ip(name) is not None:
        raise ValueError(f"{quote(text)} is not a DNS name; write one, for example example.com")
    return name


def join_host_port(host: str, port: int) -> str:
    """What ``str()`` makes of a :class:`HostPort`, without making one."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(text: str, advice: str) -> tuple[str, int]:
    """Host (brackets removed, possibly empty) and port of an address."""
    if "://" in text:
        raise ValueError(f"{quote(text)} is a URL; {advice}")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError(f"{quote(text)} has no port after its ']'; {advice}")
        if not isinstance(_ip(host), IPv6Address):
            raise ValueError(f"{quote(host)} is not an IPv6 address; only those stand in brackets; {advice}")
        return host, _port(rest[1:], text)
    host, colon, port = text.rpartition(":")
    if not text:
        raise ValueError(f"the address is empty; {advice}")
    if ":" in host:
        if isinstance(_ip(host), IPv6Address):
            raise ValueError(f'{quote(text)} needs brackets around the address; write "[{host}]:{port}"')
        if isinstance(_ip(text), IPv6Address):
            raise ValueError(
                f'{quote(text)} has no port; write the address in brackets, then the port: "[{text}]:443"'
            )
        raise ValueError(f"{quote(text)} has too many colons; {advice}")
    if not colon or not port:
        raise ValueError(f"{quote(text)} has no port; {advice}")
    return host, _port(port, text)


def _port(port: str, text: str) -> int:
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{quote(port)} in {quote(text)} is not a port; write a number from 1 to 65535")
    return int(port)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _dialed_host(host: str, text: str) -> str:
    address = _ip(host)
    if address is not None:
        return str(address)
    name = ".".join(_ascii_labels(host))
    if not name:
        raise ValueError(
            f'{quote(text)} has no host before the port; write one, for example "127.0.0.1{text}"'
        )
    if not _is_host_name(name):
        raise ValueError(
            f"{quote(host)} is not a host name; write a name such as gw1.example.com or an IP address"
        )
    return name


def _is_host_name(name: str) -> bool:
    return len(name) <= 253 and all(HOST_LABEL.fullmatch(label) for label in name.split("."))


def _ascii_labels(text: str) -> list[str]:
    """The labels of a name, each in ASCII; a final dot, which only says "absolute", is dropped."""
    labels = _UNICODE_DOTS.split(text)
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    if text.isascii():
        return labels
    import idna  # its tables are half a megabyte, and most names are ASCII

    try:
        return [
            label if label.isascii() else idna.encode(label, uts46=True).decode("ascii") for label in labels
        ]
    except ValueError as error:
        raise ValueError(
            f"{quote(text)} cannot be written as a DNS name; write its ASCII form (xn--…)"
        ) from error
