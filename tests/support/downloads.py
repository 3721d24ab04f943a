"""A service that sends a known stream of bytes, and a visitor that stops in the middle of it."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tests.support.site import connect

_BLOCK = hashlib.shake_256(b"tidegate").digest(1 << 20)


@contextmanager
def download_server(address: str, *, megabytes: int) -> Iterator[str]:
    """Sends so many MiB to whoever connects, and ends. Yields ``address:port``."""
    with socket.create_server((address, 0), backlog=256) as listening:

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    for _ in range(megabytes):
                        connection.sendall(_BLOCK)
                except OSError:
                    pass  # the visitor left; a test that minds notices on its side

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield "{}:{}".format(*listening.getsockname()[:2])
        listening.shutdown(socket.SHUT_RDWR)


class Download:
    """A visitor of :func:`download_server` that reads when it is told to."""

    def __init__(self, listen: str, *, megabytes: int) -> None:
        self._left = megabytes << 20
        self._hash = hashlib.sha256()
        self._expected = hashlib.sha256(_BLOCK * megabytes).hexdigest()
        self._visitor = connect(listen)

    def __enter__(self) -> Download:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._visitor.close()

    def read(self, size: int) -> None:
        """Read that many bytes and no more."""
        while size:
            chunk = self._visitor.recv(min(size, 1 << 18))
            assert chunk, "the download was cut off"
            self._hash.update(chunk)
            size -= len(chunk)
            self._left -= len(chunk)

    def finish(self) -> None:
        """Read the rest: every byte must be there, and nothing behind it."""
        self.read(self._left)
        assert self._visitor.recv(1) == b""
        assert self._hash.hexdigest() == self._expected
