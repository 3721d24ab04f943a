"""A socket on which the API is served.

Rule: every connection is a task of the server's task group, so none outlives
``serve_api``, and each has a bounded time for whatever it does. How many there are
is bounded for each socket by itself: whoever fills one cannot lock an operator out
of another.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from agent.process.accepting import accept
from transport.tls_errors import explain_tls_error

from .identity import Caller, GetChain, Identify, PeerCertificate
from .loading import Connections, LoadApp
from .problems import ApiError

if TYPE_CHECKING:
    from .connection import Connection

#: Connections on one socket. A status table, a monitor and a few scripts need ten.
MAX_CONNECTIONS: Final = 128

#: Seconds that a peer has for the TLS handshake.
HANDSHAKE_PATIENCE: Final = 10.0

#: Seconds that a peer may take to say goodbye in TLS.
_GOODBYE: Final = 1.0

#: A context, or what gives the one in force, asked for every connection. None: no TLS.
Context: TypeAlias = ssl.SSLContext | Callable[[], ssl.SSLContext] | None

_log: Any = structlog.get_logger("api")


async def serve_api(
    load: LoadApp,
    listening: socket.socket,
    *,
    context: Context = None,
    authorities: Callable[[], object] = lambda: None,
    identify: Identify,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, and then stop within about two seconds.

    :param load: gives the app, once somebody calls.
    :param listening: a bound socket, TCP or unix, which this takes over and closes.
    :param context: TLS that demands a client certificate, with ALPN ``http/1.1``.
    :param authorities: whose certificates are good now. When these are others, whoever calls on a connection
        of before is answered 421, and comes with a new one.
    :param identify: says who calls; asked for every request.
    :raises OSError: if the socket is of no more use.
    """
    await _Server(Connections(load), listening, context, authorities, identify).run(task_status)


class _Server:
    def __init__(
        self,
        connections: Connections,
        listening: socket.socket,
        context: Context,
        authorities: Callable[[], object],
        identify: Identify,
    ) -> None:
        self._connections = connections
        self._listening = listening
        self._context = context
        self._authorities = authorities
        self._identify = identify
        self._count = 0

    async def run(self, task_status: TaskStatus[None]) -> None:
        failure: OSError
        async with anyio.create_task_group() as connections:
            # Inside, so that the address is free while the last answers are given.
            with self._listening:
                try:
                    self._listening.setblocking(False)
                    self._listening.listen()
                    task_status.started()
                    await self._accept(connections)
                except OSError as error:
                    failure = error  # raised below, where it does not become a group
                    connections.cancel_scope.cancel()
        raise failure

    async def _accept(self, connections: TaskGroup) -> NoReturn:
        while True:
            accepted = await accept(self._listening)
            if self._count < MAX_CONNECTIONS:
                self._count += 1
                connections.start_soon(self._serve, accepted)
            else:
                reason = f"{MAX_CONNECTIONS} connections are open already"
                _log.warning("api_connection_refused", peer=_peer(accepted), reason=reason)
                accepted.close()

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            connection = await self._greet(accepted)
            if connection is not None:
                await connection.keep()
        finally:
            self._count -= 1

    def _identify_again(
        self, authorities: object, certificate: PeerCertificate, chain: GetChain = tuple
    ) -> Caller:
        """Who calls, on a connection that these authorities have let in.

        :raises ApiError: 421 if others decide now; RFC 9110, section 15.5.20, has the caller connect again.
        """
        if self._authorities() != authorities:
            raise ApiError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "the gateway's client CA was replaced since this connection was opened: open another one",
            )
        return self._identify(certificate, chain)

    async def _greet(self, accepted: socket.socket) -> Connection | None:
        """Make the connection, with the TLS handshake. A peer that cannot costs a line in the log."""
        peer = _peer(accepted)
        try:
            connection = await self._connections.make(partial(self._identify_again, self._authorities()))
        except Exception:  # noqa: BLE001 - whoever upgrades the program under an agent that runs must not stop it
            accepted.close()
            _log.exception("api_load_failed", peer=peer, reason="restart the agent if it has been upgraded")
            return None
        except BaseException:
            accepted.close()
            raise
        context = self._context if isinstance(self._context, ssl.SSLContext | None) else self._context()
        try:
            if context is None:
                await connection.loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                await connection.loop.connect_accepted_socket(
                    lambda: connection,
                    accepted,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_PATIENCE,
                    ssl_shutdown_timeout=_GOODBYE,
                )
        except OSError as error:
            accepted.close()
            _log.warning("api_handshake_failed", peer=peer, reason=explain_tls_error(error))
            return None
        return connection


def _peer(accepted: socket.socket) -> str:
    try:
        address = accepted.getpeername()
    except OSError:
        return "unknown"  # it has gone again
    return "{}:{}".format(*address) if isinstance(address, tuple) else "unix socket"
