"""What a visitor is told before its connection is closed.

Rule: this file alone decides the words, and they say what happened and no more. A stranger reads them,
so there is nothing in them of names, clients or services, and all of them are constant.

Decision: a name that is not here gets 404, not 421. RFC 9110 section 15.5.20 lets a client repeat a request
that got 421 on another connection, which would lead it here again.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, assert_never

from transport.wire import tls_alert


class TrafficKind(Enum):
    """What a visitor speaks, as far as its first bytes say."""

    RAW = "raw"  # not looked at, or neither of the others
    TLS = "tls"
    HTTP = "http"


class Reason(Enum):
    """Why a visitor is not served."""

    NO_ROUTE = "no_route"  # nothing on this port is for it
    CLIENT_AWAY = "client_away"  # no client of the route is connected
    SERVICE_FAILED = "service_failed"  # the client is there and could not reach the service
    MALFORMED = "malformed"  # its first bytes cannot be read, or end too early
    TIMED_OUT = "timed_out"  # it did not say in time where it wants to go


def _response(status: str, text: str, *fields: str) -> bytes:
    """Complete with its length, and the last on its connection (RFC 9112 section 9.6)."""
    body = f"{status}\n{text}\n"
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *fields,
    )
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("ascii")


_RESPONSES: Final = {
    Reason.NO_ROUTE: _response("404 Not Found", "There is no such site here."),
    # A client that lost its link is back within half a minute, and mostly sooner.
    Reason.CLIENT_AWAY: _response("503 Service Unavailable", "This site is away.", "Retry-After: 5"),
    Reason.SERVICE_FAILED: _response("502 Bad Gateway", "This site did not answer."),
    Reason.MALFORMED: _response("400 Bad Request", "The request could not be read."),
    Reason.TIMED_OUT: _response("408 Request Timeout", "The request did not come in time."),
}
_ALERTS: Final = {
    Reason.NO_ROUTE: tls_alert.unrecognized_name(),
    Reason.CLIENT_AWAY: tls_alert.internal_error(),
    Reason.SERVICE_FAILED: tls_alert.internal_error(),
    Reason.MALFORMED: tls_alert.decode_error(),
    Reason.TIMED_OUT: b"",  # TLS has no alert for a peer that is merely slow
}


_ALERT_NAMES: Final = {
    tls_alert.unrecognized_name(): "unrecognized_name",
    tls_alert.internal_error(): "internal_error",
    tls_alert.decode_error(): "decode_error",
}


def describe_refusal(kind: TrafficKind, reason: Reason) -> str:
    """What that is, for somebody who asks about it: ``the TLS alert unrecognized_name``."""
    told = refusal_bytes(kind, reason)
    if kind is TrafficKind.HTTP:
        status = told.split(b"\r\n", 1)[0].decode().partition(" ")[2]
        return f"HTTP {status}"
    if told:
        return f"the TLS alert {_ALERT_NAMES[told]}"
    return "nothing but the end of its connection"


def refusal_bytes(kind: TrafficKind, reason: Reason) -> bytes:
    """What a visitor reads before its connection is closed; nothing if we do not speak its language."""
    match kind:
        case TrafficKind.HTTP:
            return _RESPONSES[reason]
        case TrafficKind.TLS:
            return _ALERTS[reason]
        case TrafficKind.RAW:
            return b""
    assert_never(kind)
