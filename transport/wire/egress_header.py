"""The egress header: the first bytes of a stream that a client opens, which say what the gateway is to dial.

Rule: a host and a port, in the form of every header. The host is an address in its canonical
spelling or a name made of the letters of host names; whether it may be dialed is not decided here,
nor what a name like ``127.1`` or ``0x7f000001`` is taken for by who resolves it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from .errors import RemoteProtocolError
from .json_header import JsonHeader
from .visitor_name import read_visitor_name

_FORM: Final = JsonHeader("the egress header")
_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressHeader:
    """What the gateway is to dial.

    ``host`` is an IPv4 or IPv6 address without brackets or zone, or a name, lower-cased and without
    its trailing dot; ``port`` is 1 to 65535.
    """

    host: str
    port: int


def encode_egress_header(header: EgressHeader) -> bytes:
    """The header with its length in front. Its host is one that :func:`read_egress_host` has given."""
    return _FORM.encode(json.dumps({"egress": [header.host, header.port]}, separators=(",", ":")))


def peek_egress_header(buffer: bytes | bytearray) -> tuple[EgressHeader, int] | None:
    """The header at the start of ``buffer`` and how many bytes it takes, or None for "need more".

    :raises RemoteProtocolError: if it is no header.
    """
    found = _FORM.peek(buffer)
    if found is None:
        return None
    text, end = found
    match _FORM.read(text).get("egress"):
        case [str() as host, int() as port] if not isinstance(port, bool) and 0 < port <= _MAX_PORT:
            try:
                return EgressHeader(host=read_egress_host(host), port=port), end
            except RemoteProtocolError as error:
                raise _FORM.malformed(str(error)) from None
    raise _FORM.malformed("egress is not [host, port]")


def read_egress_host(text: str) -> str:
    """The host as a header has it: an address in canonical spelling, or a host name.

    :raises RemoteProtocolError: if it is neither: empty, too long, with an empty label, a zone, or any
        character that neither addresses nor host names have. It prints on one line.
    """
    if ":" in text and "%" not in text:
        try:
            return str(ip_address(text))
        except ValueError:
            pass  # no name has a colon either, and says so
    # A lone surrogate has no UTF-8, and what stands for it is no letter of a name.
    name = read_visitor_name(text.encode("utf-8", "replace"))
    try:
        return str(ip_address(name))
    except ValueError:
        return name
