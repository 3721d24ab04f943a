"""The gateway's end of a WebSocket, from its HTTP request to the socket behind it.

Rule: who a client is, is not decided here and not by anything that HTTP says: a session's own TLS with both
certificates runs inside. So a reverse proxy in between learns and may nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final

from schemas.errors import TidegateError
from transport.pump.carrier import Carrier
from transport.pump.sockets import accept_carrier
from transport.wire.errors import RemoteProtocolError
from transport.wire.http_head import MAX_HEAD
from transport.wire.upgrade_request import Answer, UpgradeRequest, bad_request, peek_upgrade_request

_END_OF_HEAD: Final = b"\r\n\r\n"


class WebSocketError(TidegateError):
    """There is no WebSocket; says what was asked for."""


async def accept_websocket(
    connection: socket.socket,
    context: ssl.SSLContext | None,
    *,
    handshake_timeout: float,
    judge: Callable[[UpgradeRequest], None],
) -> tuple[socket.socket, Carrier]:
    """The socket behind the WebSocket that a connection asks for, and what carries it.

    :param context: of the TLS around it, if there is any.
    :param handshake_timeout: in seconds, of that TLS.
    :param judge: hears for whom a request says it is, and raises if that has to be said and is not.
    :raises OSError: if the connection or the handshake fails.
    :raises WebSocketError: if the answer is another one. It has been sent.
    """
    carrier = await accept_carrier(connection, context, handshake_timeout=handshake_timeout)
    try:
        answer = await _answer(carrier, judge)
        if answer.end is not None:
            carrier.write(answer.text)
            return await carrier.carry(answer.end), carrier
    except BaseException:
        carrier.abort()
        raise
    carrier.refuse(answer.text)
    raise WebSocketError(answer.why)


async def _answer(carrier: Carrier, judge: Callable[[UpgradeRequest], None]) -> Answer:
    """
    :raises WebSocketError: if there is nothing to answer.
    """
    try:
        request = await _request(carrier)
    except RemoteProtocolError as error:
        return bad_request(str(error))
    try:
        judge(request)
    except TidegateError as error:
        return request.refuse("The reverse proxy in between has to set X-Forwarded-For.", why=str(error))
    return request.answer()


async def _request(carrier: Carrier) -> UpgradeRequest:
    """
    :raises RemoteProtocolError: if what comes is no request that is answered.
    :raises WebSocketError: if nothing does.
    """
    looked_at = 0
    while True:
        # Not at every piece: of a head that comes byte by byte, each look would be at all of it again.
        size = len(carrier.early)
        has_end = carrier.early.find(_END_OF_HEAD, max(0, looked_at - len(_END_OF_HEAD))) >= 0
        if has_end or size >= min(2 * looked_at, MAX_HEAD):
            looked_at = size
            request = peek_upgrade_request(carrier.early)
            if request is not None:
                carrier.early.clear()
                return request
        try:
            await carrier.more()
        except EOFError as error:
            raise WebSocketError("the connection was closed before it had asked for anything") from error
