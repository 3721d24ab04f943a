"""Whoever is turned away hears it in its own language, and learns nothing about who is served."""

from __future__ import annotations

import io
from http.client import HTTPResponse

import pytest

from agent.gateway.refusal import Reason, TrafficKind, describe_refusal, refusal_bytes
from transport.wire import tls_alert


class Wire:
    """As much of a socket as http.client reads a response from."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._received)


@pytest.mark.parametrize(
    ("reason", "status", "phrase"),
    [
        (Reason.NO_ROUTE, 404, "Not Found"),
        (Reason.CLIENT_AWAY, 503, "Service Unavailable"),
        (Reason.SERVICE_FAILED, 502, "Bad Gateway"),
        (Reason.MALFORMED, 400, "Bad Request"),
        (Reason.TIMED_OUT, 408, "Request Timeout"),
    ],
)
def test_an_http_visitor_reads_a_complete_response_and_the_end_of_its_connection(
    reason: Reason, status: int, phrase: str
) -> None:
    received = refusal_bytes(TrafficKind.HTTP, reason)
    response = HTTPResponse(Wire(received))  # type: ignore[arg-type]  # it asks for nothing but makefile
    response.begin()
    body = response.read()

    assert (response.status, response.reason) == (status, phrase)
    assert response.will_close
    assert response.getheader("Cache-Control") == "no-store"
    assert response.getheader("Content-Length") == str(len(body))
    assert body.startswith(f"{status} {phrase}\n".encode())
    assert body.endswith(b".\n")
    assert received.endswith(b"\r\n\r\n" + body)


def test_only_a_visitor_whose_site_may_come_back_is_asked_to_come_back() -> None:
    asked = [reason for reason in Reason if b"\r\nRetry-After: " in refusal_bytes(TrafficKind.HTTP, reason)]

    assert asked == [Reason.CLIENT_AWAY]


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        (Reason.NO_ROUTE, tls_alert.unrecognized_name()),
        (Reason.CLIENT_AWAY, tls_alert.internal_error()),
        (Reason.SERVICE_FAILED, tls_alert.internal_error()),
        (Reason.MALFORMED, tls_alert.decode_error()),
        (Reason.TIMED_OUT, b""),
    ],
)
def test_a_tls_visitor_reads_an_alert_unless_it_was_merely_slow(reason: Reason, alert: bytes) -> None:
    assert alert == refusal_bytes(TrafficKind.TLS, reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_visitor_of_unknown_language_reads_nothing(reason: Reason) -> None:
    assert refusal_bytes(TrafficKind.RAW, reason) == b""


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        (TrafficKind.HTTP, Reason.NO_ROUTE, "HTTP 404 Not Found"),
        (TrafficKind.HTTP, Reason.CLIENT_AWAY, "HTTP 503 Service Unavailable"),
        (TrafficKind.TLS, Reason.NO_ROUTE, "the TLS alert unrecognized_name"),
        (TrafficKind.TLS, Reason.CLIENT_AWAY, "the TLS alert internal_error"),
        (TrafficKind.TLS, Reason.TIMED_OUT, "nothing but the end of its connection"),
        (TrafficKind.RAW, Reason.CLIENT_AWAY, "nothing but the end of its connection"),
    ],
)
def test_a_refusal_can_be_told_in_words(kind: TrafficKind, reason: Reason, words: str) -> None:
    assert describe_refusal(kind, reason) == words


def test_every_refusal_has_words() -> None:
    assert all(describe_refusal(kind, reason) for kind in TrafficKind for reason in Reason)
