"""What a client and a proxy say to each other before a link begins.

Rule: a connected socket comes in, and leads to the gateway afterwards, or an error says what the proxy
answered. Both codecs are pure; this file moves the bytes.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Final

import anyio

from schemas.proxy_url import ProxyKind, ProxyUrl
from transport.wire.errors import ProtocolError, RemoteProtocolError

from .way_out import ProxyError

_CHUNK: Final = 16 * 1024


async def pass_through(
    connection: socket.socket, proxy: ProxyUrl, said_in: str, host: str, port: int
) -> None:
    """Have the proxy lead an open connection to a host and a port.

    :param said_in: where the proxy is named.
    :raises ProxyError: if it does not.
    :raises OSError: if the connection breaks.
    """
    try:
        match proxy.kind:
            case ProxyKind.HTTP | ProxyKind.HTTPS:
                await _http_connect(connection, proxy, host, port)
            case ProxyKind.SOCKS5:
                await _socks5(connection, proxy, host, port)
    except ProtocolError as error:
        raise ProxyError(f"{named(proxy, said_in)}: {error}") from error
    except EOFError:
        raise ProxyError(f"{named(proxy, said_in)}: it closed the connection instead of an answer") from None


def named(proxy: ProxyUrl, said_in: str) -> str:
    """How messages call a proxy. Neither user nor password is shown."""
    return f"the proxy {replace(proxy, user=None, password=None)} ({said_in})"


async def _http_connect(connection: socket.socket, proxy: ProxyUrl, host: str, port: int) -> None:
    from transport.wire.http_connect import HttpConnect  # few need it

    attempt = HttpConnect(host, port, proxy.user, proxy.password)
    await _send(connection, attempt.request)
    buffer = bytearray()
    while (end := attempt.peek(buffer)) is None:
        buffer += await _receive(connection)
    _end(buffer[end:])


async def _socks5(connection: socket.socket, proxy: ProxyUrl, host: str, port: int) -> None:
    from transport.wire.socks5 import Connect, Login, Write  # few need it
    from transport.wire.socks5_client import Connected, Socks5Client

    login = None if proxy.user is None else Login(proxy.user.encode(), (proxy.password or "").encode())
    attempt = Socks5Client(Connect(host, port), login)
    await _send(connection, attempt.start())
    buffer = bytearray()
    while True:
        match attempt.next_event(buffer):
            case Write(data=data):
                await _send(connection, data)
            case Connected():
                break
            case None:
                buffer += await _receive(connection)
    _end(buffer)


def _end(buffer: bytearray) -> None:
    """What comes next is the gateway's answer to us, and we have said nothing to it yet."""
    if buffer:
        raise RemoteProtocolError("it says more than its answer: check that it is a proxy")


async def _send(connection: socket.socket, data: bytes) -> None:
    while data:
        try:
            sent = connection.send(data)
        except BlockingIOError:
            await anyio.wait_writable(connection)
        else:
            data = data[sent:]


async def _receive(connection: socket.socket) -> bytes:
    """
    :raises EOFError: if nothing more comes.
    """
    while True:
        try:
            data = connection.recv(_CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(connection)
        else:
            if not data:
                raise EOFError
            return data
