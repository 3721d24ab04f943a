"""One relay on a socket and a link that the test plays."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeAlias

from tests.support.mux_pair import End
from transport.pump.held import Held
from transport.pump.kept_stream import KeptStream
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.wire.mux import MuxStream, Role


class FakeSocket:
    """Takes what is written until it is told to be full."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.calls: list[str] = []
        self.buffered = 0
        self.protocol: Relay
        self.is_full = False
        self.eof_error: OSError | None = None
        self.family = socket.AF_INET6

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high == 0

    def get_extra_info(self, name: str) -> object:
        return {"peername": "/run/x.sock", "sockname": ("::1", 443, 0, 0), "socket": self}.get(name)

    def setsockopt(self, *option: object) -> None:
        pass

    def fileno(self) -> int:
        return -1  # nothing can be written past this transport

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def write(self, data: bytes) -> None:
        assert not self.is_closing()
        assert "write_eof" not in self.calls
        self.written.append(data)
        if self.is_full:
            self.buffered += len(data)
            self.protocol.pause_writing()

    def drain(self) -> None:
        self.is_full, self.buffered = False, 0
        self.protocol.resume_writing()

    def write_eof(self) -> None:
        self.calls.append("write_eof")
        if self.eof_error is not None:
            raise self.eof_error

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class FakeLink:
    """A mux whose output nobody takes, and a link that is full when the test says so."""

    def __init__(self) -> None:
        self.end = End(Role.SERVER)
        self.mux = self.end.mux
        self.held = Held(10**9)
        self.is_paused = False
        self.flush_at = 10**9
        self.waiting: list[Callable[[], None]] = []

    def flush_if_large(self) -> None:
        pass

    def call_when_writable(self, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        self.waiting = [other for other in self.waiting if other != callback]

    def as_link(self) -> Link:
        return self  # type: ignore[return-value]  # what a relay needs of a link


Fake: TypeAlias = tuple[Relay, FakeSocket, FakeLink]


def connect(relay: Relay) -> tuple[FakeSocket, FakeLink]:
    """Give the relay a socket; that, and a link it may open a stream on."""
    connection, link = FakeSocket(), FakeLink()
    connection.protocol = relay
    relay.connection_made(connection)  # type: ignore[arg-type]  # what it needs of a transport
    return connection, link


def stream_of(relay: Relay) -> MuxStream:
    """Itself, also while what is sent on it is kept."""
    assert relay.stream is not None
    return relay.stream.stream if isinstance(relay.stream, KeptStream) else relay.stream
