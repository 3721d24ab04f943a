"""Visitors who come without a pause, for whatever is done to the agents meanwhile."""

from __future__ import annotations

import threading

from .site import PATIENCE, connect, read_all


class Visitors:
    """Visitors who come one after the other, each with a connection of its own, until the block ends.

    ``served`` has what each was answered, ``refused`` who could not even connect, ``failures`` the others.
    """

    def __init__(self, listen: str, count: int) -> None:
        self._listen = listen
        self._is_over = threading.Event()
        self._grown = threading.Condition()
        self.refused: list[str] = []
        self.failures: list[str] = []
        self.served: list[str] = []
        self._threads = [threading.Thread(target=self._visit) for _ in range(count)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait_for_more(self, count: int) -> None:
        """Until so many more have been served."""
        wanted = len(self.served) + count
        with self._grown:
            assert self._grown.wait_for(lambda: len(self.served) >= wanted, PATIENCE), self.failures[-3:]

    def _visit(self) -> None:
        while not self._is_over.is_set():
            try:
                with connect(self._listen) as visitor:
                    visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    answer = read_all(visitor)
            except ConnectionRefusedError as error:
                self._note(self.refused, repr(error))
            except OSError as error:
                self._note(self.failures, repr(error))
            else:
                is_served = answer.startswith(b"HTTP/1.0 200 OK")
                told = answer.rpartition(b"\n")[2].decode()
                self._note(self.served if is_served else self.failures, told)

    def _note(self, book: list[str], line: str) -> None:
        with self._grown:
            book.append(line)
            self._grown.notify_all()
