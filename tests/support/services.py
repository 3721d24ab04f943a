"""Small real servers: what a client of Tidegate has behind it in a test.

A test that plays the service itself takes a :func:`listening` socket and :func:`accept`\\ s from it;
where many visitors come at once, :func:`service` runs a function on a thread for each.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.site import PATIENCE, read_all

Handler = Callable[[socket.socket], None]


def listening(at: str | Path = "127.0.0.1") -> socket.socket:
    """A socket that listens at a free port of an address, or at a path."""
    if isinstance(at, Path):
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(at))
        opened.listen(512)
    else:
        family = socket.AF_INET6 if ":" in at else socket.AF_INET
        opened = socket.create_server((at, 0), family=family, backlog=512)
    opened.settimeout(PATIENCE)
    return opened


def target(listener: socket.socket) -> str:
    """The socket's address as a state file of a client has it."""
    name = listener.getsockname()
    return f"unix:{name}" if isinstance(name, str) else "{}:{}".format(*name[:2])


@contextmanager
def nobody_listening() -> Iterator[str]:
    """A target that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield target(bound)


def accept(listener: socket.socket) -> socket.socket:
    """The next connection, with a guard against hanging."""
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def read_until(connection: socket.socket, ending: bytes) -> bytes:
    """Everything until those bytes came last. That it ends before is a failure."""
    data = bytearray()
    while not data.endswith(ending):
        chunk = connection.recv(1 << 16)
        assert chunk, f"the end came after {bytes(data[-100:])!r}"
        data += chunk
    return bytes(data)


def reset(connection: socket.socket) -> None:
    """Close with RST, as a program that crashes does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def service(handler: Handler, at: str | Path = "127.0.0.1") -> Iterator[str]:
    """Run the handler on a thread for every connection, and close that when it returns. Yields the target.

    A handler whose visitor leaves too early is no failure; the visitor knows better.
    """

    def handle(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            handler(connection)

    def serve() -> None:
        while True:
            try:
                connection = accept(listener)
            except TimeoutError:
                continue
            except OSError:
                return  # the test is over
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with listening(at) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield target(listener)
        listener.shutdown(socket.SHUT_RDWR)


def echo(connection: socket.socket) -> None:
    """Say everything again, and end when the visitor has ended."""
    while chunk := connection.recv(1 << 16):
        connection.sendall(chunk)


def hash_at_the_end(connection: socket.socket) -> None:
    """Read to the end, and only then answer: with the SHA-256 of it all."""
    digest = hashlib.sha256(read_all(connection))
    connection.sendall(digest.hexdigest().encode())


def answering(answer: bytes) -> Handler:
    """Read the head of a request, answer, and let the end of the connection end the answer."""

    def handler(connection: socket.socket) -> None:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            chunk = connection.recv(1 << 16)
            if not chunk:
                return
            head += chunk
        connection.sendall(answer)

    return handler


def greeting(words: bytes) -> Handler:
    """Speak first, then listen until the visitor leaves."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(words)
        read_all(connection)

    return handler
