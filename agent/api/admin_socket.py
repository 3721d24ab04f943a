"""The unix socket of the API: how it comes into being and goes away.

Rule: it is ours alone, as ``process.own_socket`` says. One that a service manager made
and handed over is used as it is, but not if everybody can connect to it.
"""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.process.inherited import Inherited
from agent.process.own_socket import OwnSocket, OwnSocketError, SocketUse

ADMIN_SOCKET: Final = SocketUse(
    name="the admin socket", setting="socket", example="/run/tidegate.sock", rival="another agent"
)


@contextmanager
def admin_socket(path: Path, inherited: Inherited | None = None) -> Iterator[socket.socket]:
    """The listening socket at that path, and nothing there any more at the end.

    :param inherited: sockets that were handed over. One of that path is used, and stays where it is.
    :raises OwnSocketError: if it cannot be made; or if what was handed over is open to everybody.
    """
    handed_over = inherited.take_path(path) if inherited is not None else None
    if handed_over is not None:
        with handed_over:
            _check_mode(path)
            handed_over.setblocking(False)
            yield handed_over
        return
    made = OwnSocket(path, ADMIN_SOCKET)
    try:
        yield made.listening
    finally:
        made.close()


def _check_mode(path: Path) -> None:
    """Whoever can connect is an admin.

    A group may be meant, but everybody is what a unit has that says nothing.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IWOTH:
        raise OwnSocketError(
            f"everybody may connect to the admin socket {path}, which was handed over with mode {mode:04o}: "
            "write SocketMode=0600 in its unit"
        )
