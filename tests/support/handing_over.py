"""Sockets that are handed over as a service manager does it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from agent.inherited import Inherited


def opened(host: str = "127.0.0.1", port: int = 0, *, only_ipv6: bool = True) -> socket.socket:
    """A port that the service manager has opened."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    made.bind((host, port))
    made.listen()
    return made


@contextmanager
def handed_over(*sockets: socket.socket, name: str = "tidegate.socket") -> Iterator[Inherited]:
    """The program has a descriptor of each, and the service manager keeps its own until the block ends."""
    inherited = Inherited({os.dup(each.fileno()): name for each in sockets})
    try:
        yield inherited
    finally:
        for left in inherited._left:
            os.close(left.descriptor)
        for each in sockets:
            each.close()
