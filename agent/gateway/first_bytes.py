"""What comes to the control port: a session, a WebSocket, and who is at the other end.

Rule: this file alone decides by a connection's first bytes what it is, and whose. They are looked at and left
where they are, for whoever reads them then; only a PROXY header is taken away.

Decision: the kernel keeps them meanwhile, and is told how many are needed before it wakes us (SO_RCVLOWAT).
Nearly every ClientHello comes in one piece, so a native client costs a system call or two more than without.
"""

from __future__ import annotations

import socket
from enum import Enum, auto
from typing import Final

import anyio

from agent.process.accepting import host_of, name_of
from schemas.errors import TidegateError
from schemas.names import HostPort
from transport.tls import ALPN
from transport.wire.client_hello import ClientHello, scan_client_hello
from transport.wire.errors import RemoteProtocolError
from transport.wire.proxy_protocol import NoProxyHeaderError, ProxyHeader, peek_proxy_header

from .forwarders import Forwarders, NotProxiedError, complaint, silence

_AT_ONCE: Final = 4096  # looked at in one call
_ALPN: Final = ALPN.encode("ascii")
_TLS_HANDSHAKE: Final = 22


class OnlyLookedError(TidegateError):
    """A load balancer only looked whether anybody is here, as it does every other second."""


class Opening(Enum):
    """What a connection begins with."""

    NATIVE = auto()  # a session's TLS, or what fails as such: its handshake says why
    TLS = auto()  # TLS around HTTP
    HTTP = auto()


class Arrival:
    """A connection that has been accepted, and of whom it is as far as that is known.

    :param address: from where it comes, as accepting it told.
    """

    def __init__(self, connection: socket.socket, address: object) -> None:
        self.connection = connection
        self.host = host_of(address)
        self.name = name_of(address)  # as a log line writes it
        self.stated: tuple[str, int] | None = None  # what a load balancer says
        self._owes_address = False  # a reverse proxy that has still to say it

    async def look(self, forwarders: Forwarders) -> Opening:
        """Wait for the first bytes. A PROXY header among them is taken away.

        :raises NotProxiedError: if there should have been one, or it is bad.
        :raises OnlyLookedError: if it names nobody, or one of them, and nothing comes behind it.
        :raises OSError: if the connection breaks.
        """
        if not forwarders or self.host not in forwarders:
            return await _opening(self.connection)
        try:
            header = await self._take_header()
        except NoProxyHeaderError as error:
            opening = await _opening(self.connection)
            if opening is Opening.NATIVE:
                raise NotProxiedError(complaint(self.host, error)) from error
            self._owes_address = True
            return opening
        except RemoteProtocolError as error:
            raise NotProxiedError(complaint(self.host, error)) from error
        if header.source is not None:
            self._be(header.source.host, header.source.port)
        if self.host in forwarders and await _has_gone(self.connection):
            raise OnlyLookedError(f"{self.host} looked whether this port answers")
        return await _opening(self.connection)

    def forwarded(self, names: tuple[str, ...], forwarders: Forwarders) -> None:
        """Hear what X-Forwarded-For says.

        :raises NotProxiedError: if a reverse proxy that is to be believed says nothing that can be.
        """
        if self.host not in forwarders:
            return
        source = forwarders.source(names)
        if source is not None:
            self._be(source.host, source.port)
        elif self._owes_address:
            raise NotProxiedError(
                f"{self.host} is in accept_proxy_protocol and does not say for whom its request is: "
                "have the reverse proxy set X-Forwarded-For, or take the address out of accept_proxy_protocol"
            )

    def _be(self, host: str, port: int) -> None:
        self.host, self.stated = host, (host, port)
        self.name = str(HostPort(host, port)) if port else host

    async def _take_header(self) -> ProxyHeader:
        """
        :raises RemoteProtocolError: as :func:`peek_proxy_header` does.
        :raises NotProxiedError: if the connection ends before.
        """
        wanted = 1
        while True:
            data = await _look(self.connection, wanted)
            header = peek_proxy_header(data)
            if header is not None:
                self.connection.recv(header.size)  # which is there
                return header
            if len(data) < wanted:
                raise NotProxiedError(silence(self.host, seconds=None))
            wanted = len(data) + 1


async def _has_gone(connection: socket.socket) -> bool:
    try:
        return await _look(connection, 1) == b""
    except ConnectionResetError:  # as HAProxy ends a check
        return True


async def _opening(connection: socket.socket) -> Opening:
    wanted = 1
    while True:
        data = await _look(connection, wanted)
        if len(data) < wanted:
            return Opening.NATIVE  # it has ended, and the handshake fails for that
        if data[0] != _TLS_HANDSHAKE:
            # As every method of HTTP does, and little else.
            return Opening.HTTP if b"A"[0] <= data[0] <= b"Z"[0] else Opening.NATIVE
        try:
            found = scan_client_hello(data)
        except RemoteProtocolError:
            return Opening.NATIVE
        if isinstance(found, ClientHello):
            return Opening.NATIVE if _ALPN in found.alpn else Opening.TLS
        wanted = max(found.at_least, len(data) + 1)


async def _look(connection: socket.socket, wanted: int) -> bytes:
    """The first bytes, so many at least, and left where they are. Fewer only if no more will come."""
    size = max(wanted, _AT_ONCE)
    try:
        data = connection.recv(size, socket.MSG_PEEK)
    except BlockingIOError:
        pass
    else:
        if len(data) >= wanted or not data:
            return data
    if wanted > 1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
    try:
        while True:
            await anyio.wait_readable(connection)
            try:
                return connection.recv(size, socket.MSG_PEEK)
            except BlockingIOError:
                continue  # what was there has been dropped again
    finally:
        if wanted > 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
