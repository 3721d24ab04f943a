"""A long path on one machine: a TCP relay with a delay, a rate and a queue that ends.

Rule: a byte leaves when the link is free, at the rate of the link, and arrives after the delay. As much as
the queue holds may wait for the link; beyond that the relay does not read, so a sender meets backpressure
where a real path would drop a packet. All connections in one direction share the link.

Run as a program, a process of its own::

    python tests/bench/delaying_relay.py LISTEN TARGET --delay 0.05 --rate 400e6 --queue 1000000

Its sockets have small buffers, so that these are no second queue.
"""

from __future__ import annotations

import argparse
import math
import selectors
import socket
import time
from collections import deque
from typing import Final

_CHUNK: Final = 1 << 16
_BUFFER: Final = 1 << 18  # of each socket; the kernel doubles it


class Path:
    """One direction of a link: when what is sent will have arrived. Times are in seconds, sizes in bytes."""

    def __init__(self, *, delay: float, rate: float, queue: int) -> None:
        self.delay = delay
        self.rate = rate / 8
        self.queue = queue
        self._free_at = 0.0

    @property
    def in_flight_limit(self) -> int:
        """The most that can have been sent and not have arrived.

        Besides what the link and the queue hold, one piece that found a last byte of room, and one
        that has not arrived to its end.
        """
        return math.ceil(self.rate * self.delay) + self.queue + 2 * _CHUNK

    def room_at(self, now: float) -> float:
        """When something may be sent again: now, or when the queue will have room."""
        return max(now, self._free_at - self.queue / self.rate)

    def send(self, size: int, now: float) -> float:
        """Send so much now; the time at which all of it will have arrived."""
        self._free_at = max(now, self._free_at) + size / self.rate
        return self._free_at + self.delay


class Half:
    """One direction of one connection: read here, written there when it is due."""

    def __init__(self, path: Path, source: socket.socket, sink: socket.socket) -> None:
        self.path = path
        self.source = source
        self.sink = sink
        self.ended = False  # the source says nothing more
        self.done = False  # and the sink was told
        self._held = 0
        self._due: deque[tuple[float, memoryview]] = deque()

    def may_read_at(self, now: float) -> float | None:
        """When to read next; None while the far end takes too little, or when there is no more."""
        if self.ended or self._held > self.path.in_flight_limit:
            return None
        return self.path.room_at(now)

    def read(self, now: float) -> None:
        try:
            data = self.source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.ended = not data
        self._held += len(data)
        self._due.append((self.path.send(len(data), now), memoryview(data)))

    def next_due(self) -> float | None:
        return self._due[0][0] if self._due else None

    def write(self, now: float) -> bool:
        """Write what is due; whether the sink took it."""
        while self._due and self._due[0][0] <= now:
            due, data = self._due[0]
            try:
                if not data:
                    self.sink.shutdown(socket.SHUT_WR)
                taken = self.sink.send(data) if data else 0
            except BlockingIOError:
                return False
            except OSError:  # the far end has gone: what it would have got is lost, and nothing more is read
                self._due.clear()
                self.ended = self.done = True
                return True
            self._held -= taken
            if taken < len(data):
                self._due[0] = (due, data[taken:])
                return False
            self._due.popleft()
            self.done = not data
        return True


class Relay:
    """All connections, on one thread."""

    def __init__(self, listener: socket.socket, target: tuple[str, int], there: Path, back: Path) -> None:
        self._listener = listener
        self._target = target
        self._there = there
        self._back = back
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._halves: list[Half] = []

    def run(self) -> None:
        while True:
            now = time.monotonic()
            wait = self._prepare(now)
            ready = {key.fileobj for key, _ in self._selector.select(wait)}
            now = time.monotonic()
            if self._listener in ready:
                self._accept()
            for half in self._halves:
                if half.source in ready and half.may_read_at(now) == now:
                    half.read(now)

    def _prepare(self, now: float) -> float | None:
        """Write what is due, ask the selector for what can go on, and say when to look again."""
        events: dict[socket.socket, int] = {}
        times: list[float] = []
        for half in self._halves:
            took_all = half.write(now)
            due, readable = half.next_due(), half.may_read_at(now)
            if not took_all:
                events[half.sink] = events.get(half.sink, 0) | selectors.EVENT_WRITE
            elif due is not None:
                times.append(due)
            if readable == now:
                events[half.source] = events.get(half.source, 0) | selectors.EVENT_READ
            elif readable is not None:
                times.append(readable)
        self._forget_finished()
        self._ask(events)
        return max(0.0, min(times) - now) if times else None

    def _ask(self, events: dict[socket.socket, int]) -> None:
        registered = {key.fileobj: key.events for key in self._selector.get_map().values()}
        for one in registered.keys() - events.keys() - {self._listener}:
            self._selector.unregister(one)
        for one, wanted in events.items():
            if one.fileno() < 0:
                continue
            if one not in registered:
                self._selector.register(one, wanted)
            elif registered[one] != wanted:
                self._selector.modify(one, wanted)

    def _accept(self) -> None:
        visitor, _ = self._listener.accept()
        try:
            peer = socket.create_connection(self._target)
        except OSError:
            visitor.close()
            return
        for one in (visitor, peer):
            limit_buffers(one)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
        self._halves += [Half(self._there, visitor, peer), Half(self._back, peer, visitor)]

    def _forget_finished(self) -> None:
        """Close a connection both of whose directions have ended; they stand side by side in the list."""
        pairs = list(zip(self._halves[::2], self._halves[1::2], strict=True))
        for one, other in pairs:
            if one.done and other.done:
                self._halves.remove(one)
                self._halves.remove(other)
                for end in (one.source, one.sink):
                    if end in self._selector.get_map():
                        self._selector.unregister(end)
                    end.close()


def limit_buffers(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description="Relay TCP connections over a long path.")
    parser.add_argument("listen", metavar="HOST:PORT", type=_address)
    parser.add_argument("target", metavar="HOST:PORT", type=_address)
    parser.add_argument("--delay", type=float, required=True, help="seconds one way")
    parser.add_argument("--rate", type=float, required=True, help="bits a second, each way")
    parser.add_argument("--queue", type=int, required=True, help="bytes that may wait for the link, each way")
    options = parser.parse_args()
    with socket.create_server(options.listen) as listener:
        limit_buffers(listener)  # before a connection is accepted: a window once offered is not taken back
        listener.setblocking(False)
        there, back = (Path(delay=options.delay, rate=options.rate, queue=options.queue) for _ in "12")
        Relay(listener, options.target, there, back).run()


if __name__ == "__main__":
    main()
