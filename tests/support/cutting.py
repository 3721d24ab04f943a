"""A network between two programs that a test can cut, break, freeze and slow down.

Rule: this file passes bytes on or does not. It changes none, repeats none and never puts one before
another. It runs on one thread of its own, so tests with an event loop and tests without one can use it.
"""

from __future__ import annotations

import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from .site import PATIENCE

_CHUNK: Final = 64 * 1024
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_TICK: Final = 20  # milliseconds between two looks while the network is slowed down

T = TypeVar("T")


class CuttingProxy:
    """Leads every connection to ``listen`` on to ``target``. Its methods may be called by any thread.

    :param target: ``address:port``, dialed anew for each connection. Where nobody listens, who came is
        reset.
    """

    def __init__(self, listen: str, target: str) -> None:
        self.listen = listen
        self._target = _split(target)
        self._listening = socket.create_server(_split(listen), backlog=64)
        self._listening.setblocking(False)
        self._pairs: list[_Pair] = []
        self._frozen = False
        self._meter = _Meter()
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bell, self._ringer = socket.socketpair()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"network at {listen}", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many connections lead through here now."""
        return self._do(lambda: len(self._pairs))

    def cut(self, count: int | None = None) -> int:
        """Close both ends of the oldest connections, of all unless told how many; how many there were.

        What was on its way is lost. Each end then hears that the other has closed.
        """
        return self._do(lambda: self._end(count, reset=False))

    def reset(self, count: int | None = None) -> int:
        """Break connections as :meth:`cut` does, with RST."""
        return self._do(lambda: self._end(count, reset=True))

    def freeze(self) -> None:
        """Pass nothing on, no end either, and let nobody in, until thawed. Nobody is told."""
        self._do(lambda: self._set_frozen(True))

    def thaw(self) -> None:
        self._do(lambda: self._set_frozen(False))

    def slow_down(self, rate: float) -> None:
        """Pass on so many bytes a second, both directions of all connections together."""
        self._do(lambda: self._meter.limit(rate))

    def speed_up(self) -> None:
        """Pass on what comes as fast as it comes, as from the beginning."""
        self._do(lambda: self._meter.limit(None))

    def close(self) -> None:
        """Break every connection and listen no more."""
        if not self._closed:
            self._do(self._shut)
            self._thread.join(PATIENCE)
            self._ringer.close()
            self._bell.close()  # not before: the thread may have obeyed when the bell is still to be rung

    # From here on: on the thread

    def _do(self, action: Callable[[], T]) -> T:
        """Let the thread do it, and wait until it is done."""
        done: Future[T] = Future()
        self._orders.put(lambda: done.set_result(action()))
        self._ringer.send(b"\0")
        return done.result(PATIENCE)

    def _run(self) -> None:
        while not self._closed:
            self._meter.look()
            poll = select.poll()
            poll.register(self._bell, select.POLLIN)
            waiting: dict[int, Callable[[], None]] = {}
            if not self._frozen:
                poll.register(self._listening, select.POLLIN)
                waiting[self._listening.fileno()] = self._accept
                for pair in self._pairs:
                    for descriptor, (events, step) in pair.wishes(may_read=self._meter.allowance > 0).items():
                        poll.register(descriptor, events)
                        waiting[descriptor] = step
            for descriptor, _ in poll.poll(_TICK if self._meter.is_limited else None):
                if descriptor in waiting:
                    waiting[descriptor]()
            self._pairs = [pair for pair in self._pairs if not pair.is_closed]
            self._obey()

    def _obey(self) -> None:
        self._bell.setblocking(False)
        with suppress(BlockingIOError):
            self._bell.recv(1024)
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return
            order()

    def _accept(self) -> None:
        try:
            visitor, _ = self._listening.accept()
        except OSError:
            return  # it has left again
        try:
            target = socket.create_connection(self._target, timeout=PATIENCE)
        except OSError:
            _close(visitor, reset=True)
            return
        self._pairs.append(_Pair(visitor, target, self._meter))

    def _end(self, count: int | None, *, reset: bool) -> int:
        doomed = self._pairs[:count]
        for pair in doomed:
            pair.close(reset=reset)
        del self._pairs[:count]
        return len(doomed)

    def _set_frozen(self, frozen: bool) -> None:
        self._frozen = frozen

    def _shut(self) -> None:
        self._end(None, reset=True)
        self._listening.close()
        self._closed = True


class _Meter:
    """How many bytes may be read now, when the network is slow."""

    def __init__(self) -> None:
        self.allowance = _CHUNK
        self._rate: float | None = None
        self._looked_at = 0.0

    @property
    def is_limited(self) -> bool:
        return self._rate is not None

    def limit(self, rate: float | None) -> None:
        self._rate = rate
        self._looked_at = time.monotonic()
        self.allowance = _CHUNK if rate is None else 0

    def look(self) -> None:
        """See what the time since the last look has brought."""
        if self._rate is not None:
            now = time.monotonic()
            earned = int(self._rate * (now - self._looked_at))
            if earned:
                self._looked_at = now
                self.allowance = min(self.allowance + earned, _CHUNK)

    def spend(self, size: int) -> None:
        if self._rate is not None:
            self.allowance -= size


class _Way:
    """One direction of a connection. What was read and is not yet written is a chunk at most."""

    def __init__(self, source: socket.socket, sink: socket.socket, meter: _Meter) -> None:
        self.source = source
        self.sink = sink
        self.held = b""
        self.ended = False
        self._meter = meter

    def read(self) -> None:
        """:raises OSError: if the source is broken."""
        if self._meter.allowance <= 0:
            return  # another one was faster
        self.held = self.source.recv(self._meter.allowance)
        self._meter.spend(len(self.held))
        if self.held:
            self.write()
        else:
            self.ended = True
            self.sink.shutdown(socket.SHUT_WR)

    def write(self) -> None:
        """:raises OSError: if the sink is broken."""
        with suppress(BlockingIOError):
            self.held = self.held[self.sink.send(self.held) :]


class _Pair:
    """One connection through the network: the socket of who came, and ours to the target."""

    def __init__(self, visitor: socket.socket, target: socket.socket, meter: _Meter) -> None:
        self.is_closed = False
        self._sockets = (visitor, target)
        for end in self._sockets:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ways = (_Way(visitor, target, meter), _Way(target, visitor, meter))

    def wishes(self, *, may_read: bool) -> dict[int, tuple[int, Callable[[], None]]]:
        """What to wait for at which descriptor, and what to do then."""
        found: dict[int, tuple[int, list[Callable[[], None]]]] = {}
        for way in self._ways:
            if way.held:
                end, event, step = way.sink, select.POLLOUT, way.write
            elif may_read and not way.ended:
                end, event, step = way.source, select.POLLIN, way.read
            else:
                continue
            events, steps = found.get(end.fileno(), (0, []))
            found[end.fileno()] = (events | event, [*steps, step])
        return {
            descriptor: (events, partial(self._take, steps)) for descriptor, (events, steps) in found.items()
        }

    def close(self, *, reset: bool) -> None:
        self.is_closed = True
        for end in self._sockets:
            _close(end, reset=reset)

    def _take(self, steps: Sequence[Callable[[], None]]) -> None:
        """Take steps, any of which may be in vain."""
        for step in steps:
            try:
                if not self.is_closed:
                    step()
            except BlockingIOError:
                continue
            except OSError:
                self.close(reset=True)  # what broke on one side is broken on the other
        if not self.is_closed and all(way.ended for way in self._ways):
            self.close(reset=False)


def _close(end: socket.socket, *, reset: bool) -> None:
    if reset:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    end.close()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@contextmanager
def cutting_proxy(listen: str, target: str) -> Iterator[CuttingProxy]:
    """A network that is taken down when the block ends."""
    proxy = CuttingProxy(listen, target)
    try:
        yield proxy
    finally:
        proxy.close()
