"""The public ports of the soak, and the state files that open them.

Rule: every kind of tunnel there is, is here once at least, each client has several, and behind each is one
of the services of ``services``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from .talk import Manners

STEADY: Final = "homelab"  # this client is never killed, so its memory can be watched
DOOMED: Final = "office"  # this one is
BOTH: Final = (DOOMED, STEADY)
GATEWAY: Final = "gateway"

_OPENING: Final = b"the soak's conversation "
OPENING_SIZE: Final = len(_OPENING) + 8


PORTS: Final = 13  # how many ports the doors need
CERTIFIED: Final = ("home.soak.test", "*.b.office.soak.test")  # the names on the TLS service's certificate
NOBODY: Final = "nobody.soak.test"  # a name that no tunnel has


class Language(Enum):
    """What is spoken at a port before a conversation begins."""

    RAW = "raw"
    TLS = "tls"
    HTTP = "http"


MANNERS: Final = {
    Language.RAW: Manners(),
    Language.TLS: Manners(),
    Language.HTTP: Manners(greeting=b"HTTP/1.1 200 OK\r\n\r\n", refusals=(b"HTTP/1.1 4", b"HTTP/1.1 5")),
}


HALF: Final = {  # a beginning that says not enough to lead its visitor anywhere
    Language.RAW: b"",
    Language.TLS: b"\x16\x03\x01\x02\x00\x01",
    Language.HTTP: b"GET / HTTP/1.1\r\nHo",
}


class Service(Enum):
    """The services that clients offer."""

    PLAIN = "plain"
    PROXIED = "proxied"  # expects a PROXY header
    UNIX = "unix"
    TARDY = "tardy"  # accepts nobody for a while, again and again
    TLS = "tls"
    HTTP = "http"
    CLOSED = "closed"  # nobody listens
    ABRUPT = "abrupt"  # closes or resets as soon as it has accepted
    DEAF = "deaf"  # never answers who connects

    @property
    def serves(self) -> bool:
        return self not in (Service.CLOSED, Service.ABRUPT, Service.DEAF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A tunnel, as a visitor and as a state file see it.

    :param asked: the name that a visitor asks for; None at a port without names.
    :param hostname: what the state file says of it.
    """

    name: str
    listen: str
    clients: tuple[str, ...]
    service: Service
    language: Language = Language.RAW
    proxy_protocol: str = "off"
    hostname: str | None = None
    asked: str | None = None

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host, int(port)

    @property
    def is_asked_in_vain(self) -> bool:
        """Whether visitors ask for a name that no tunnel has."""
        return self.asked == NOBODY

    @property
    def manners(self) -> Manners:
        return MANNERS[self.language]

    def opening(self, number: int) -> bytes:
        """What a visitor says first, so that the service knows which conversation this is."""
        if self.language is Language.HTTP:
            return f"GET /{number} HTTP/1.1\r\nHost: {self.asked}\r\n\r\n".encode()
        return _OPENING + number.to_bytes(8)

    def entry(self) -> dict[str, Any]:
        """As the state file of the gateway has it."""
        entry: dict[str, Any] = {
            "name": self.name,
            "listen": self.listen,
            "client": list(self.clients),
            "service": self.service.value,
            "proxy_protocol": self.proxy_protocol,
        }
        return entry if self.hostname is None else {**entry, "hostname": self.hostname}


def read_opening(said: bytes) -> int | None:
    """Which conversation a visitor of a port without HTTP wants; None if it is nonsense."""
    if len(said) != OPENING_SIZE or not said.startswith(_OPENING):
        return None
    return int.from_bytes(said[len(_OPENING) :])


def read_request(head: bytes) -> int | None:
    """Which conversation a visitor of an HTTP port wants; None if it is nonsense."""
    method, _, rest = head.partition(b" /")
    number, _, version = rest.partition(b" ")
    if method != b"GET" or not number.isdigit() or not version.startswith(b"HTTP/1.1\r\n"):
        return None
    return int(number)


def all_doors(listens: list[str]) -> tuple[Door, ...]:
    """The ports of the soak.

    :param listens: ``address:port``, as many as are asked for by :data:`PORTS`.
    """
    ports = iter(listens)
    steady, doomed = (STEADY,), (DOOMED,)
    tls, http = next(ports), next(ports)

    def named(language: Language, listen: str, client: str, hostname: str, asked: str) -> Door:
        return Door(
            name=f"{language.value}-{client}",
            listen=listen,
            clients=(client,),
            service=Service(language.value),
            language=language,
            hostname=hostname,
            asked=asked,
        )

    return (
        Door(name="raw", listen=next(ports), clients=steady, service=Service.PLAIN),
        Door(name="raw-doomed", listen=next(ports), clients=doomed, service=Service.PLAIN),
        Door(name="either", listen=next(ports), clients=BOTH, service=Service.PLAIN),
        Door(name="tardy", listen=next(ports), clients=steady, service=Service.TARDY),
        Door(name="unix", listen=next(ports), clients=steady, service=Service.UNIX),
        Door(name="unix-doomed", listen=next(ports), clients=doomed, service=Service.UNIX),
        Door(
            name="proxy-v1", listen=next(ports), clients=steady, service=Service.PROXIED, proxy_protocol="v1"
        ),
        Door(
            name="proxy-v2", listen=next(ports), clients=steady, service=Service.PROXIED, proxy_protocol="v2"
        ),
        named(Language.TLS, tls, STEADY, "home.soak.test", "Home.soak.test"),
        named(Language.TLS, tls, DOOMED, "*.office.soak.test", "a.b.office.soak.test"),
        named(Language.HTTP, http, STEADY, "home.soak.test", "home.soak.test:80"),
        named(Language.HTTP, http, DOOMED, "*.office.soak.test", "www.office.soak.test"),
        Door(name="closed", listen=next(ports), clients=steady, service=Service.CLOSED),
        Door(name="abrupt", listen=next(ports), clients=steady, service=Service.ABRUPT),
        Door(name="deaf", listen=next(ports), clients=steady, service=Service.DEAF),
    )
