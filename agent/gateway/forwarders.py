"""Load balancers and reverse proxies in front of a port, and for whom they speak.

Rule: whoever is named in ``accept_proxy_protocol`` must say for whom each connection is, and is believed.
Nobody else is: what a stranger says of where he comes from is never looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from schemas.errors import TidegateError
from transport.wire.errors import RemoteProtocolError
from transport.wire.proxy_protocol import Endpoint, NoProxyHeaderError

if TYPE_CHECKING:
    from schemas.networks import Network

_REMEDY: Final = (
    "turn it on there (send-proxy-v2 in HAProxy, proxy_protocol in nginx), "
    "or take the address out of accept_proxy_protocol"
)


class NotProxiedError(TidegateError):
    """Somebody in front of a port did not say for whom a connection is."""


class Forwarders:
    """Those in front of one port."""

    def __init__(self, networks: tuple[Network, ...] = ()) -> None:
        self._networks = networks

    def __bool__(self) -> bool:
        """Most ports have none."""
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        """Whether that is the address of one of them."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False  # it has gone again, and nobody knows who it was
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # on a port that takes both families
        return any(address in network for network in self._networks)

    def source(self, forwarded_for: Sequence[str]) -> Endpoint | None:
        """Whom the lines of X-Forwarded-For name, None if they name nobody. Its port is 0 if they do not say.

        Each reverse proxy adds at the end from whom it has the request. So the last who is none of them is
        whom one of them has seen; all before that is hearsay. If all are, the first one asks for itself.
        """
        found: Endpoint | None = None
        for name in reversed(forwarded_for):
            found = _endpoint(name)
            if found is None or found.host not in self:
                break
        return found


def complaint(host: str, error: RemoteProtocolError) -> str:
    """What a log says of one of them that did not send the header it should have sent."""
    if isinstance(error, NoProxyHeaderError):
        return f"{host} is in accept_proxy_protocol and sent no PROXY header: {_REMEDY}"
    return f"{host} is in accept_proxy_protocol and sent a bad PROXY header ({error}): look at what it sends"


def silence(host: str, *, seconds: float | None) -> str:
    """The same of one that sent nothing, or half a header, for so long, or until it left."""
    if seconds is None:
        return (
            f"{host} is in accept_proxy_protocol and left before it had sent a PROXY header: "
            "if that was a health check, have it send one as well (check-send-proxy in HAProxy)"
        )
    return f"{host} is in accept_proxy_protocol and sent no PROXY header within {seconds:g} s: {_REMEDY}"


def _endpoint(name: str) -> Endpoint | None:
    """``192.0.2.7``, ``192.0.2.7:50000``, ``2001:db8::7`` or ``[2001:db8::7]:50000``."""
    host, port = name, "0"
    if name.startswith("["):
        host, bracket, port = name[1:].partition("]")
        if not bracket:
            return None
        port = port.removeprefix(":") or "0"
    elif name.count(":") == 1:
        host, _, port = name.partition(":")
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if "%" in host:  # a zone, which may hold anything, and is of use on that machine only
        return None
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Endpoint(str(address), int(port))
