"""Dialing a gateway: from its address to a link.

Rule: everything that comes before the greeting is strung together here, and bounded by one time: the way out
of the network, a proxy, a WebSocket, TLS. Keys and proxy are read anew for every session, so that new ones
need no restart.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from agent.keys.credentials import link_context
from reconcile.desired import LinkSpec
from schemas.gateway_address import WebSocketUrl
from schemas.proxy_url import ProxyKind, ProxyUrl
from transport.pump.link import Link
from transport.pump.sockets import dial_link
from transport.session import SessionLostError
from transport.tls import TlsError, check_alpn
from transport.tls_errors import explain_tls_error

from .connecting import connect
from .places import Place
from .resolving import look_up
from .way_out import ProxyError, Straight, choose, is_address, read

if TYPE_CHECKING:
    from transport.pump.carrier import Carrier

_CONNECT_TIMEOUT: Final = 10.0  # seconds for all of it
_LAST_MOMENT: Final = 0.001  # seconds; none at all is no time that a handshake can be given


async def dial(spec: LinkSpec, place: Place) -> Link:
    """Connect to a gateway and do the TLS handshake.

    :raises TidegateError: if that fails; says what to do.
    """
    context = await anyio.to_thread.run_sync(link_context, spec.tls)
    host, port = spec.gateway.host, spec.gateway.port
    deadline = anyio.current_time() + _CONNECT_TIMEOUT
    try:
        connection, carrier = await reach(spec, place)
        if isinstance(spec.gateway, WebSocketUrl):
            from .websocket import open_websocket  # few need one

            left, under = _left(deadline), carrier
            connection, carrier = await open_websocket(connection, spec.gateway, spec.tls, patience=left)
            carrier.under = under
        left = _left(deadline)
        with anyio.fail_after(left):
            link = await dial_link(host, port, context, handshake_timeout=left, connection=connection)
        link.carrier = carrier
    except (OSError, TimeoutError) as error:
        raise SessionLostError(explain_tls_error(error)) from error
    try:
        check_alpn(link.alpn)
    except TlsError:
        link.abort()
        raise
    return link


def _left(deadline: float) -> float:
    return max(deadline - anyio.current_time(), _LAST_MOMENT)


async def reach(spec: LinkSpec, place: Place) -> tuple[socket.socket, Carrier | None]:
    """A socket that leads to a gateway, whatever is in between, and what carries it, if it is none to the
    outside. It does not block.

    :raises TidegateError: if a proxy does not lead there, or there is no port left to dial from.
    :raises OSError: if nothing answers.
    """
    way = choose(spec.way_out, spec.gateway, os.environ)
    if isinstance(way, Straight):
        addresses = (place.address or spec.gateway.host,)
        ports = spec.way_out.local_ports
        port = spec.gateway.port
        return await connect(addresses, port, patience=_CONNECT_TIMEOUT, local_ports=ports), None
    proxy, said_in = await anyio.to_thread.run_sync(read, way)
    return await _reach_through(proxy, said_in, spec)


async def _reach_through(
    proxy: ProxyUrl, said_in: str, spec: LinkSpec
) -> tuple[socket.socket, Carrier | None]:
    from .proxying import named, pass_through  # few have a proxy

    name = named(proxy, said_in)
    carrier: Carrier | None = None
    try:
        with anyio.fail_after(_CONNECT_TIMEOUT):
            addresses = await _addresses(proxy)
            ports = spec.way_out.local_ports
            connection = await connect(addresses, proxy.port, patience=_CONNECT_TIMEOUT, local_ports=ports)
            if proxy.kind is ProxyKind.HTTPS:
                from .proxy_tls import speak_tls  # fewer still

                connection, carrier = await speak_tls(
                    connection, proxy, spec.tls, patience=_CONNECT_TIMEOUT, name=name
                )
            try:
                await pass_through(connection, proxy, said_in, spec.gateway.host, spec.gateway.port)
            except BaseException:
                connection.close()
                raise
    except (OSError, TimeoutError) as error:
        raise ProxyError(f"{name}: {_explain(error)}") from error
    return connection, carrier


async def _addresses(proxy: ProxyUrl) -> tuple[str, ...]:
    if proxy.host == "gateway":
        from .default_route import default_router  # fewer still

        return (await anyio.to_thread.run_sync(default_router),)
    return (proxy.host,) if is_address(proxy.host) else await look_up(proxy.host)


def _explain(error: BaseException) -> str:
    match error:
        case ConnectionRefusedError():
            return "nothing listens there: check that it runs, and its host and port"
        case TimeoutError():
            return "it did not lead to the gateway in time: check that it runs, and whom it may connect to"
        case ConnectionResetError() | BrokenPipeError():
            return "it closed the connection instead of an answer: its log may say why"
        case _:
            return explain_tls_error(error)
