"""The unix socket of the API: how it comes into being and goes away.

Rule: from the moment the socket exists, nobody but its owner can connect to it. It
replaces a socket that a dead process left behind, never one that is served, and is
removed by nobody but whoever made it. One that a service manager made and handed over
is used as it is, but not if everybody can connect to it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent.inherited import Inherited
from schemas.errors import TidegateError

# The path of a unix socket ends with a zero byte: 108 bytes on Linux, 104 elsewhere (unix(7)).
LONGEST: Final = (108 if hasattr(socket, "SO_PEERCRED") else 104) - 1

_HOW: Final = "set socket in the state file to another path"


class AdminSocketError(TidegateError):
    """The admin socket cannot be made; the message says why and what to do."""


@contextmanager
def admin_socket(path: Path, inherited: Inherited | None = None) -> Iterator[socket.socket]:
    """The listening socket at that path, and nothing there any more at the end.

    :param inherited: sockets that were handed over. One of that path is used, and stays where it is.
    :raises AdminSocketError: as :func:`bind_admin_socket`; or if what was handed over is open to everybody.
    """
    handed_over = inherited.take_path(path) if inherited is not None else None
    if handed_over is not None:
        with handed_over:
            _check_mode(path)
            handed_over.setblocking(False)
            yield handed_over
        return
    listening = bind_admin_socket(path)
    made = os.stat(path)  # noqa: PTH116 - the counterpart of the lstat below
    try:
        yield listening
    finally:
        listening.close()
        with suppress(OSError):
            now = path.lstat()
            if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                path.unlink()


def bind_admin_socket(path: Path) -> socket.socket:
    """A non-blocking socket that listens at that path, mode 0600. Its directory is made if need be.

    :raises AdminSocketError: if something is in the way: another agent, a file, a
        permission, or the length of the path.
    """
    length = len(os.fsencode(path))
    if length > LONGEST:
        raise AdminSocketError(
            f"the path of the admin socket, {path}, has {length} bytes and may have {LONGEST}: "
            "set socket in the state file to a shorter one, for example /run/tidegate.sock"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(path.parent):
            _clear(path)
            return _bind(path)
    except OSError as error:
        raise AdminSocketError(
            f"the admin socket {path} cannot be made: {error.strerror or error}; {_HOW}"
        ) from error


def _check_mode(path: Path) -> None:
    """Whoever can connect is an admin.

    A group may be meant, but everybody is what a unit has that says nothing.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IWOTH:
        raise AdminSocketError(
            f"everybody may connect to the admin socket {path}, which was handed over with mode {mode:04o}: "
            "write SocketMode=0600 in its unit"
        )


@contextmanager
def _turn(directory: Path) -> Iterator[None]:
    """One agent at a time looks whether a socket is served and takes its place."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: then two starts at once may race
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove what a dead process left behind.

    :raises AdminSocketError: if what is there is in use, or not a socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AdminSocketError(f"{path} is in the way of the admin socket: move it, or {_HOW}")
    if _is_served(path):
        raise AdminSocketError(f"another agent serves {path}: stop it, or {_HOW}")
    path.unlink()


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # somebody listens, and has a queue
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except PermissionError:
            return True  # another user's, so it is not ours to remove
    return True


def _bind(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # bind() makes the socket with the mode that the umask leaves, and a chmod() that follows would come too
    # late for whoever connected in between. The umask belongs to the whole process: what another thread
    # makes in this moment may be less accessible than meant, never more.
    before = os.umask(0o077)
    try:
        listening.bind(str(path))
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    try:
        path.chmod(0o600)
        listening.setblocking(False)
        listening.listen()
    except OSError:
        listening.close()
        with suppress(OSError):
            path.unlink()
        raise
    return listening
