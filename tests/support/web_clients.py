"""Clients that come to a control port by a WebSocket, and whoever else speaks HTTP to it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas.gateway_address import WebSocketUrl
from schemas.messages import PROTOCOL, Hello
from schemas.names import ListenAddress
from schemas.references import InlinePem
from schemas.state import TlsClient
from transport.pump.link import Link
from transport.pump.sockets import dial_link
from transport.session import Session
from transport.tls import client_context

from . import pki
from .gateway_parts import HandDriven
from .journal import PATIENCE
from .peers import Peer, unconnected

REQUEST = (
    b"GET /tunnel HTTP/1.1\r\nHost: gw1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def client_tls(client_id: str = "homelab") -> TlsClient:
    own = pki.client(client_id)
    return TlsClient(
        cert=InlinePem(own.certificate.decode()),
        key=InlinePem(own.key.decode()),
        ca=InlinePem(pki.authority().certificate.decode()),
    )


def url_of(address: ListenAddress, path: str = "/tunnel", *, secure: bool = False) -> WebSocketUrl:
    return WebSocketUrl(host=address.host, port=address.port, path=path, secure=secure)


async def dial_carried(
    url: WebSocketUrl, client_id: str = "homelab", *, first: bytes = b"", host: str | None = None
) -> Link:
    """A link within a WebSocket, dialed as the client does it.

    :param first: sent before anything else, as a load balancer does.
    :param host: for whom the gateway's certificate must be, if that is not the host of the URL.
    """
    from agent.client.websocket import open_websocket

    with unconnected(ListenAddress(url.host, url.port)) as peer:
        await peer.connect(ListenAddress(url.host, url.port))
        await peer.send(first)
        connection = peer.socket.dup()
    connection.setblocking(False)
    inside, carrier = await open_websocket(connection, url, client_tls(client_id), patience=PATIENCE)
    own = pki.client(client_id)
    context = client_context(cert=own.certificate, key=own.key, ca=pki.authority().certificate)
    link = await dial_link(host or url.host, url.port, context, handshake_timeout=PATIENCE, connection=inside)
    link.carrier = carrier
    return link


@asynccontextmanager
async def carried(
    url: WebSocketUrl, client_id: str = "homelab", *, first: bytes = b""
) -> AsyncIterator[HandDriven]:
    """A client with a session in a WebSocket, until the block ends."""
    link = await dial_carried(url, client_id, first=first)
    handler = HandDriven()
    hello = Hello(protocol=PROTOCOL, id=client_id, software="test/1", services=("web",))
    handler.session, _ = await Session.greet(link, hello, handler)
    try:
        yield handler
    finally:
        handler.session.close("the test is over")


def browser_context() -> ssl.SSLContext:
    """One that trusts the tests' authority, and has no certificate."""
    context = ssl.create_default_context(cadata=pki.authority().certificate.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def answer_to(peer: Peer, request: bytes) -> bytes:
    """Send that, and read until the end."""
    await peer.send(request)
    return await peer.receive_until_gone()
