"""Which host an HTTP/1 visitor asks for, read from its first request without answering it.

Rule: this file alone decides whether bytes can be an HTTP/1 request, whether its head is complete,
and which one host it names. Whatever two readers could understand differently is refused, because
the service reads the same bytes again: a second Host line, a folded line, a lone CR or LF.

Decision: h11 is not used. It takes the bytes it parses, where a peek must leave them; it reads a whole line
before it says that this is no HTTP, where a port that HTTP shares with other protocols has to know
from the first bytes; and it judges framing and fields that are the service's business.

Decision: a lone LF does not end a line. RFC 9112 section 2.2 says that a recipient MAY take it for one,
so a service may or may not: `Host: a\\nHost: b` would be one host here and another one there. For the
same reason an empty line before the request line, which that section lets old browsers send after
a body, is refused: in front of the first request there is no body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from .cursor import Buffer
from .errors import RemoteProtocolError
from .visitor_name import read_visitor_name

# The request line and all fields: twice what nginx takes by default (large_client_header_buffers 4 8k)
# and four times what Node.js does; what Go would take, 1 MiB, is too much to keep for a stranger.
MAX_HEAD: Final = 64 * 1024

# RFC 9110 section 9.1 lets a method be any token. Like nginx, this takes those that exist: upper-case
# letters, "-" and "_". The longest registered one has 17 characters.
_METHOD: Final = rb"[A-Z][A-Z_-]{0,31}"
# RFC 3986 lets only ASCII into a target; browsers keep to it, curl sends what it is given.
_TARGET: Final = rb"[^\x00-\x20\x7f]++"

# Matches every beginning of a request line, up to "HTTP/". In `target` once there is one.
_BEGINNING: Final = re.compile(
    _METHOD + rb"(?:\Z| (?:\Z|(?P<target>" + _TARGET + rb")(?:\Z| (?:HTTP/|(?:HTTP|HTT|HT|H|)\Z))))"
)
_REQUEST_LINE: Final = re.compile(
    rb"(?P<method>" + _METHOD + rb") (?P<target>" + _TARGET + rb") HTTP/(?P<version>[0-9]\.[0-9])"
)
# RFC 9112 section 5: name, colon and value; no space before the colon (5.1), no control characters
# that RFC 9110 section 5.5 calls dangerous. Possessive, so that a bad line cannot make it try again.
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\x00\r\n]*+\r\n)*+")
_HOST: Final = re.compile(rb"^host:[ \t]*+([^\r]*)", re.IGNORECASE | re.MULTILINE)
_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+://([^/?#]*)")
_AUTHORITY: Final = re.compile(rb"(?P<host>\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHead:
    """A request as far as routing needs it.

    `host` is lower-cased, without port, brackets and trailing dot; an IPv6 literal is in its
    canonical form. None when the request names no host, as HTTP/1.0 allows.
    """

    method: str
    target: str
    host: str | None


def looks_like_http(buffer: Buffer) -> bool:
    """True while the bytes are a method and a target, and nothing speaks against HTTP."""
    found = _BEGINNING.match(bytes(buffer[:MAX_HEAD]))
    return found is not None and found["target"] is not None


def peek_http_head(buffer: Buffer) -> HttpHead | None:
    """The request at the start of `buffer`, or None when its head is not complete.

    :raises RemoteProtocolError: when no bytes to come can make it the head of an HTTP/1 request of MAX_HEAD
        bytes that names one host or, in HTTP/1.0, none.
    """
    data = bytes(buffer[:MAX_HEAD])
    if data and not _BEGINNING.match(data):
        raise RemoteProtocolError("not an HTTP/1 request")
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[: end + 2]
    _check_line_ends(head)
    line, has_line, fields = head.partition(b"\r\n")
    if has_line:
        method, target, version = _request_line(line)
    if end >= 0:
        return HttpHead(
            method=method.decode("ascii"),
            target=target.decode("latin-1"),
            host=_host(method, target, version, fields),
        )
    if len(data) >= MAX_HEAD:
        raise RemoteProtocolError(f"a request head of more than {MAX_HEAD} bytes is not accepted")
    return None


def _check_line_ends(head: bytes) -> None:
    pairs = head.count(b"\r\n")
    if head.count(b"\n") != pairs:
        raise RemoteProtocolError("a line of the request ends in LF without CR")
    if head.count(b"\r") - head.endswith(b"\r") != pairs:  # the LF of the last CR may still come
        raise RemoteProtocolError("the request has a CR without LF (RFC 9112 section 2.2)")


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise RemoteProtocolError("the request line is not one of HTTP/1 (RFC 9112 section 3)")
    method, target, version = found["method"], found["target"], found["version"]
    if method == b"PRI":
        raise RemoteProtocolError(
            "HTTP/2 without TLS cannot be routed by name; use HTTP/1.1, or TLS with a server name"
        )
    if not version.startswith(b"1."):
        raise RemoteProtocolError(f"HTTP/{version.decode('ascii')} cannot be routed; use HTTP/1.1")
    return method, target, version


def _host(method: bytes, target: bytes, version: bytes, fields: bytes) -> str | None:
    """RFC 9112 section 3.2: the host of the target, else that of the Host field."""
    if re.search(rb"^[ \t]", fields, re.MULTILINE):
        raise RemoteProtocolError("the request has a folded line (RFC 9112 section 5.2)")
    if not _FIELDS.fullmatch(fields):
        raise RemoteProtocolError("the request has a line that is no field (RFC 9112 section 5)")
    given = _HOST.findall(fields)
    if len(given) > 1:
        raise RemoteProtocolError("the request has more than one Host line (RFC 9112 section 3.2)")
    if not given and version != b"1.0":
        raise RemoteProtocolError("the request has no Host line (RFC 9112 section 3.2)")
    # Also read when the target wins (section 3.2.2): a Host line that is no host is always refused.
    host = _read_authority(given[0].rstrip(b" \t"), needs_port=False) if given else None
    if method == b"CONNECT":
        return _named(_read_authority(target, needs_port=True))  # authority-form, section 3.2.3
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return host
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise RemoteProtocolError("the request target has no known form (RFC 9112 section 3.2)")
    return _named(_read_authority(absolute[1], needs_port=False))


def _named(host: str | None) -> str:
    if host is None:
        raise RemoteProtocolError("the request target names no host (RFC 9110 section 4.2.1)")
    return host


def _read_authority(text: bytes, *, needs_port: bool) -> str | None:
    """The host of `host[:port]` (RFC 3986 section 3.2), None when it is empty.

    User names are refused: RFC 9110 section 4.2.4 calls them an attempt to disguise the host.
    """
    found = _AUTHORITY.fullmatch(text)
    port = found["port"] if found else None
    if found is None or (port and int(port) > 65535) or (needs_port and not port):
        raise RemoteProtocolError(f"{text[:80].decode('latin-1')!a} is not a host and port")
    host: bytes = found["host"]
    if host.startswith(b"["):
        try:
            return str(IPv6Address(host[1:-1].decode("ascii")))
        except ValueError:
            raise RemoteProtocolError(f"{host[:80].decode('latin-1')!a} is not an IPv6 address") from None
    if not host and port is not None:
        raise RemoteProtocolError("a port without a host is not a host")
    return read_visitor_name(host) if host else None
