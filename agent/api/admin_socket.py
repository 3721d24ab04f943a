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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent.process.inherited import Inherited
from schemas.errors import TidegateError

# The path of a unix socket ends with a zero byte: 108 bytes on Linux, 104 elsewhere (unix(7)).
LONGEST: Final = (108 if hasattr(socket, "SO_PEERCRED") else 104) - 1

# Seconds. It is the start, so nobody waits for the event loop yet but who wants to stop it again.
_PATIENCE: Final = 1.0
_LOOK_AGAIN: Final = 0.01

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
        with _turn(path):
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
def _turn(path: Path) -> Iterator[None]:
    """One agent at a time looks whether a socket is served and takes its place.

    :raises AdminSocketError: if another one has been at it for long; it takes a moment only.
    """
    # No more than a moment's file, which nobody else may open: whoever may list a directory can lock that.
    lock = path.with_name(f"{path.name}.lock")
    patience_ends = time.monotonic() + _PATIENCE
    while (descriptor := _take(lock)) is None:
        if time.monotonic() >= patience_ends:
            raise AdminSocketError(
                f"another agent is about to make the admin socket {path}, and is not done: "
                f"see who has {lock} open (fuser {lock}) and stop it, or {_HOW}"
            )
        time.sleep(_LOOK_AGAIN)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _take(lock: Path) -> int | None:
    """A descriptor of the lock file, locked; None if another one has it now.

    :raises OSError: if there can be no such file.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if _is_locked(descriptor) and _is_at(lock, descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: then two starts at once may race
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether this is the file there still: whoever had it before removed it."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


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
