"""Making relays and links: listening, accepting, dialing.

Rule: the rest of the program gives sockets, addresses and TLS contexts, and never
sees an event loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from transport.tls import is_fresh
from transport.wire.mux import Role

from .link import Link
from .relay import Relay, RelayOwner

if TYPE_CHECKING:
    from .carrier import Carrier


def _fast_tls() -> Any:
    """aiofastnet, or None where there is no wheel of it: the loop's own TLS does the same, slower."""
    try:
        import aiofastnet
    except ImportError:
        return None
    return aiofastnet


class _HandshakeFilter:
    """Drops what aiofastnet tells the loop of a peer that leaves during the handshake.

    Who waits for the handshake is told of it as for any other failure. To the loop aiofastnet says it
    a second time, as an error nobody expected, and any stranger could fill the log with that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._otherwise = loop.get_exception_handler()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("exception") is ConnectionResetError:  # the class: that is their mistake
            return
        if self._otherwise is not None:
            self._otherwise(loop, context)
        else:
            loop.default_exception_handler(context)

    @classmethod
    def install(cls, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop.get_exception_handler(), cls):
            loop.set_exception_handler(cls(loop))


_AIOFASTNET: Final = _fast_tls()
_BACKLOG: Final = 1_024
# How many the standard loop accepts from one port before their owner hears of the first. If it were a whole
# queue, a crowd would take every file of the process before an owner could turn anybody away. And without
# files it would say so for each place in the queue, and try again a second later for each time it said so.
_AT_ONCE: Final = 1
_GOODBYE: Final = 5.0  # seconds that the TLS goodbye of a link may take
# A loop accepts in one turn, makes a transport in the next, and tells the protocol of it in the one after.
_TURNS_TO_LET_IN: Final = 3


class Server:
    """A listening socket whose every connection becomes a relay."""

    def __init__(self, server: asyncio.AbstractServer, listening: socket.socket, owner: RelayOwner) -> None:
        self._server = server
        self._listening = listening
        self._owner = owner
        self._is_open = True

    async def close(self) -> None:
        """Stop listening. Connections that are open stay open, and who waits in the queue is let in first.

        A system answers whoever connects before the program does, and closing the socket would reset them.
        The owner has heard of each of them when this returns.
        """
        if not self._is_open:
            return
        self._is_open = False
        loop = asyncio.get_running_loop()
        try:
            # The standard loop drops whom it has accepted if the server is closed before its next turns.
            # uvloop does not, and has no reader there; a socket that it has given up is none any more.
            if self._listening.fileno() >= 0 and loop.remove_reader(self._listening):
                await _until_told()
            waiting = self._take_queue()
        finally:
            self._server.close()
        try:
            while waiting:
                await self._let_in(waiting[-1])
                waiting.pop()
        finally:
            for connection in waiting:
                connection.close()
        await _until_told()

    async def _let_in(self, connection: socket.socket) -> None:
        relay = Relay(self._owner)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: relay, connection)
        except OSError:  # it has gone again
            connection.close()
        except BaseException:
            relay.forget()
            raise

    def _take_queue(self) -> list[socket.socket]:
        """Whoever is in the queue now, but not for ever whoever still comes. The last one is the first."""
        waiting: list[socket.socket] = []
        with suppress(OSError):  # nobody is there; or the machine is short of something, and they are reset
            while len(waiting) < _BACKLOG:
                connection, _ = self._listening.accept()
                waiting.append(connection)
                connection.setblocking(False)
        waiting.reverse()
        return waiting


async def _until_told() -> None:
    """Wait until owners have heard of everybody whom the loop has accepted."""
    for _ in range(_TURNS_TO_LET_IN):
        await asyncio.sleep(0)


async def serve(listening: socket.socket, owner: RelayOwner) -> Server:
    """Make a relay of every connection to a bound socket, which this takes over."""
    # Inherited by what is accepted. The standard loop sees to it only if the socket names its protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Relay, owner), sock=listening, backlog=_AT_ONCE)
    listening.listen(_BACKLOG)
    return Server(server, listening, owner)


async def serve_unix(listening: socket.socket, owner: RelayOwner) -> Server:
    """Make a relay of every connection to a bound unix socket, which this takes over."""
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(partial(Relay, owner), sock=listening, backlog=_AT_ONCE)
    listening.listen(_BACKLOG)
    return Server(server, listening, owner)


async def dial_tcp(host: str, port: int, owner: RelayOwner, *, source: str | None = None) -> Relay:
    """Connect a relay to an address or a name.

    :param source: the address of this machine to dial from; of the same family as the host.
    :raises OSError: if nothing answers there.
    """
    relay = Relay(owner)
    local = None if source is None else (source, 0)
    try:
        await asyncio.get_running_loop().create_connection(lambda: relay, host, port, local_addr=local)
    except BaseException:
        relay.forget()
        raise
    return relay


async def dial_unix(path: str, owner: RelayOwner) -> Relay:
    """Connect a relay to a unix socket.

    :raises OSError: if nothing answers there.
    """
    relay = Relay(owner)
    try:
        await asyncio.get_running_loop().create_unix_connection(lambda: relay, path)
    except BaseException:
        relay.forget()
        raise
    return relay


async def accept_link(
    connection: socket.socket, context: ssl.SSLContext, *, handshake_timeout: float
) -> Link:
    """Do the TLS handshake on an accepted socket, which this takes over.

    :param handshake_timeout: in seconds.
    :raises OSError: if it fails, or the peer resumes a session of before; ``ssl.SSLError`` is one.
    """
    link = Link(Role.SERVER)
    await _accept(link, connection, context, handshake_timeout)
    if not is_fresh(link.ssl_object):
        link.abort()
        raise OSError("the client resumes a TLS session, which no Tidegate does: connect with a new one")
    return link


async def dial_link(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    handshake_timeout: float,
    connection: socket.socket | None = None,
) -> Link:
    """Connect to a gateway and do the TLS handshake.

    :param host: what the gateway's certificate must be for.
    :param handshake_timeout: in seconds; how long connecting may take is the caller's to limit.
    :param connection: a socket that leads there already, which this takes over.
    :raises OSError: if it fails; ``ssl.SSLError`` is one.
    """
    link = Link(Role.CLIENT)
    where: dict[str, Any] = {"host": host, "port": port} if connection is None else {"sock": connection}
    try:
        await _connect(link, where, context, host, handshake_timeout)
    except Exception:  # when cancelled, the pump closes it: its loop may still be watching it
        if connection is not None:
            connection.close()
        raise
    return link


async def accept_carrier(
    connection: socket.socket, context: ssl.SSLContext | None, *, handshake_timeout: float
) -> Carrier:
    """Make a carrier of an accepted socket, which this takes over. With a context, TLS comes first.

    :param handshake_timeout: in seconds.
    :raises OSError: if the handshake fails.
    """
    from .carrier import Carrier  # few ever need one

    carrier = Carrier()
    try:
        if context is not None:
            await _accept(carrier, connection, context, handshake_timeout)
        else:
            _send_at_once(connection)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: carrier, connection)
    except Exception:  # when cancelled, the pump closes it
        connection.close()
        raise
    return carrier


async def dial_carrier(
    host: str, connection: socket.socket, context: ssl.SSLContext | None, *, handshake_timeout: float
) -> Carrier:
    """Make a carrier of a connected socket, which this takes over. With a context, TLS comes first.

    :param host: what the certificate of whoever is there must be for.
    :param handshake_timeout: in seconds.
    :raises OSError: if the handshake fails.
    """
    from .carrier import Carrier  # few ever need one

    carrier = Carrier()
    try:
        if context is not None:
            await _connect(carrier, {"sock": connection}, context, host, handshake_timeout)
        else:
            _send_at_once(connection)
            await asyncio.get_running_loop().create_connection(lambda: carrier, sock=connection)
    except Exception:  # when cancelled, the pump closes it
        connection.close()
        raise
    return carrier


async def _accept(
    protocol: asyncio.BaseProtocol, connection: socket.socket, context: ssl.SSLContext, patience: float
) -> None:
    _send_at_once(connection)
    loop = asyncio.get_running_loop()
    accept: Any = loop.connect_accepted_socket
    if _AIOFASTNET is not None:
        _HandshakeFilter.install(loop)
        accept = partial(_AIOFASTNET.connect_accepted_socket, loop)
    await accept(  # uvloop's own returns its TLS protocol where others return ours
        lambda: protocol,
        connection,
        ssl=context,
        ssl_handshake_timeout=patience,
        ssl_shutdown_timeout=_GOODBYE,
    )


async def _connect(
    protocol: asyncio.BaseProtocol,
    where: dict[str, Any],
    context: ssl.SSLContext,
    server_hostname: str,
    patience: float,
) -> None:
    loop = asyncio.get_running_loop()
    connect: Any = loop.create_connection
    if _AIOFASTNET is not None:
        _HandshakeFilter.install(loop)
        connect = partial(_AIOFASTNET.create_connection, loop)
    await connect(
        lambda: protocol,
        **where,
        ssl=context,
        server_hostname=server_hostname,
        ssl_handshake_timeout=patience,
        ssl_shutdown_timeout=_GOODBYE,
    )


def _send_at_once(connection: socket.socket) -> None:
    """Nobody else turns Nagle's algorithm off here, and with it each small answer waits 40 ms."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
