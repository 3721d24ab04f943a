"""Sockets that are handed over as a service manager does it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agent.process.inherited import Inherited

# Becomes the program: its descriptors from 3 on are those that are named, and LISTEN_PID is its own. They are
# copied out of the way first, since one may have the number that another is to have.
_BECOME: Final = """
import fcntl, os, sys
names, *numbers = sys.argv[1 : sys.argv.index("--")]
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers]
for wanted, copy in enumerate(high, start=3):
    os.dup2(copy, wanted)
    os.close(copy)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
command = sys.argv[sys.argv.index("--") + 1 :]
os.execvp(command[0], command)
"""


def becoming(*sockets: socket.socket) -> list[str]:
    """What to put before a command that is to have these sockets. It must inherit their descriptors."""
    names = ":".join(f"socket{number}" for number in range(len(sockets)))
    return [sys.executable, "-c", _BECOME, names, *(str(each.fileno()) for each in sockets), "--"]


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
