"""The client's end of a WebSocket: from a socket that leads there to the socket behind it.

Rule: what is between the two programs is trusted with nothing. TLS around the WebSocket keeps its path and
its existence from the network; who the gateway is, is found out in the link's own TLS, which runs inside.
"""

from __future__ import annotations

import socket

import anyio
from anyio import to_thread

from agent.keys.credentials import outer_link_context
from schemas.gateway_address import WebSocketUrl
from schemas.names import HostPort
from schemas.state import TlsClient
from transport.pump.carrier import Carrier
from transport.pump.sockets import dial_carrier
from transport.session import SessionLostError
from transport.tls_errors import explain_outer_error
from transport.wire.errors import RemoteProtocolError
from transport.wire.upgrade_response import UpgradeAttempt
from transport.wire.websocket import WebSocketEnd


async def open_websocket(
    connection: socket.socket, url: WebSocketUrl, tls: TlsClient, *, patience: float
) -> tuple[socket.socket, Carrier]:
    """The socket behind a WebSocket, and what carries it.

    :param connection: leads to the host and port of the URL; this takes it over.
    :param patience: seconds for all of it.
    :raises TidegateError: if there is no WebSocket; says what to do.
    """
    with anyio.move_on_after(patience):
        carrier = await _connect(connection, url, tls, patience)
        try:
            attempt = UpgradeAttempt(host=url.host, port=url.port, path=url.path, secure=url.secure)
            carrier.write(attempt.request)
            return await carrier.carry(await _answer(carrier, attempt, url)), carrier
        except BaseException:
            carrier.abort()
            raise
    raise SessionLostError(f"{url} did not answer in time: check host and port, and the proxies in between")


async def _connect(connection: socket.socket, url: WebSocketUrl, tls: TlsClient, patience: float) -> Carrier:
    try:
        context = await to_thread.run_sync(outer_link_context, tls) if url.secure else None
    except BaseException:
        connection.close()
        raise
    try:
        return await dial_carrier(url.host, connection, context, handshake_timeout=patience)
    except OSError as error:
        server = f"the web server at {HostPort(url.host, url.port)}"
        raise SessionLostError(f"{url}: {explain_outer_error(error, server)}") from error


async def _answer(carrier: Carrier, attempt: UpgradeAttempt, url: WebSocketUrl) -> WebSocketEnd:
    """The open end, and behind it what has come for it already."""
    while True:
        try:
            found = attempt.peek(carrier.early)
            if found is not None:
                end, size = found
                del carrier.early[:size]
                return end
            await carrier.more()
        except EOFError as error:
            raise SessionLostError(
                f"{url}: the connection was closed instead of an answer: check host and port of the URL"
            ) from error
        except RemoteProtocolError as error:
            raise SessionLostError(f"{url}: {error}") from error
