"""The open header: the first bytes of a visitor's stream, which say where it goes.

Rule: which keys it has and what they may hold is said here, as SPEC.md describes. It is written
once and read once for every visitor, so it is checked by hand and not by a model.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple

from schemas.names import ProxyProtocol

from .errors import RemoteProtocolError
from .json_header import MAX_HEADER as MAX_HEADER  # its limit is that of every header
from .json_header import JsonHeader
from .proxy_protocol import Endpoint

_FORM: Final = JsonHeader("the open header")
_MAX_PORT: Final = 65_535
_MAX_NAME: Final = 128

# The text that `encode_open_header` writes: what all visitors of a route have in common, up to a comma, and
# then two addresses. If the first part with a brace in the comma's place is an object, then the whole is the
# same object with two more keys, whose values, being the last of their names, are the ones that count.
_PORT: Final = "(0|[1-9][0-9]{0,4})"
_OURS: Final = re.compile(
    r'(\{"tunnel":.{1,400},)'
    rf'"source":\["([0-9a-f.:]{{2,45}})",{_PORT}\],"destination":\["([0-9a-f.:]{{2,45}})",{_PORT}\]\}}'
)


class OpenHeader(NamedTuple):
    """Where a stream goes and whose it is.

    ``source`` is the visitor, ``destination`` the public port it came to. A tuple, as its two ends are: one
    is made for each visitor on either side, and a frozen dataclass takes half as long again to make.
    """

    tunnel: str
    service: str
    source: Endpoint
    destination: Endpoint
    proxy_protocol: ProxyProtocol


def encode_open_header(header: OpenHeader) -> bytes:
    """The header with its length in front. Its values are those of a checked state file and of sockets."""
    source, destination = header.source, header.destination
    return _FORM.encode(
        f"{_start(header.tunnel, header.service, header.proxy_protocol)}"
        f'"source":["{source.host}",{source.port}],'
        f'"destination":["{destination.host}",{destination.port}]}}'
    )


@lru_cache(maxsize=1024)
def _start(tunnel: str, service: str, proxy_protocol: ProxyProtocol) -> str:
    """What the headers of all visitors of a route have in common, up to the comma."""
    common = {"tunnel": tunnel, "service": service, "proxy_protocol": proxy_protocol.value}
    return json.dumps(common, separators=(",", ":"))[:-1] + ","


def peek_open_header(buffer: bytes | bytearray) -> tuple[OpenHeader, int] | None:
    """The header at the start of ``buffer`` and how many bytes it takes, or None for "need more".

    :raises RemoteProtocolError: if it is no header.
    """
    found = _FORM.peek(buffer)
    if found is None:
        return None
    text, end = found
    return _ours(text) or _header(_FORM.read(text)), end


def _ours(text: str) -> OpenHeader | None:
    """The header that :func:`encode_open_header` made, without parsing again what was parsed for others.

    None for every other one, and for what is wrong in any way.
    """
    found = _OURS.fullmatch(text)
    if found is None:
        return None
    start, source, source_port, destination, destination_port = found.groups()
    if not (_is_address(source) and _is_address(destination)):
        return None
    source_end, destination_end = (
        Endpoint(source, int(source_port)),
        Endpoint(destination, int(destination_port)),
    )
    if source_end.port > _MAX_PORT or destination_end.port > _MAX_PORT:
        return None
    try:
        tunnel, service, proxy_protocol = _known_start(start)
    except RemoteProtocolError:
        return None
    return OpenHeader(
        tunnel=tunnel,
        service=service,
        source=source_end,
        destination=destination_end,
        proxy_protocol=proxy_protocol,
    )


@lru_cache(maxsize=1024)
def _known_start(start: str) -> tuple[str, str, ProxyProtocol]:
    """What :func:`_start` was made of.

    :raises RemoteProtocolError: if it is not the start of a header.
    """
    return _route(_FORM.read(start.removesuffix(",") + "}"))


def _header(value: dict[str, object]) -> OpenHeader:
    tunnel, service, proxy_protocol = _route(value)
    return OpenHeader(
        tunnel=tunnel,
        service=service,
        source=_endpoint(value, "source"),
        destination=_endpoint(value, "destination"),
        proxy_protocol=proxy_protocol,
    )


def _route(value: dict[str, object]) -> tuple[str, str, ProxyProtocol]:
    """The tunnel, the service, and which PROXY protocol the service speaks."""
    try:
        proxy_protocol = ProxyProtocol(value.get("proxy_protocol", "off"))
    except ValueError:
        raise _FORM.malformed("proxy_protocol is none of off, v1, v2; upgrade this side") from None
    return _text(value, "tunnel"), _text(value, "service"), proxy_protocol


def _text(value: dict[str, object], key: str) -> str:
    """A name. It ends in logs and messages of this side, so it is short and prints as it is."""
    text = value.get(key)
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_NAME or not text.isprintable():
        raise _FORM.malformed(f"{key} is not a name")
    return text


def _endpoint(value: dict[str, object], key: str) -> Endpoint:
    """An address. It ends in a PROXY header, so it is nothing but an address."""
    match value.get(key):
        case [str() as host, int() as port] if not isinstance(port, bool) and 0 <= port <= _MAX_PORT:
            if _is_address(host):
                return Endpoint(host=host, port=port)
    raise _FORM.malformed(f"{key} is not [address, port]")


@lru_cache(maxsize=1024)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return host.isprintable()  # the zone of a link-local address could be any text
