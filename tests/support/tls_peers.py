"""Whoever else might knock on a port that speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress

import anyio

from agent.keys.certificates import Credentials
from schemas.names import ListenAddress
from transport.tls import ALPN, client_context

from . import pki
from .journal import PATIENCE


def context_with(own: Credentials, *, alpn: Sequence[str] = (ALPN,)) -> ssl.SSLContext:
    """The context of somebody with that certificate who trusts the tests' authority."""
    return client_context(cert=own.certificate, key=own.key, ca=pki.authority().certificate, alpn=alpn)


def context_without_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=pki.authority().certificate.decode())
    context.set_alpn_protocols([ALPN])
    return context


def client_hello() -> bytes:
    """The first message of a TLS connection."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context_without_certificate().wrap_bio(incoming, outgoing, server_hostname="gw1")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def knock(address: ListenAddress, context: ssl.SSLContext, first: bytes = b"") -> bytes:
    """Do the handshake, send, and read until the other side has had enough; what it said."""
    said = bytearray()
    with anyio.fail_after(PATIENCE):
        try:
            async with await anyio.connect_tcp(
                address.host, address.port, tls=True, ssl_context=context, tls_standard_compatible=False
            ) as stream:
                if first:
                    await stream.send(first)
                while True:
                    said += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            return bytes(said)
