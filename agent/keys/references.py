"""Reading what a secret reference points at.

Rule: this file alone opens the files and looks up the variables in which keys
and certificates are kept. Whatever stands there, reading it neither hangs nor
fills the memory, and no message ever shows a byte of it.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, assert_never

from schemas.errors import TidegateError
from schemas.references import EnvRef, FileRef, InlinePem, Reference

# A bundle of every authority that browsers trust is a quarter of this.
MAX_SIZE: Final = 1024 * 1024
PEM: Final = "PEM"
LISTS: Final = "a revocation list"

_EXPOSED: Final = stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH

_MAKING: Final = {
    PEM: ", or make the key with tidegate pki",
    LISTS: ", or make the list with tidegate pki revoke",
}

_ADVICE: Final = {
    errno.ENOENT: "there is no such file: check the path",
    errno.EACCES: "this user may not read it: change its owner, or run as the user it belongs to",
    errno.EISDIR: "it is a directory: name the file in it",
    errno.ENXIO: "it is not a regular file: name one",
    errno.ENOTDIR: "a part of its path is a file: check the path",
    errno.ELOOP: "its links lead in a circle: check them",
    errno.ENAMETOOLONG: "the path is too long: check it",
}


class UnreadableReferenceError(TidegateError):
    """What a reference points at cannot be read; the message says what and why."""


def resolve(reference: Reference, *, limit: int = MAX_SIZE, kind: str = PEM) -> bytes:
    """The bytes a reference stands for. Whether they are a certificate or a key is for others to say.

    :param limit: more bytes are refused.
    :param kind: what messages call what should be there.
    :raises UnreadableReferenceError: if there are none, too many, or they cannot be read.
    """
    match reference:
        case FileRef(path):
            data = _read(path, limit, kind)
        case EnvRef(name):
            data = os.environb.get(os.fsencode(name), b"")
        case InlinePem(pem):
            data = pem.encode("utf-8")
        case _:
            assert_never(reference)
    if not data.strip():
        missing = isinstance(reference, EnvRef) and reference.name not in os.environ
        raise UnreadableReferenceError(
            f"{describe(reference)} is {'not set: set it' if missing else f'empty: put {kind} there'}, "
            "or change the reference in the state file"
        )
    if len(data) > limit:
        size = f"{limit // 1024} KiB" if limit >= 1024 else f"{limit} bytes"
        raise UnreadableReferenceError(f"{describe(reference)} holds more than {size}: is it really {kind}?")
    return data


def describe(reference: Reference) -> str:
    """What a message calls the thing: the path, ``$NAME``, or that it stands in the state file."""
    match reference:
        case FileRef(path):
            return path
        case EnvRef(name):
            return f"${name}"
        case InlinePem():
            return "the PEM in the state file"
        case _:
            assert_never(reference)


def exposure(reference: Reference, *, kind: str = "private key") -> str | None:
    """A warning if anybody can read a secret, or others than its owner change it.

    A group that may read it is somebody's decision (Debian's ssl-cert, a Kubernetes fsGroup) and no accident.
    Variables and inline PEM have no mode of their own.
    """
    if not isinstance(reference, FileRef):
        return None
    try:
        mode = stat.S_IMODE(Path(reference.path).stat().st_mode)
    except OSError:
        return None
    if not mode & _EXPOSED:
        return None
    path = reference.path
    return f"the {kind} {path} is open to others (mode {mode:04o}): run chmod 600 {path}"


def _read(path: str, limit: int, kind: str) -> bytes:
    """A regular file, one byte more than the limit at most."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableReferenceError(f"{path} is not a regular file: name one")
            return file.read(limit + 1)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}: check the path")
        if error.errno == errno.ENOENT:
            advice += _MAKING.get(kind, "")
        raise UnreadableReferenceError(f"{path} cannot be read; {advice}") from error


def _open_at_once(path: str, flags: int) -> int:
    """Opening a named pipe otherwise waits for a writer that may never come."""
    return os.open(path, flags | os.O_NONBLOCK)
