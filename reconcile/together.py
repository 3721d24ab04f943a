"""Several files of a directory, replaced as one.

Rule: a reader finds all of the old files or all of the new ones, also after the
writer was killed. What is to become of the files is written down first, in a note
beside them (see ``journal``), and the moment in which the note is there is the moment
of the change: from then on a reader takes a file that is still the old one for the new
one. The files follow one by one, and then the note goes. Whoever writes next carries out
what a writer that died has left, or makes another change in its place.

A file that is neither the old one nor the new one was changed by somebody else
since, and counts as it is.

The note holds all of the new files and may be read by nobody but its owner. A file comes
to be for whom it was before, if that is known, and else for as few as any beside it.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from .journal import (
    NOTE,
    NOTE_LIMIT,
    Entry,
    Kept,
    Note,
    Seen,
    Side,
    digest_of_bytes,
    is_state_name,
    read_note,
    render_note,
    stamp_of,
    still_old,
)
from .placing import PRIVATE, Access, NotPlaceableError, access_of, place, remove
from .reading import UnreadableError, read_regular

_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one file: None is that there is none.

    ``access`` is whose it was when it was there last, for one that comes back.
    """

    name: str  # in its directory
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)  # it may hold inline keys
    access: Access | None = None


def replace_together(directory: Path, changes: Sequence[Change]) -> None:
    """Carry out these changes, all or none of them, after what a writer that died has left.

    :raises OSError: if that could not be begun; the files are as before. Or, if it could
        not be ended: then readers see the new ones, and the next writer ends it.
    :raises NotPlaceableError: if it is more than fits.
    """
    finish(directory)
    _replace(directory, changes, is_noted=len(changes) > 1)


def replace_instead(directory: Path, changes: Sequence[Change]) -> None:
    """Carry out these changes, and nothing of what a writer that died has left.

    :param changes: ``before`` is the content on the disk, whatever the note of that writer says.
    :raises OSError: as ``replace_together``.
    :raises NotPlaceableError: as ``replace_together``.
    """
    is_left = (directory / NOTE).exists()
    if changes:
        _replace(directory, changes, is_noted=is_left or len(changes) > 1)
    elif is_left:
        remove(directory / NOTE)


def finish(directory: Path) -> None:
    """Carry out what a writer that died has left undone.

    :raises OSError: if the disk does not take it.
    :raises NotPlaceableError: if the note is not ours.
    """
    path = directory / NOTE
    try:
        note = read_note(read_regular(path, name=str(path), limit=NOTE_LIMIT)[0], kept=Kept.AFTER)
    except FileNotFoundError:
        return
    except UnreadableError as error:
        raise NotPlaceableError(f"{path} cannot be read: {error.problem.message}") from error
    except ValueError as error:
        raise NotPlaceableError(f"{path} cannot be understood: remove it, and check its directory") from error
    _carry_out(directory, still_old(note, _look(directory, note)))
    remove(path)


def _replace(directory: Path, changes: Sequence[Change], *, is_noted: bool) -> None:
    note = Note(files=tuple(_entry(directory, change) for change in changes))
    if is_noted:
        for change in changes:
            if not is_state_name(change.name):
                raise NotPlaceableError(f"{directory / change.name} is no state file: choose another name")
        data = render_note(note)
        if len(data) > NOTE_LIMIT:
            raise NotPlaceableError(
                f"these files are more than {NOTE_LIMIT >> 20} MiB together: replace some at a time"
            )
        place(directory / NOTE, data, mode=PRIVATE, access=_private(directory, changes))
    _carry_out(directory, note.files)
    if is_noted:
        remove(directory / NOTE)


def _entry(directory: Path, change: Change) -> Entry:
    before = after = None
    if change.before is not None:
        before = Side(digest=digest_of_bytes(change.before))
        with suppress(OSError):
            stamp = stamp_of((directory / change.name).stat())
            before = replace(before, stamp=stamp)
    if change.after is not None:
        digest = digest_of_bytes(change.after)
        after = Side(digest=digest, data=change.after, access=change.access)
    return Entry(name=change.name, before=before, after=after)


def _carry_out(directory: Path, entries: Iterable[Entry]) -> None:
    # A directory without any state file is unreadable, so what is new comes before what is old goes.
    gone: list[Path] = []
    for entry in entries:
        path = directory / entry.name
        if entry.after is None or entry.after.data is None:
            gone.append(path)
        elif access_of(path) is None and entry.after.access is not None:
            place(path, entry.after.data, access=entry.after.access)
        else:
            place(path, entry.after.data, like=_strictest(directory, entry.name))
    for path in gone:
        remove(path)


def _strictest(directory: Path, name: str) -> Path | None:
    """A file whose owner and mode suit a new one of that name: of its kind, beside it, and for the fewest."""
    with suppress(OSError):
        kin = [
            path
            for path in sorted(directory.iterdir())
            if path.suffix == Path(name).suffix and is_state_name(path.name)
        ]
        known = [(path, access) for path in kin if (access := access_of(path)) is not None]
        return min(known, key=lambda one: (one[1].mode & _OTHERS).bit_count(), default=(None, None))[0]
    return None


def _private(directory: Path, changes: Iterable[Change]) -> Access | None:
    """The access of the note: the agent, whose files these are, is to read it, and nobody else."""
    found = (access_of(directory / change.name) for change in changes)
    model = next((access for access in found if access is not None), None)
    return None if model is None else replace(model, mode=PRIVATE)


def _look(directory: Path, note: Note) -> dict[str, Seen]:
    """The files that a note names, as they are now."""
    seen: dict[str, Seen] = {}
    for entry in note.files:
        path = directory / entry.name
        with suppress(FileNotFoundError):
            try:
                data, status = read_regular(path, name=str(path))
            except UnreadableError as error:
                raise NotPlaceableError(f"{path} cannot be read: {error.problem.message}") from error
            seen[entry.name] = Seen(data=data, stamp=stamp_of(status))
    return seen
