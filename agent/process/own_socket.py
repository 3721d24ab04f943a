"""Unix sockets that are ours alone: how one comes into being and goes away.

Rule: from the moment the socket exists, nobody but its owner can connect to it. It
replaces a socket that a dead process left behind, never one that is served, and is
removed by nobody but whoever made it. Blocks for a moment: before there is an event
loop to wait for, or in a worker thread.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import TidegateError

# The path of a unix socket ends with a zero byte: 108 bytes on Linux, 104 elsewhere (unix(7)).
LONGEST: Final = (108 if hasattr(socket, "SO_PEERCRED") else 104) - 1

_PATIENCE: Final = 1.0  # seconds
_LOOK_AGAIN: Final = 0.01


class OwnSocketError(TidegateError):
    """The socket cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketUse:
    """What a socket is for, in the words of messages about it."""

    name: str  # "the admin socket"
    setting: str  # what the state file calls it
    example: str  # of that setting, with a short path
    rival: str  # who may serve it already: "another agent"

    @property
    def remedy(self) -> str:
        return f"set {self.setting} in the state file to another path"


class OwnSocket:
    """A socket that was made, and whatever is at its path now. ``listening`` is non-blocking.

    :raises OwnSocketError: if something is in the way: another process, a file, a
        permission, or the length of the path.
    """

    def __init__(self, path: Path, use: SocketUse) -> None:
        self.listening = bind_own_socket(path, use)
        self._path = path
        try:
            made = os.stat(path)  # noqa: PTH116 - the counterpart of the lstat below
        except OSError as error:
            self.listening.close()
            raise OwnSocketError(
                f"{use.name} {path} was removed as soon as it was made: see who does that, or {use.remedy}"
            ) from error
        self._made = (made.st_dev, made.st_ino)

    @property
    def is_there(self) -> bool:
        """Whether who opens the path reaches this one: nobody has removed or replaced it."""
        try:
            now = self._path.lstat()
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == self._made

    def close(self) -> None:
        """Close it, and remove it if it is still there."""
        self.listening.close()
        self.remove()

    def remove(self) -> None:
        """Remove it if it is still there: a successor that took the path keeps it."""
        if self.is_there:
            with suppress(OSError):
                self._path.unlink()


def bind_own_socket(path: Path, use: SocketUse) -> socket.socket:
    """A non-blocking socket that listens at that path, mode 0600. Its directory is made if need be.

    :raises OwnSocketError: if something is in the way: another process, a file, a
        permission, or the length of the path.
    """
    length = len(os.fsencode(path))
    if length > LONGEST:
        raise OwnSocketError(
            f"the path of {use.name}, {path}, has {length} bytes and may have {LONGEST}: "
            f"set {use.setting} in the state file to a shorter one, for example {use.example}"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(path, use):
            _clear(path, use)
            return _bind(path)
    except OSError as error:
        raise OwnSocketError(
            f"{use.name} {path} cannot be made: {error.strerror or error}; {use.remedy}"
        ) from error


@contextmanager
def _turn(path: Path, use: SocketUse) -> Iterator[None]:
    """One process at a time looks whether a socket is served and takes its place.

    :raises OwnSocketError: if another one has been at it for long; it takes a moment only.
    """
    # No more than a moment's file, which nobody else may open: whoever may list a directory can lock that.
    lock = path.with_name(f"{path.name}.lock")
    patience_ends = time.monotonic() + _PATIENCE
    while (descriptor := _take(lock)) is None:
        if time.monotonic() >= patience_ends:
            raise OwnSocketError(
                f"{use.rival} is about to make {use.name} {path}, and is not done: "
                f"see who has {lock} open (fuser {lock}) and stop it, or {use.remedy}"
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


def _clear(path: Path, use: SocketUse) -> None:
    """Remove what a dead process left behind.

    :raises OwnSocketError: if what is there is in use, or not a socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OwnSocketError(f"{path} is in the way of {use.name}: move it, or {use.remedy}")
    if _is_served(path):
        raise OwnSocketError(f"{use.rival} serves {path}: stop it, or {use.remedy}")
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
