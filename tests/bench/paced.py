"""Small requests at a fixed rate, each timed from when it was due.

Rule: what is slow does not get fewer requests. A load generator that waits for an answer before it asks again
takes no measurement while the system stalls ("coordinated omission"), and its p99 looks well. Here requests
are due at a fixed rate, whether or not the ones before were answered. One that finds every connection busy
waits for one, and that wait is part of its latency, as it is for a visitor. So is the time by which this
program itself is late; it is reported beside the rest (``late_p99_ms``) and hits every system.

Run as a program, it prints one line of JSON::

    python tests/bench/paced.py HOST:PORT --rate 300 --seconds 3
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

_REQUEST: Final = b"GET /1k HTTP/1.1\r\nHost: bench\r\n\r\n"
_PATIENCE: Final = 5.0  # seconds that the last answers may take


class Connection:
    """One keep-alive connection, with at most one request under way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._answer = bytearray()

    def fileno(self) -> int:
        return self.socket.fileno()

    def ask(self, due: float) -> None:
        self.due = due
        self._answer.clear()
        self.socket.sendall(_REQUEST)

    def receive(self) -> bool:
        """Take what has come; whether the answer is complete.

        :raises ConnectionError: if it ended before.
        """
        chunk = self.socket.recv(1 << 16)
        if not chunk:
            raise ConnectionError("the answer ended too early")
        self._answer += chunk
        return is_complete(self._answer)


def is_complete(answer: bytes | bytearray) -> bool:
    """Whether the bytes are an answer to its end, which its head tells by Content-Length.

    :raises ConnectionError: if it is not the page.
    """
    head, found, body = bytes(answer).partition(b"\r\n\r\n")
    if not found:
        return False
    status, *fields = head.split(b"\r\n")
    if b" 200 " not in status:
        raise ConnectionError(status.decode("latin-1"))
    lengths = [
        value for name, _, value in (f.partition(b":") for f in fields) if name.lower() == b"content-length"
    ]
    return len(body) >= int(lengths[0])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def drive(host: str, port: int, *, rate: float, seconds: float, connections: int) -> dict[str, float]:
    """Send ``rate * seconds`` requests; what became of them. Times are in milliseconds.

    A request that is lost counts in ``lost`` and is as slow as patience is long.
    """
    with ExitStack() as stack:

        def connection() -> Connection:
            opened = Connection(host, port)
            stack.callback(opened.socket.close)
            return opened

        idle = deque(connection() for _ in range(connections))
        busy: set[Connection] = set()
        waiting: deque[float] = deque()
        latencies: list[float] = []
        late: list[float] = []
        lost = sent = 0
        total = max(1, round(rate * seconds))
        start = time.perf_counter()
        while sent < total or waiting or busy:
            now = time.perf_counter()
            if now > start + seconds + _PATIENCE:
                break
            while sent < total and start + sent / rate <= now:
                waiting.append(start + sent / rate)
                late.append(now - waiting[-1])
                sent += 1
            while waiting and idle:
                free = idle.popleft()
                free.ask(waiting.popleft())
                busy.add(free)
            pause = start + sent / rate - now if sent < total else _PATIENCE
            # select() keeps to microseconds; epoll rounds up to milliseconds.
            ready, _, _ = select.select(busy, (), (), max(0.0, pause))
            for one in ready:
                busy.remove(one)
                try:
                    if one.receive():
                        latencies.append(time.perf_counter() - one.due)
                        idle.append(one)
                    else:
                        busy.add(one)
                except OSError:
                    lost += 1
                    one.socket.close()
                    idle.append(connection())
        lost += len(waiting) + len(busy)
    ordered = sorted(latencies + [_PATIENCE] * lost)
    return {
        "requests": total,
        "lost": lost,
        **{f"p{percent}_ms": percentile(ordered, percent) * 1e3 for percent in (50, 90, 99)},
        "max_ms": ordered[-1] * 1e3,
        "late_p99_ms": percentile(sorted(late), 99) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Small requests at a fixed rate, each timed from when it was due."
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--after", type=float, default=0.0, help="seconds to wait first")
    options = parser.parse_args()
    time.sleep(options.after)
    host, _, port = options.address.rpartition(":")
    result = drive(
        host, int(port), rate=options.rate, seconds=options.seconds, connections=options.connections
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
