"""Sending much without waiting for the reader: on a thread, with a hash of what was really sent."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Sequence
from typing import Final

from .site import PATIENCE

_BLOCK: Final = 1 << 16


class Talker:
    """Sends a stream of bytes that never repeats, until it is stopped, and then ends its direction."""

    def __init__(self, connection: socket.socket) -> None:
        self.sent = 0
        self.error: OSError | None = None
        self._connection = connection
        self._hash = hashlib.sha256()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say no more behind what is being sent now."""
        self._stopping.set()

    def finish(self) -> tuple[int, str]:
        """How much was sent until it stopped or broke, and the hash of it."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.sent, self._hash.hexdigest()

    def wait(self, seconds: float) -> None:
        """For its end, but no longer than that."""
        self._thread.join(seconds)

    def _talk(self) -> None:
        number = 0
        try:
            while not self._stopping.is_set():
                block = number.to_bytes(8, "big") * (_BLOCK // 8)
                number += 1
                rest = memoryview(block)
                while rest:
                    size = self._connection.send(rest)
                    self._hash.update(rest[:size])
                    self.sent += size
                    rest = rest[size:]
            self._connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.error = error


def wait_stuck(talkers: Sequence[Talker]) -> None:
    """Wait until none of them has got rid of anything for half a second: whoever could take it is full."""
    before: list[int] = []
    while (now := [talker.sent for talker in talkers]) != before:
        before = now
        talkers[0].wait(0.5)


def hash_of_the_rest(connection: socket.socket) -> tuple[int, str]:
    """Read to the end; how much that was, and its hash."""
    digest, size = hashlib.sha256(), 0
    while chunk := connection.recv(1 << 18):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()
