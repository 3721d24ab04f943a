"""One at a time puts an operator's files in place.

Rule: whoever replaces the files of a state holds its turn from the moment it reads them
until they are replaced. A turn ends with the process that holds it, however that ends,
and a turn that is held says by whom. It binds those who ask for it: editors do not.

The turn is a lock (flock) on a file that begins with a dot beside the state file, or in
the directory of fragments, and is there only while it is held.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from schemas.errors import TidegateError

_STEP: Final = 0.05  # seconds between two attempts
# A file system without locks: then two at once may race, as they would without this file.
_WITHOUT_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_LONGEST: Final = 200  # bytes of a holder's name


class TurnHeldError(TidegateError):
    """Somebody else holds the turn; the message says who."""


@contextmanager
def turn(state: Path, *, holder: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the turn of a state, a file or a directory of fragments, during the block.

    :param holder: how others are told who holds it.
    :param patience: seconds to wait for it.
    :raises TurnHeldError: if somebody else holds it all that time.
    :raises OSError: if there is no place for it.
    """
    path = turn_path(state)
    descriptor = _take(path, state, patience)
    try:
        with suppress(OSError):  # another user's, which can be locked and not written to
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{holder}, process {os.getpid()}".encode()[:_LONGEST])
        yield
    finally:
        with suppress(OSError):  # while it is held, so that nobody loses one that is another's by now
            path.unlink()
        os.close(descriptor)


def turn_path(state: Path) -> Path:
    """The file that is locked."""
    return state / ".tidegate.turn" if state.is_dir() else state.with_name(f".{state.name}.turn")


def _take(path: Path, state: Path, patience: float) -> int:
    until = time.monotonic() + patience
    while True:
        descriptor = _open(path)
        try:
            _lock(descriptor)
            if _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)  # whoever held it has removed it; the next one is another file
        except BlockingIOError:
            holder = os.pread(descriptor, _LONGEST, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if time.monotonic() >= until:
                who = holder if holder.isprintable() and holder else "another process"
                raise TurnHeldError(
                    f"{who} is just changing {state}: wait until it has ended, then try again"
                ) from None
            time.sleep(_STEP)
        except BaseException:
            os.close(descriptor)
            raise


def _lock(descriptor: int) -> None:
    """:raises BlockingIOError: if somebody else has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags, 0o644)
    except PermissionError as refused:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # it is the directory that may not be written to
            raise refused from None


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
