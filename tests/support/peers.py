"""Visitors and services: plain sockets, driven step by step from a test.

Rule: every way a TCP connection can begin, stand still and end can be said here, and nothing waits for
ever: what does not come fails the test.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from weakref import WeakSet

import anyio
import anyio.lowlevel

from schemas.names import ListenAddress

from .descriptors import open_sockets
from .journal import PATIENCE
from .site import own_address

_ports: Final = itertools.count(20_000)
_test_sockets: Final[WeakSet[socket.socket]] = WeakSet()
_SYN_SENT: Final = 2  # tcp_states.h
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


def free_listen() -> ListenAddress:
    """An address and port that nobody else uses now."""
    return ListenAddress(own_address(), next(_ports))


def free_port_of(host: str) -> ListenAddress:
    """A port of that address which was free a moment ago, for tests to which the address matters."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return ListenAddress(host, probe.getsockname()[1])


def program_sockets() -> frozenset[tuple[int, int]]:
    """What the code under test holds: all but the peers' and those with which a loop wakes itself."""
    peers = {connection.fileno() for connection in _test_sockets}
    return frozenset(found for found in open_sockets() if found[0] not in peers and not _is_pair(found[0]))


def _is_pair(descriptor: int) -> bool:
    """Whether it is half of a ``socketpair()``. uvloop makes a new one whenever it is started again."""
    with socket.socket(fileno=os.dup(descriptor)) as candidate:
        try:
            return (
                candidate.family == socket.AF_UNIX
                and candidate.getsockname() == candidate.getpeername() == ""
            )
        except OSError:
            return False  # not connected


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what shows itself in no line and no byte, letting everybody else go on."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.lowlevel.checkpoint()


class Peer:
    """One end of a TCP or unix connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        _test_sockets.add(connection)

    @property
    def address(self) -> str:
        """Our own address as a log line writes it."""
        host, port = self.socket.getsockname()[:2]
        return f"{host}:{port}"

    @property
    def unread(self) -> int:
        """How much of what was sent the other machine has not yet received."""
        return int.from_bytes(fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    async def connect(self, address: ListenAddress) -> None:
        try:
            self.socket.connect((address.host, address.port))
        except BlockingIOError:
            with anyio.fail_after(PATIENCE):
                await anyio.wait_writable(self.socket)
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "the visitor was not let in") from None

    async def send(self, data: bytes) -> None:
        with anyio.fail_after(PATIENCE):
            while data:
                try:
                    data = data[self.socket.send(data) :]
                except BlockingIOError:
                    await anyio.wait_writable(self.socket)

    async def receive(self, size: int = 65_536) -> bytes:
        """Some bytes, ``b""`` at the end.

        :raises ConnectionResetError: if the other end reset the connection.
        """
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    return self.socket.recv(size)
                except BlockingIOError:
                    await anyio.wait_readable(self.socket)

    async def receive_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = await self.receive(size - len(data))
            assert chunk, f"the connection ended after {bytes(data)!r}"
            data += chunk
        return bytes(data)

    async def receive_all(self) -> bytes:
        """Everything until the end."""
        data = bytearray()
        while chunk := await self.receive():
            data += chunk
        return bytes(data)

    async def receive_until_gone(self) -> bytes:
        """Everything until the other end has closed or reset the connection."""
        data = bytearray()
        with suppress(ConnectionResetError):
            while chunk := await self.receive():
                data += chunk
        return bytes(data)

    async def wait_reset(self) -> bytes:
        """What came before the other end reset the connection."""
        data = bytearray()
        try:
            while chunk := await self.receive():
                data += chunk
        except ConnectionResetError:
            return bytes(data)
        raise AssertionError(f"the connection ended in peace after {bytes(data)!r}")

    def end(self) -> None:
        """Send no more, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


@asynccontextmanager
async def visit(address: ListenAddress) -> AsyncIterator[Peer]:
    """A connected visitor."""
    with unconnected(address) as visitor:
        await visitor.connect(address)
        yield visitor


@contextmanager
def unconnected(address: ListenAddress) -> Iterator[Peer]:
    """A visitor that has a socket and has not yet come."""
    with socket.socket(socket.AF_INET if address.family == 4 else socket.AF_INET6) as connection:
        yield Peer(connection)


class Service:
    """A listening service; its target is what a client's state file says of it."""

    def __init__(self, listening: socket.socket, target: str) -> None:
        listening.setblocking(False)
        listening.listen()
        self.target = target
        self._listening = listening
        _test_sockets.add(listening)
        self._accepted: list[Peer] = []

    async def accept(self) -> Peer:
        """The next connection. Closed with the service at the latest."""
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    connection, _ = self._listening.accept()
                except BlockingIOError:
                    await anyio.wait_readable(self._listening)
                    continue
                peer = Peer(connection)
                self._accepted.append(peer)
                return peer

    def has_caller(self) -> bool:
        """Whether somebody waits to be accepted."""
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return False
        self._accepted.append(Peer(connection))
        return True

    def close(self) -> None:
        self._listening.close()
        for peer in self._accepted:
            peer.close()


@contextmanager
def service(address: ListenAddress | None = None) -> Iterator[Service]:
    """A TCP service on an address of its own."""
    address = address or free_listen()
    with socket.socket(socket.AF_INET if address.family == 4 else socket.AF_INET6) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        opened = Service(listening, str(address))
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def unix_service(path: Path) -> Iterator[Service]:
    """A service on a unix socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        opened = Service(listening, f"unix:{path}")
        try:
            yield opened
        finally:
            opened.close()


class Blackhole:
    """An address whose machine answers nobody, on Linux: the queue of its listening socket is full."""

    def __init__(self, address: ListenAddress, fillers: int) -> None:
        self.address = address
        self.target = str(address)
        self._fillers = fillers

    def has_caller(self) -> bool:
        """Whether this process knocks there in vain."""
        return self.callers > 0

    @property
    def callers(self) -> int:
        """With how many sockets it does."""
        return _knocking() - self._fillers


@contextmanager
def blackhole(*, everywhere: bool = False) -> Iterator[Blackhole]:
    """One such address, or the same port of every address of this machine."""
    address, before = free_listen(), _knocking()
    with ExitStack() as fillers, socket.socket() as listening:
        if everywhere:  # where others have that port, the system gives another one
            listening.bind(("", 0))
            address = replace(address, port=listening.getsockname()[1])
        else:
            listening.bind((address.host, address.port))
        listening.listen(0)
        while _knocking() == before:
            filler = fillers.enter_context(unconnected(address))
            filler.socket.connect_ex((address.host, address.port))
        yield Blackhole(address, _knocking())


def _knocking() -> int:
    """How many sockets of this process have asked to be connected and have no answer."""
    knocking = 0
    for descriptor, _ in open_sockets():
        with socket.socket(fileno=os.dup(descriptor)) as candidate:
            if candidate.family != socket.AF_UNIX and candidate.type == socket.SOCK_STREAM:
                state = candidate.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                knocking += state == _SYN_SENT
    return knocking
