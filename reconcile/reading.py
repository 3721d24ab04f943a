"""The state files as they are on disk at one moment.

Rule: whatever stands where a state file should be, reading it neither blocks nor
raises: it gives bytes, or a problem in words that say what to do. This file knows
nothing of what the bytes mean.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

from schemas.errors import Place, Problem, StateError, TidegateError
from schemas.text import MAX_BYTES, Document, read_document, syntax_for

from .journal import NOTE, NOTE_LIMIT, Kept, Note, Seen, is_state_name, meant, read_note, stamp_of
from .placing import Access, access_in

FRAGMENT_LIMIT: Final = 1000
"""Files in a directory of fragments."""

# Enough to outlast a copy of a few files; a directory that never rests is looked at again on the next ring.
_ATTEMPTS: Final = 3

_WORDS: Final = {
    errno.ENOENT: "there is no such file; create it or correct the path",
    errno.ENOTDIR: "a part of this path is a file, not a directory; correct the path",
    errno.EACCES: "this process may not read it; change its owner or mode",
    errno.EPERM: "this process may not read it; change its owner or mode",
    errno.ELOOP: "its symbolic links lead in a circle; correct them",
    errno.ENXIO: "it is a socket, not a file; correct the path",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENAMETOOLONG: "the path is too long; correct it",
    errno.EIO: "the disk could not be read",
    errno.ESTALE: "the network file system has lost it; mount it again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StateText:
    """One state file: its name in messages, the directory its paths are relative to, and its bytes."""

    name: str
    directory: str
    data: bytes = field(repr=False)  # it may hold inline keys
    owned: bool = False  # Tidegate's own fragment
    access: Access | None = field(default=None, compare=False)  # of the file on the disk, if it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All the files of one state, as they were at one moment."""

    texts: tuple[StateText, ...]
    digest: str
    """As ``digest_of`` tells."""


class UnreadableError(TidegateError):
    """What should be a state file cannot be read. ``problem`` says why and what to do."""

    def __init__(self, name: str, message: str) -> None:
        self.problem = Problem(place=Place(file=name, line=1, col=1), message=message)
        super().__init__(str(self.problem))


