"""Which visitor somebody asks about.

Rule: pure. A question as it is typed becomes addresses and a name here, and in no other place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from schemas.names import ListenAddress, parse_hostname, parse_listen
from schemas.quoting import quote

from .refusal import TrafficKind

# The port that is meant where a URL says none, and how to say which host is asked for.
_SCHEMES: Final = {"https": ("443", "--sni"), "http": ("80", "--host")}
_URL: Final = re.compile(
    r"(https?)://([^/?#@:\[\]]+|\[[^/?#@\[\]]+\])(?::([0-9]+))?(?:[/?#].*)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A visitor: where it connects, what it speaks, and the host it names.

    ``addresses`` are several where any of them may be meant; all have the same port.
    A visitor of kind RAW names no host.
    """

    listen: str  # as it was typed
    addresses: tuple[ListenAddress, ...]
    kind: TrafficKind
    name: str | None

    @property
    def port(self) -> int:
        return self.addresses[0].port

    def __str__(self) -> str:
        match self.kind:
            case TrafficKind.TLS:
                return f"{self.listen} with the TLS server name {self.name}"
            case TrafficKind.HTTP:
                return f"{self.listen} with the HTTP host {self.name}"
            case TrafficKind.RAW:
                return f"{self.listen} without a name"


def parse_question(listen: str, *, sni: str | None = None, host: str | None = None) -> Question:
    """A question as somebody types it: ``203.0.113.7:443``, ``:443`` or ``443``.

    :raises ValueError: if it is none; says what to write instead.
    """
    if sni is not None and host is not None:
        raise ValueError("a visitor speaks TLS or plain HTTP: give sni or host, and not both")
    return Question(
        listen=listen,
        addresses=_addresses(listen),
        kind=_kind(sni, host),
        name=_name(sni if host is None else _without_port(host)),
    )


def _without_port(host: str) -> str:
    """A Host header may say the port as well, RFC 9110 section 7.2."""
    name, _, port = host.rpartition(":")
    return name if name and port.isascii() and port.isdigit() and ":" not in name else host


def _kind(sni: str | None, host: str | None) -> TrafficKind:
    if sni is not None:
        return TrafficKind.TLS
    return TrafficKind.RAW if host is None else TrafficKind.HTTP


def _addresses(listen: str) -> tuple[ListenAddress, ...]:
    is_port = listen.isascii() and listen.isdigit()
    try:
        return parse_listen(f":{listen}" if is_port else listen)
    except ValueError as error:
        better = _of_url(listen) if "://" in listen else _of_name(listen)
        if better is None:
            raise
        raise ValueError(f"{quote(listen)} is no address of the gateway; ask for {better}") from error


def _of_url(text: str) -> str | None:
    """How to ask for the visitor that has this URL."""
    url = _URL.fullmatch(text)
    if url is None:
        return None
    scheme, name, port = url.groups()
    usual, option = _SCHEMES[scheme.lower()]
    port = port or usual
    try:
        return str(parse_listen(f"{name}:{port}")[0])
    except ValueError:
        return f":{port} {option} {name.lower()}"


def _of_name(text: str) -> str | None:
    """How to ask for a visitor of that host, if it is one."""
    name, colon, port = text.rpartition(":")
    if not colon:
        name, port = text, "443"
    if not (port.isascii() and port.isdigit()) or ":" in name or not any(map(str.isalpha, name)):
        return None
    try:
        known = parse_hostname(name)
    except ValueError:
        return None
    return f":{port} --sni {known}, or with --host in place of --sni for plain HTTP"


def _name(text: str | None) -> str | None:
    if text is None:
        return None
    name = parse_hostname(text)
    if "*" in name:
        raise ValueError(f"{quote(text)} is a pattern; write the one name that the visitor asks for")
    return name
