"""One end of a carrier that holds nothing but bytes: a TLS connection to a proxy, behind its CONNECT.

Rule: what comes is passed on as it is, and so is what is sent. It looks like a ``WebSocketEnd`` to whoever
moves the bytes, but has no frames: nothing is asked of the peer, and its end is that of the connection.
"""

from __future__ import annotations

from .cursor import Buffer


class PlainEnd:
    """Bytes in, bytes out. ``received`` counts what came in."""

    failure = ""  # whoever is behind it finds out what is missing

    def __init__(self) -> None:
        self.received = 0
        self.has_ended = False

    def receive(self, data: Buffer) -> bytes:
        """What came."""
        self.received += len(data)
        return bytes(data)

    def receive_end(self) -> None:
        """The connection has ended."""
        self.has_ended = True

    def send(self, data: Buffer) -> bytes:
        """These bytes, as they are to be written."""
        return bytes(data)

    def ping(self, value: int) -> bytes:
        """Nothing: the peer would take it for what it carries."""
        return b""

    def close(self) -> bytes:
        """The connection is to end. Nothing is said before."""
        self.has_ended = True
        return b""

    def take_answers(self) -> bytes:
        """Nothing: nobody asks."""
        return b""
