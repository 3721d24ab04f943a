"""The proxy through which a client leaves its network, as a file or the environment names it.

Rule: a text becomes a proxy here and nowhere else. Its password is never shown, neither in a
message nor in a repr.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from .names import parse_host_port
from .quoting import quote
from .references import EnvRef, FileRef

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^@/]*)@)?([^@/?#]*)/?")
# What stands before the last @, with one of the characters that end what a URL has there.
_SPECIAL_IN_LOGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^@/?#]*[@/?#].*@", re.DOTALL)
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_EXAMPLE: Final = 'for example "http://proxy.example.com:3128" or "socks5://proxy.example.com:1080"'


class ProxyKind(Enum):
    """What the proxy speaks. The value is the scheme of its URL."""

    HTTP = "http"
    HTTPS = "https"  # HTTP within TLS
    SOCKS5 = "socks5"

    @property
    def usual_port(self) -> int:
        """The port of one that is named without."""
        return {ProxyKind.HTTP: 80, ProxyKind.HTTPS: 443, ProxyKind.SOCKS5: 1080}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyUrl:
    """A proxy. The host ``gateway`` is the router of the default route."""

    kind: ProxyKind
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Without the password."""
        user = "" if self.user is None else f"{_escaped(self.user)}@"
        return f"{self.kind.value}://{user}{self._address}"

    @property
    def whole(self) -> str:
        """With the password."""
        if self.user is None:
            return str(self)
        user = f"{_escaped(self.user)}:{_escaped(self.password or '')}"
        return f"{self.kind.value}://{user}@{self._address}"

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NoProxy(Enum):
    """No proxy, whatever the environment says."""

    NONE = "none"


#: What a file says; None where it says nothing, and the environment decides.
ProxyChoice: TypeAlias = ProxyUrl | FileRef | EnvRef | NoProxy | None


def parse_proxy_url(text: str) -> ProxyUrl:
    """``http://[USER:PASSWORD@]HOST[:PORT]``, ``https://…`` or ``socks5://…``; a password is percent-encoded.

    ``socks5h`` is ``socks5``: names are always resolved by the proxy.

    :raises ValueError: with one line that says what to write instead. It does not show what may be a secret.
    """
    match = _URL.fullmatch(text)
    if match is None:
        if _SPECIAL_IN_LOGIN.match(text):
            raise ValueError(
                "a user or password of a proxy is percent-encoded: write @ as %40, / as %2F and % as %25"
            )
        raise ValueError(f"this is not the URL of a proxy; write one, {_EXAMPLE}")
    scheme, login, authority = match[1].lower(), match[2], match[3]
    if scheme not in ("http", "https", "socks5", "socks5h"):
        raise ValueError(f"{quote(scheme)} is no kind of proxy that Tidegate knows; write one, {_EXAMPLE}")
    kind = ProxyKind(scheme.removesuffix("h"))
    bare = authority.rpartition("]")[2]
    address = parse_host_port(authority if ":" in bare else f"{authority}:{kind.usual_port}")
    if login is None:
        return ProxyUrl(kind=kind, host=address.host, port=address.port)
    user, _, password = login.partition(":")
    name, secret = _unescaped(user), _unescaped(password)
    if not 1 <= len(name.encode()) <= 255 or len(secret.encode()) > 255:
        raise ValueError("the user and the password of a proxy have 1 to 255 bytes each; write shorter ones")
    if ":" in name and kind is not ProxyKind.SOCKS5:
        raise ValueError(
            "the user of an HTTP proxy may not hold a colon (RFC 7617, section 2); write another"
        )
    return ProxyUrl(kind=kind, host=address.host, port=address.port, user=name, password=secret)


def _unescaped(text: str) -> str:
    """Percent-encoding undone (RFC 3986, section 2.1)."""
    try:
        plain = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode()).decode()
    except UnicodeDecodeError:
        raise ValueError("the user or the password of the proxy is not UTF-8; write it so") from None
    if not plain.isprintable():
        raise ValueError("the user or the password of the proxy holds a control character; write others")
    return plain


def _escaped(text: str) -> str:
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())
