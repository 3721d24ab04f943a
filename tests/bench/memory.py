"""Memory: a system at rest, one with thousands of idle visitors, and one whose visitors ask and never read.

Rule: every measurement begins with processes that have just started, and counts what is resident (VmRSS) in
each of them. Buffers of the kernel are not in it, for no system.
"""

from __future__ import annotations

import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.support.services import listening, target

from . import proc
from .figures import Bound, Quantity, Sample, Target, Unit
from .services import ENDLESS
from .systems import WEB, Running, Services, System, cpu_seconds, started

FAMILY: Final = "memory"
STALLED: Final = 500
_ECHO: Final = "echo"
_WORDS: Final = b"a few words from each visitor, to and fro, before it falls silent"
_PATIENCE: Final = 20.0
_AT_ONCE: Final = 100  # visitors that arrive together: how many can is not what is measured here
_STILL: Final = 0.5  # seconds at rest, after which a process is taken to have all that it will take
_AT_REST: Final = 0.02  # seconds of CPU in that time that are not work, such as those of a ping
_SPARE: Final = 400  # descriptors that this process keeps for other things


def at_rest(side: str) -> Quantity:
    return Quantity(
        key=f"idle-{side}",
        title=f"memory at rest, {side}",
        unit=Unit.MEGABYTES,
        target=Target(bound=Bound.AT_MOST, limit=50, reference=None) if side == "gateway" else None,
    )


def each_visitor(side: str, visitors: int) -> Quantity:
    return Quantity(
        key=f"visitors-{side}",
        title=f"memory for each of {visitors:,} idle visitors, {side}",
        unit=Unit.KILOBYTES,
        target=Target(bound=Bound.AT_MOST, limit=6, reference=None),
    )


def with_stalled(side: str) -> Quantity:
    return Quantity(
        key=f"stalled-{side}",
        title=f"memory with {STALLED} visitors that never read, {side}",
        unit=Unit.MEGABYTES,
    )


def possible_visitors(wanted: int) -> int:
    """How many visitors this machine's limit of open files allows, after raising it as far as it goes.

    Both ends of every visitor's connection are in this process; each half of a tunnel needs two as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, (hard - _SPARE) // 2)


def measure(
    system: System, directory: Path, services: Services, *, visitors: int, number: int
) -> Iterator[Sample]:
    """One sample of each of the three quantities above, for each side."""

    def sample(quantity: Quantity, value: float) -> Sample:
        return Sample(quantity=quantity, system=system.name, number=number, value=value)

    with echo_service() as echo, started(system, directory / "idle", {**services, _ECHO: echo}) as now:
        before = _settled(now)
        for side, size in before.items():
            yield sample(at_rest(side), size / 1e6)
        with idle_visitors(now.public[_ECHO], visitors):
            for side, size in _settled(now).items():
                yield sample(each_visitor(side, visitors), (size - before[side]) / visitors / 1e3)
    with started(system, directory / "stalled", services) as now, stalled_visitors(now.public[WEB]):
        _settled(now)
        for side, processes in now.sides.items():
            size = sum(proc.peak(process.pid) for process in processes)
            yield sample(with_stalled(side), size / 1e6)


def _settled(now: Running) -> Mapping[str, int]:
    """What each side has resident, once nothing moves any more.

    Memory that does not grow is no sign of that: bytes can pass through a process for seconds, until the
    buffers of the kernel behind it are full, and only then pile up in it.
    """
    deadline = time.monotonic() + _PATIENCE
    since, worked = time.monotonic(), cpu_seconds(now)
    while time.monotonic() - since < _STILL and time.monotonic() < deadline:
        time.sleep(0.05)
        if cpu_seconds(now) - worked > _AT_REST:
            since, worked = time.monotonic(), cpu_seconds(now)
    return {
        side: sum(proc.resident(process.pid) for process in processes)
        for side, processes in now.sides.items()
    }


@contextmanager
def idle_visitors(address: str, count: int) -> Iterator[None]:
    """So many connections, over each of which a few words went both ways."""
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        for first in range(0, count, _AT_ONCE):
            opened = []
            for _ in range(first, min(first + _AT_ONCE, count)):
                visitor = stack.enter_context(socket.create_connection((host, int(port)), timeout=_PATIENCE))
                visitor.sendall(_WORDS)
                opened.append(visitor)
            for visitor in opened:
                _read_exactly(visitor, len(_WORDS))
        yield


@contextmanager
def stalled_visitors(address: str, count: int = STALLED) -> Iterator[None]:
    """Visitors that ask for a file without an end and take only what their own kernel takes for them."""
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(count):
            visitor = stack.enter_context(socket.socket())
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            visitor.settimeout(_PATIENCE)
            visitor.connect((host, int(port)))
            visitor.sendall(f"GET {ENDLESS} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        yield


def _read_exactly(visitor: socket.socket, size: int) -> None:
    while size:
        chunk = visitor.recv(size)
        if not chunk:
            raise ConnectionError("a visitor was turned away")
        size -= len(chunk)


@contextmanager
def echo_service() -> Iterator[str]:
    """Say everything again, on one thread for all connections. Yields the target to dial."""
    with listening() as listener, selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        wake, woken = socket.socketpair()
        selector.register(woken, selectors.EVENT_READ)

        def serve() -> None:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is woken:
                        return
                    if key.fileobj is listener:
                        connection, _ = listener.accept()
                        selector.register(connection, selectors.EVENT_READ)
                        continue
                    assert isinstance(key.fileobj, socket.socket)
                    _echo(key.fileobj, selector)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield target(listener)
        finally:
            wake.close()
            thread.join()
            for key in list(selector.get_map().values()):
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()


def _echo(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        words = connection.recv(1 << 16)
    except OSError:
        words = b""
    if words:
        connection.sendall(words)
    else:
        selector.unregister(connection)
        connection.close()
