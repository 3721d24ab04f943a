"""A web service that answers every request with its own name, and that can be made to fail.

``python -m tests.support.named_service NAME PORT``, on the loopback of whatever machine it runs on. It says
``ready`` when it listens. Signals:

- ``SIGUSR1``: nobody is accepted any more, and its queue is full: who connects is not answered by anyone.
- ``SIGUSR2``: whoever connects is accepted, and no request is answered.
- ``SIGHUP``: as in the beginning.

The machine has to be one of its own: the queue is filled by this process itself.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import anyio
import anyio.abc

_END_OF_HEAD: Final = b"\r\n\r\n"
_QUEUE: Final = 0  # room for one, as Linux counts


class NamedService:
    """The service in its three moods."""

    def __init__(self, name: str, port: int) -> None:
        body = name.encode()
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        self._port = port
        self._accepts = anyio.Event()
        self._accepts.set()
        self._answers = anyio.Event()
        self._answers.set()
        self._fillers: list[socket.socket] = []

    async def run(self) -> None:
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self._port))
            listening.listen(128)
            listening.setblocking(False)
            async with anyio.create_task_group() as tasks:
                with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP) as signals:
                    print("ready", flush=True)
                    tasks.start_soon(self._accept, listening, tasks)
                    await self._obey(signals, listening)

    async def _obey(self, signals: AsyncIterator[signal.Signals], listening: socket.socket) -> None:
        async for received in signals:
            match received:
                case signal.SIGUSR1:
                    self._accepts = anyio.Event()
                    listening.listen(_QUEUE)
                    self._fill_queue()
                case signal.SIGUSR2:
                    self._answers = anyio.Event()
                case _:
                    while self._fillers:
                        self._fillers.pop().close()
                    listening.listen(128)
                    self._accepts.set()
                    self._answers.set()
            print("ready", flush=True)

    def _fill_queue(self) -> None:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self._port))
            self._fillers.append(filler)

    async def _accept(self, listening: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.wait_readable(listening)
            await self._accepts.wait()
            with suppress(BlockingIOError):
                while self._accepts.is_set():
                    tasks.start_soon(self._serve, listening.accept()[0])

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with connection, suppress(OSError):
            head = b""
            while True:
                await anyio.wait_readable(connection)
                data = connection.recv(65_536)
                if not data:
                    return
                head += data
                if head.endswith(_END_OF_HEAD):
                    head = b""
                    await self._answers.wait()
                    connection.sendall(self._answer)


if __name__ == "__main__":
    anyio.run(NamedService(sys.argv[1], int(sys.argv[2])).run)
