"""How a file is replaced, and the only way in which Tidegate replaces one.

Rule: a reader finds the old file or the new one, never a part of either, and after
``place`` returned the new one survives a power cut: a temporary file in the same
directory, fsync, rename, fsync of the directory. A writer that dies on the way
leaves the old file, and at most a temporary one that the next writer removes.

The new file has the owner, the group, the mode and the extended attributes (access
control lists are such) of the one it replaces, as far as this process may give them.
Temporary files begin with a dot, so that a source which reads the whole directory
ignores them. There is one writer of a path at a time; who takes turns with whom is for
the callers to arrange.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import TidegateError

PRIVATE: Final = 0o600
"""The mode of a new file that only its owner may read."""

_USUAL: Final = 0o666  # less what the umask takes away, as for any file that a person makes
_EVERYBODY: Final = 0o777
_SUFFIX: Final = ".tmp"

_WORDS: Final = {
    errno.EBUSY: "it is mounted by itself, and such a file cannot be replaced: mount its directory instead",
    errno.EACCES: "this user may not write to its directory: change that, or run this as its owner",
    errno.EPERM: "this user may not write to its directory: change that, or run this as its owner",
    errno.EROFS: "it is on a read-only file system: change it where it comes from",
    errno.ENOSPC: "the disk is full: free some space, then try again",
    errno.EDQUOT: "the disk quota is used up: free some space, then try again",
    errno.ENOENT: "its directory does not exist: make it, or correct the path",
    errno.ENOTDIR: "a part of its path is a file, not a directory: correct the path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may do what with a file."""

    mode: int
    owner: int
    group: int


class NotPlaceableError(TidegateError):
    """A file cannot be replaced by Tidegate; the message says why and what to do."""


def place(
    path: Path,
    data: bytes,
    *,
    mode: int = _USUAL,
    like: Path | None = None,
    access: Access | None = None,
) -> None:
    """Put a file with these bytes at ``path``. A symbolic link there is replaced, not followed.

    :param mode: of a file that replaces none, less the umask.
    :param like: the file whose owner and mode a new one has, if it replaces none.
    :param access: what the file has, whatever it replaces or is like.
    :raises OSError: if it could not be done. What was there is then still there, except
        when only the last step failed, to make the change outlast a power cut.
    """
    _remove_leftovers(path)
    temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}{_SUFFIX}")
    model = None
    if access is None:
        model = next((file for file in (path, like) if file is not None and _status(file) is not None), None)
    try:
        _write(temporary, data, mode=mode, model=model, access=access)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Let there be nothing at ``path``.

    :raises OSError: if it could not be done.
    """
    _remove_leftovers(path)
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def access_of(path: Path) -> Access | None:
    """Who may do what with the file at ``path``; None if there is none."""
    status = _status(path)
    return None if status is None else access_in(status)


def access_in(status: os.stat_result) -> Access:
    """The same of a file that looks like this."""
    return Access(mode=stat.S_IMODE(status.st_mode) & _EVERYBODY, owner=status.st_uid, group=status.st_gid)


def sync_directory(directory: Path) -> None:
    """Let what was renamed and removed in a directory survive a power cut.

    :raises OSError: if the disk cannot.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_placeable(path: Path) -> None:
    """Find out whether an operator's file could be replaced, without doing it.

    A symbolic link is refused: whatever made it, such as Kubernetes or a release tool,
    would put its own file back or be confused by ours.

    :raises NotPlaceableError: if it could not.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise explain(path, error) from error
    else:
        if stat.S_ISLNK(status.st_mode):
            raise NotPlaceableError(
                f"{path} is a symbolic link to {path.readlink()}: change the file that it leads to"
            )
        if not stat.S_ISREG(status.st_mode):
            raise NotPlaceableError(f"{path} is not a file: correct the path")
        if path.is_mount():
            raise NotPlaceableError(f"{path}: {_WORDS[errno.EBUSY]}")
    trial = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}{_SUFFIX}")
    try:
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
        trial.unlink()
    except OSError as error:
        raise explain(path, error) from error


def explain(path: Path, error: OSError) -> NotPlaceableError:
    """Why ``place`` or ``remove`` failed, for a person."""
    words = _WORDS.get(error.errno or 0, error.strerror or str(error))
    return NotPlaceableError(f"{path} cannot be replaced: {words}")


def _write(temporary: Path, data: bytes, *, mode: int, model: Path | None, access: Access | None) -> None:
    # What is to be readable for fewer than others is so from its first byte on.
    at_first = mode if model is None and access is None else PRIVATE
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, at_first)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if access is not None:
            _make_alike(file.fileno(), access)
        elif model is not None:
            wanted = access_of(model)
            if wanted is not None and _make_alike(file.fileno(), wanted):
                _copy_attributes(model, file.fileno())
        os.fsync(file.fileno())


def _make_alike(descriptor: int, wanted: Access) -> bool:
    """Give it the owner and the mode; whether it has the group, for whom its lists would be meant."""
    made = os.fstat(descriptor)
    if made.st_uid != wanted.owner:
        with suppress(PermissionError):  # only root gives files away
            os.fchown(descriptor, wanted.owner, -1)
    if made.st_gid != wanted.group:
        try:
            os.fchown(descriptor, -1, wanted.group)
        except PermissionError:
            os.fchmod(descriptor, wanted.mode & ~stat.S_IRWXG)  # what one group may read is not for another
            return False
    os.fchmod(descriptor, wanted.mode)
    return True


def _copy_attributes(model: Path, descriptor: int) -> None:
    if sys.platform != "linux":
        return
    with suppress(OSError):  # a file system without them
        for name in os.listxattr(model, follow_symlinks=False):
            with suppress(OSError):  # some are for root to give
                os.setxattr(descriptor, name, os.getxattr(model, name, follow_symlinks=False))


def _status(path: Path) -> os.stat_result | None:
    """Of a regular file."""
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            return status
    return None


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _remove_leftovers(path: Path) -> None:
    """Remove what a writer of this path that died has left behind."""
    for entry in path.parent.iterdir():
        if entry.name.startswith(_prefix(path)) and entry.name.endswith(_SUFFIX):
            with suppress(OSError):
                entry.unlink()
