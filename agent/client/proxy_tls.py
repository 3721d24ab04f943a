"""TLS between a client and its proxy: from a socket that leads there to the socket behind it.

Rule: as with a WebSocket, what is in between is trusted with nothing. TLS to the proxy keeps the user, the
password and the gateway's name from the network; the link's own TLS runs inside it.
"""

from __future__ import annotations

import socket

from anyio import to_thread

from agent.keys.credentials import outer_link_context
from schemas.names import HostPort
from schemas.proxy_url import ProxyUrl
from schemas.state import TlsClient
from transport.pump.carrier import Carrier
from transport.pump.sockets import dial_carrier
from transport.tls_errors import explain_outer_error
from transport.wire.plain_end import PlainEnd

from .way_out import ProxyError


async def speak_tls(
    connection: socket.socket, proxy: ProxyUrl, tls: TlsClient, *, patience: float, name: str
) -> tuple[socket.socket, Carrier]:
    """The socket behind the TLS, and what carries it.

    :param connection: leads to the proxy; this takes it over.
    :param tls: whose authority may have signed the certificate of the proxy, besides those of the system.
    :param patience: seconds for the handshake.
    :param name: how messages call the proxy.
    :raises TidegateError: if there is no TLS; says what to do.
    """
    try:
        context = await to_thread.run_sync(outer_link_context, tls)
    except BaseException:
        connection.close()
        raise
    try:
        carrier = await dial_carrier(proxy.host, connection, context, handshake_timeout=patience)
    except OSError as error:
        server = f"the proxy at {HostPort(proxy.host, proxy.port)}"
        raise ProxyError(f"{name}: {explain_outer_error(error, server)}") from error
    try:
        # Silence of the proxy means nothing: the session that it carries has its own pings.
        return await carrier.carry(PlainEnd(), ping_interval=None), carrier
    except BaseException:
        carrier.abort()
        raise
