"""Where a client finds a gateway: an address, or the URL of a WebSocket.

Rule: a text becomes either of them here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from .names import HostPort, parse_host_port
from .quoting import quote

_URL: Final = re.compile(r"(wss?)://([^/?#]*)([^?#]*)(.*)")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")
_EXAMPLE: Final = 'for example "wss://gw1.example.com/tunnel"'


@dataclass(frozen=True, slots=True, order=True)
class WebSocketUrl:
    """A gateway behind a WebSocket. ``secure``: in TLS of its own. ``path`` starts with a slash."""

    host: str
    port: int
    path: str
    secure: bool

    def __str__(self) -> str:
        scheme, usual = ("wss", 443) if self.secure else ("ws", 80)
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == usual else f":{self.port}"
        return f"{scheme}://{host}{port}{self.path}"


GatewayAddress: TypeAlias = HostPort | WebSocketUrl


def parse_gateway_address(text: str) -> GatewayAddress:
    """``gw1.example.com:9056``, or ``wss://gw1.example.com/base/tunnel``.

    A URL without a path means ``/tunnel``.

    :raises ValueError: with one line that says what to write instead.
    """
    match = _URL.fullmatch(text)
    if match is None:
        if re.match(r"https?://", text):
            better = re.sub("^http", "ws", text)
            raise ValueError(f"{quote(text)} is no WebSocket; write {quote(better)}")
        return parse_host_port(text)
    scheme, authority, path, rest = match.groups()
    if "@" in authority:
        raise ValueError(f"a URL of a gateway has no user and no password; write it without, {_EXAMPLE}")
    if rest or not _PATH.fullmatch(path):
        raise ValueError(f"{quote(text)} has more than a host, a port and a path; write these, {_EXAMPLE}")
    secure = scheme == "wss"
    bare = authority.rpartition("]")[2]
    found = parse_host_port(authority if ":" in bare else f"{authority}:{443 if secure else 80}")
    return WebSocketUrl(host=found.host, port=found.port, path=path.rstrip("/") or "/tunnel", secure=secure)
