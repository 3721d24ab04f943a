"""Getting log lines out of the process without waiting for whoever reads them.

Rule: a line handed over here costs the caller a few microseconds and no
exception, whatever becomes of it. A thread of its own writes: a pipe that nobody
empties stops that thread and not the event loop, and a reader that has gone takes
the lines with it and nothing else.

Lines that find the queue full are dropped and counted; the count is written as
soon as there is room. Losing lines is better than losing visitors.

The first line of a quiet time is written at once, and what comes right behind it a
moment later, together: waking the thread for each line costs the event loop as much
as making the line.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TextIO

_CAPACITY: Final = 10_000  # lines: a few megabytes at most
_BATCH: Final = 256  # lines to one system call
_PAUSE: Final = 0.02  # nobody reads faster


class LogWriter:
    """Lines to a stream, from a thread.

    :param say_dropped: makes the line that reports how many were dropped.
    :param pause: seconds from one system call to the next, unless there is a whole batch to write.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        say_dropped: Callable[[int], str],
        capacity: int = _CAPACITY,
        pause: float = _PAUSE,
    ) -> None:
        self._stream = stream
        self._say_dropped = say_dropped
        self._capacity = capacity
        self._pause = pause
        self._dropped = 0
        self._reported = 0
        # Of all queues this one may be filled while the same thread is filling it: the garbage collector runs
        # wherever it likes, and what it finds may be logged.
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Hand over one line, without its end."""
        if self._lines.qsize() >= self._capacity:
            self._dropped += 1
        else:
            self._lines.put(line)

    def close(self, *, timeout: float) -> None:
        """Write what is there and stop.

        :param timeout: in seconds, how long to wait for a reader that is slow; the rest is lost.
        """
        self._lines.put(None)
        self._closing.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        lines: list[str | None] = []
        while None not in lines:
            lines = [self._lines.get()]
            with suppress(Empty):
                while len(lines) < _BATCH:
                    lines.append(self._lines.get_nowait())
            said = [line for line in lines if line is not None]
            dropped = self._dropped  # only ever grows, so no line is counted twice or forgotten
            if dropped > self._reported:
                said.append(self._say_dropped(dropped - self._reported))
                self._reported = dropped
            self._put("".join(f"{line}\n" for line in said))
            if len(lines) < _BATCH:
                self._closing.wait(self._pause)

    def _put(self, text: str) -> None:
        with suppress(Exception):  # whatever kind of stream it is, and however it is broken
            descriptor = self._descriptor()
            if descriptor is None:
                self._stream.write(text)
                self._stream.flush()
                return
            # Past the stream's own buffer: what a broken pipe leaves in there would fail once more at exit.
            data = memoryview(text.encode("utf-8", "backslashreplace"))
            while data:
                data = data[os.write(descriptor, data) :]

    def _descriptor(self) -> int | None:
        try:
            return self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # a stream in memory
            return None
