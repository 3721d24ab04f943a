"""Certificates for tests, made in memory by the code that makes real ones.

Rule: a test that needs a key takes it from here or from ``agent.keys.pki``; none is kept in the repository.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Final

from agent.keys.certificates import Credentials, create_authority, sign_client, sign_gateway

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@cache
def authority(name: str = "Test authority") -> Credentials:
    """One authority a name and test run. A name of its own gives a test somebody else's authority."""
    return create_authority(name=name)


def gateway(
    *hosts: str, signed_by: Credentials | None = None, now: datetime | None = None, name: str = "gw1"
) -> Credentials:
    """A gateway's certificate for some hosts, loopback if none are named."""
    return sign_gateway(signed_by or authority(), name=name, hosts=hosts or LOOPBACK, now=now)


def client(
    client_id: str = "homelab",
    *,
    domain: str | None = None,
    signed_by: Credentials | None = None,
    now: datetime | None = None,
) -> Credentials:
    """A client's certificate."""
    return sign_client(signed_by or authority(), client_id=client_id, domain=domain, now=now)
