"""A name server that says what a test wants, also something else each time it is asked.

Rule: nothing here comes from the code under test. As much of RFC 1035 as a resolver asks of it: one question,
addresses or the lack of them, each for now alone.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

_HEADER: Final = struct.Struct("!HHHHHH")
_A, _AAAA = 1, 28
_ANSWER: Final = 0x8180  # a response, recursion desired and available
_NO_SUCH_NAME: Final = 3


class NameServer:
    """Answers until closed.

    :param connection: a UDP socket that is bound to port 53 of somewhere.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.asked: list[str] = []  # names, each time that somebody asks for their IPv4 addresses
        self._zone: dict[str, list[Sequence[str]]] = {}
        self._connection = connection
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def put(self, name: str, *answers: Sequence[str]) -> None:
        """The addresses of a name. Each answer is for one question, and the last one for all others.

        A question is one for IPv4 addresses: who wants IPv6 addresses as well asks for both.
        """
        self._zone[name] = list(answers)

    def close(self) -> None:
        with suppress(OSError):  # it has no peer; who waits for the next question is woken all the same
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        while True:
            try:
                query, asker = self._connection.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            self._connection.sendto(self._answer(query), asker)

    def _answer(self, query: bytes) -> bytes:
        number, *_ = _HEADER.unpack_from(query)
        labels, position = [], _HEADER.size
        while size := query[position]:
            labels.append(query[position + 1 : position + 1 + size].decode())
            position += 1 + size
        (kind,) = struct.unpack_from("!H", query, position + 1)
        question = query[_HEADER.size : position + 5]
        name = ".".join(labels).lower()
        answers = self._zone.get(name)
        if answers is None:
            return _HEADER.pack(number, _ANSWER | _NO_SUCH_NAME, 1, 0, 0, 0) + question
        now = answers[0]
        if kind == _A:
            self.asked.append(name)
            if len(answers) > 1:
                answers.pop(0)
        records = [_record(text, kind) for text in now if (":" in text) == (kind == _AAAA)]
        return _HEADER.pack(number, _ANSWER, 1, len(records), 0, 0) + question + b"".join(records)


def _record(text: str, kind: int) -> bytes:
    address = ipaddress.ip_address(text).packed
    return struct.pack("!HHHIH", 0xC000 | _HEADER.size, kind, 1, 0, len(address)) + address
