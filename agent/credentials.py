"""From references in a state file to TLS contexts.

Rule: keys are read here, when a context is made, and kept nowhere else. Blocks on
the disk: call it in a worker thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from schemas.state import TlsClient, TlsGateway
from transport.tls import ALPN, PemNames, client_context, server_context

from .references import describe, resolve


def gateway_context(tls: TlsGateway, *, alpn: Sequence[str] = (ALPN,)) -> ssl.SSLContext:
    """The context of a port of the gateway that asks for client certificates.

    :raises TidegateError: if something cannot be read, or is not what it should be.
    """
    return server_context(
        cert=resolve(tls.cert),
        key=resolve(tls.key),
        ca=resolve(tls.client_ca),
        alpn=alpn,
        names=PemNames(cert=describe(tls.cert), key=describe(tls.key), ca=describe(tls.client_ca)),
    )


def link_context(tls: TlsClient) -> ssl.SSLContext:
    """The context with which a client dials a gateway.

    :raises TidegateError: if something cannot be read, or is not what it should be.
    """
    return client_context(
        cert=resolve(tls.cert),
        key=resolve(tls.key),
        ca=resolve(tls.ca),
        names=PemNames(cert=describe(tls.cert), key=describe(tls.key), ca=describe(tls.ca)),
    )
