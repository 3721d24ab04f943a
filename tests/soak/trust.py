"""The keys of the TLS service behind the tunnels, and who trusts it.

Rule: they are the visitors' and the service's own affair; no agent ever sees them.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.support import pki

from .doors import CERTIFIED


def service_context(directory: Path) -> ssl.SSLContext:
    """What the TLS service shows; its key is written to that directory."""
    own = pki.gateway(*CERTIFIED)
    bundle = directory / "tls-service.pem"
    bundle.write_bytes(own.certificate + own.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(bundle)
    # A visitor that only talks would leave its tickets unread, and its close would become a reset.
    context.num_tickets = 0
    return context


def visitor_context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pki.authority().certificate.decode())
