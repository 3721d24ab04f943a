"""A real TLS client understands the alerts, and says so in its own words."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from transport.wire.tls_alert import decode_error, internal_error, unrecognized_name


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (unrecognized_name, "UNRECOGNIZED_NAME"),
        (internal_error, "INTERNAL_ERROR"),
        (decode_error, "DECODE_ERROR"),
    ],
)
def test_a_tls_client_ends_its_handshake_with_the_reason(
    alert: Callable[[], bytes], reason: str, newest: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context()
    context.maximum_version = newest
    incoming = ssl.MemoryBIO()
    client = context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="blog.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()

    incoming.write(alert())
    with pytest.raises(ssl.SSLError) as caught:
        client.do_handshake()

    assert caught.value.reason is not None
    assert reason in caught.value.reason


def test_an_alert_is_one_fatal_record_of_the_version_that_every_record_says() -> None:
    assert bytes.fromhex("15 0303 0002 02 70") == unrecognized_name()
    assert bytes.fromhex("15 0303 0002 02 50") == internal_error()
    assert bytes.fromhex("15 0303 0002 02 32") == decode_error()
