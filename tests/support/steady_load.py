"""Visitors that ask again and again, and write down what came of every request.

``python -m tests.support.steady_load HOST:PORT --keep 8 --each 8`` asks until its input ends. Some keep their
connection as long as it lasts, the others come anew for each request. Each request is a line of output: the
number of the visitor; when its connection was begun, when it began itself and how long it took, in seconds of
the system's monotonic clock; ``keep`` or ``each``; and who has answered or what went wrong. Those that are
under way at the end are finished.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from typing import Final

import anyio
import anyio.to_thread

_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: blog.example\r\n\r\n"
_PAUSE: Final = 0.02  # seconds between two requests of one visitor: a load, and not the machine's limit


class Connection:
    """One connection of a visitor."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def connect(self, address: tuple[str, int]) -> None:
        self._socket.connect_ex(address)
        await anyio.wait_writable(self._socket)
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def is_over(self) -> bool:
        """Whether the other end has closed it, as everybody looks who asks again on a connection."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    async def ask(self) -> str:
        """Who answers.

        :raises ValueError: with the status, if it is not 200.
        :raises OSError: if the connection breaks off.
        """
        self._socket.sendall(_REQUEST)
        answer = b""
        while True:
            head, end, body = answer.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                break
            await anyio.wait_readable(self._socket)
            data = self._socket.recv(65_536)
            if not data:
                raise EOFError
            answer += data
        status = head.split(b" ", 2)[1]
        if status != b"200":
            raise ValueError(status.decode())
        return body.decode()

    def close(self) -> None:
        self._socket.close()


class Load:
    """All visitors of one run.

    :param patience: seconds after which a visitor gives a request up.
    """

    def __init__(self, address: tuple[str, int], patience: float) -> None:
        self._address = address
        self._patience = patience
        self._ends = False

    async def run(self, *, keep: int, each: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number, kind in enumerate(["keep"] * keep + ["each"] * each):
                tasks.start_soon(self._visit, number, kind)
            await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            self._ends = True

    async def _visit(self, number: int, kind: str) -> None:
        connection: Connection | None = None
        while not self._ends:
            if connection is not None and (kind == "each" or connection.is_over()):
                connection.close()
                connection = None
            is_new = connection is None
            connection = connection or Connection()
            began = time.monotonic()
            who, error = None, None
            try:
                with anyio.fail_after(self._patience):
                    if is_new:
                        await connection.connect(self._address)
                    who = await connection.ask()
            except TimeoutError:
                error = "no answer in time"
            except (OSError, EOFError) as failure:
                error = type(failure).__name__
            except ValueError as failure:
                error = str(failure)
            took = time.monotonic() - began
            times = (round(seconds, 4) for seconds in (connection.begun, began, took))
            print(json.dumps([number, *times, kind, who, error]), flush=True)
            if error is not None:
                connection.close()
                connection = None
            await anyio.sleep(_PAUSE)
        if connection is not None:
            connection.close()


def _length(head: bytes) -> int:
    """What a response says of its body."""
    fields = head.lower().split(b"\r\n")
    return next(int(field.split(b":")[1]) for field in fields if field.startswith(b"content-length:"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--keep", type=int, default=8)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--patience", type=float, default=15.0)
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    load = Load((host, int(port)), options.patience)
    anyio.run(lambda: load.run(keep=options.keep, each=options.each))


if __name__ == "__main__":
    main()