class RestlessError(UnreadableError):
    """The files are being changed. Reading them again will help."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a file looked like when it was read. Equal marks: it has not been touched since."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def take_snapshot(path: Path, *, owned: Path | None = None) -> Snapshot:
    """Read the state at ``path``, a file or a directory of fragments, and the owned fragment if there is one.

    Files that change while they are read are read again, so that the parts belong together.

    :raises RestlessError: if they change on and on.
    :raises UnreadableError: if there is nothing to read, or any part cannot be read.
    """
    for _ in range(_ATTEMPTS):
        texts, marks = _read_all(path, owned)
        if marks == _look_again(path, owned):
            return Snapshot(texts=texts, digest=digest_of(texts))
    raise RestlessError(str(path), "it changes faster than it can be read; it is read again soon")


def with_owned(texts: Iterable[StateText], *, owned: Path | None) -> Snapshot:
    """These texts as if they were the operator's files, and the owned fragment if there is one.

    :raises UnreadableError: if the fragment cannot be read.
    """
    ours = None if owned is None else _read_owned(owned)
    whole = (*texts, *(() if ours is None else ours[:1]))
    return Snapshot(texts=whole, digest=digest_of(whole))


def digest_of(texts: Iterable[StateText]) -> str:
    """SHA-256, in hex, of the lines that ``sha256sum`` prints in their directory, the owned one last.

    So it is the same wherever that directory is.
    """
    lines = (f"{hashlib.sha256(text.data).hexdigest()}  {PurePath(text.name).name}\n" for text in texts)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def files_directory(state: Path) -> Path:
    """Where the files of a state are."""
    return state if state.is_dir() else state.parent


def fragments(path: Path, *, owned: Path | None = None) -> tuple[Path, ...]:
    """The files that make up the state at ``path``, sorted by name, without the owned one.

    A path that is no directory is its own and only fragment. In a directory, dot
    files, schemas and files of another extension are not ours to read.

    :raises OSError: if the directory cannot be listed.
    """
    if not path.is_dir():
        return (path,)
    ours = _owned_name(path, owned)
    found = [entry for entry in path.iterdir() if is_state_name(entry.name) and entry.name != ours]
    return tuple(sorted(found, key=lambda entry: entry.name))


def _owned_name(path: Path, owned: Path | None) -> str | None:
    """The name of the owned fragment, if it is in that directory."""
    return owned.name if owned is not None and owned.parent.resolve() == path.resolve() else None


def read_regular(path: Path, *, name: str, limit: int = MAX_BYTES) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file, and what it looked like when they were read.

    :raises FileNotFoundError: if there is nothing at that path.
    :raises UnreadableError: if it cannot be read, or is more than ``limit`` bytes.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for its writer; without O_NOCTTY, a terminal becomes ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(name, _explain(error)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError(name, f"it is {_kind(status.st_mode)}, not a file; correct the path")
        chunks, size = [], 0
        while chunk := os.read(descriptor, 1 << 20):
            size += len(chunk)
            if size > limit:
                raise UnreadableError(
                    name, f"it is larger than {limit >> 20} MiB, the most a state file may be"
                )
            chunks.append(chunk)
    except OSError as error:
        raise UnreadableError(name, _explain(error)) from error
    finally:
        os.close(descriptor)
    return b"".join(chunks), status


def _read_all(path: Path, owned: Path | None) -> tuple[tuple[StateText, ...], dict[Path, _Mark]]:
    files = _listed(path, owned)
    note, marks = _read_note(path, owned) if files != (path,) else (Note(), {})
    seen: dict[str, Seen] = {}
    access: dict[str, Access] = {}
    for file in files:
        try:
            data, status = read_regular(file, name=str(file))
        except FileNotFoundError as error:
            if file.name not in {entry.name for entry in note.files}:
                raise UnreadableError(str(file), _explain(error)) from error
            continue
        marks[file] = _mark(status)
        seen[file.name] = Seen(data=data, stamp=stamp_of(status))
        access[file.name] = access_in(status)
    directory = files[0].parent
    contents = meant(note, seen)
    texts = [
        StateText(
            name=str(directory / name),
            directory=str(directory),
            data=contents[name],
            access=access.get(name),
        )
        for name in sorted(contents)
    ]
    if owned is not None and (ours := _read_owned(owned)) is not None:
        text, marks[owned] = ours
        texts.append(text)
    return tuple(texts), marks


def _read_note(path: Path, owned: Path | None) -> tuple[Note, dict[Path, _Mark]]:
    """What is to become of files in this directory that are just being replaced, see ``together``."""
    file = path / NOTE
    if not os.access(file, os.F_OK):
        return Note(), {}
    try:
        data, status = read_regular(file, name=str(file), limit=NOTE_LIMIT)
        note = read_note(data, kept=Kept.AFTER)
    except FileNotFoundError:
        return Note(), {}
    except ValueError as error:
        raise UnreadableError(str(file), "it cannot be understood; remove it") from error
    ours = _owned_name(path, owned)
    return Note(files=tuple(entry for entry in note.files if entry.name != ours)), {file: _mark(status)}


def _read_owned(owned: Path) -> tuple[StateText, _Mark] | None:
    try:
        data, status = read_regular(owned, name=str(owned))
    except FileNotFoundError:
        return None  # nothing is declared through the API
    return StateText(name=str(owned), directory=str(owned.parent), data=data, owned=True), _mark(status)


def _listed(path: Path, owned: Path | None) -> tuple[Path, ...]:
    try:
        files = fragments(path, owned=owned)
    except OSError as error:
        raise UnreadableError(str(path), _explain(error)) from error
    if not files:
        raise UnreadableError(
            str(path), "this directory holds no state files; put one into it (*.yaml, *.toml, *.json)"
        )
    if len(files) > FRAGMENT_LIMIT:
        raise UnreadableError(
            str(path), f"this directory holds more than {FRAGMENT_LIMIT} state files; merge some"
        )
    return files


def _look_again(path: Path, owned: Path | None) -> dict[Path, _Mark]:
    marks: dict[Path, _Mark] = {}
    try:
        files = fragments(path, owned=owned)
    except OSError:
        return marks
    for file in (*files, path / NOTE, *([] if owned is None else [owned])):
        try:
            marks[file] = _mark(file.stat())
        except OSError:
            continue  # it has just vanished: the marks differ
    return marks


def _mark(status: os.stat_result) -> _Mark:
    return _Mark(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified=status.st_mtime_ns,
        changed=status.st_ctime_ns,
    )


def _explain(error: OSError) -> str:
    if error.errno in _WORDS:
        return _WORDS[error.errno]
    return f"it cannot be read: {error.strerror or error}"


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def read_documents(texts: Iterable[StateText]) -> tuple[tuple[Document, ...], tuple[Problem, ...]]:
    """The texts that can be read as what their names say, and every problem of the others."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            documents.append(
                read_document(
                    text.data,
                    name=text.name,
                    directory=text.directory,
                    syntax=syntax_for(text.name),
                    owned=text.owned,
                )
            )
        except StateError as error:
            problems.extend(error.problems)
    return tuple(documents), tuple(problems)
