"""Several files of a directory, replaced as one.

Rule: a reader finds all of the old files or all of the new ones, also after the
writer was killed. What is to become of the files is written down first, in a note
beside them, and the moment in which the note is there is the moment of the change:
from then on a reader takes a file that is still the old one for the new one. The
files follow one by one, and then the note goes. Whoever writes next carries out what
a writer that died has left.

A file that is neither the old one nor the new one was changed by somebody else
since, and counts as it is.

Everything here but ``meant`` and ``read_note`` blocks on the disk: call it in a
worker thread.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from .placing import PRIVATE, NotPlaceableError, place, remove

NOTE: Final = ".tidegate.placing.json"
NOTE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes. Whoever has more in one directory replaces it in parts."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one file: None is that there is none."""

    name: str  # in its directory
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)  # it may hold inline keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """The same as the note has it: of the old file its digest is enough."""

    before: str | None
    after: bytes | None = field(repr=False)


Note: TypeAlias = Mapping[str, Noted]


def replace_together(directory: Path, changes: Sequence[Change]) -> None:
    """Carry out these changes, all or none of them.

    :raises OSError: if that could not be begun; the files are as before. Or, if it could
        not be ended: then readers see the new ones, and the next writer ends it.
    :raises NotPlaceableError: if it is more than fits.
    """
    finish(directory)
    if len(changes) > 1:
        data = _render(changes)
        if len(data) > NOTE_LIMIT:
            raise NotPlaceableError(
                f"these files are more than {NOTE_LIMIT >> 20} MiB together: replace some at a time"
            )
        model = next((directory / change.name for change in changes if change.before is not None), None)
        place(directory / NOTE, data, mode=PRIVATE, like=model)
    _carry_out(directory, {change.name: change.after for change in changes})
    if len(changes) > 1:
        remove(directory / NOTE)


def finish(directory: Path) -> None:
    """Carry out what a writer that died has left undone.

    :raises OSError: if the disk does not take it.
    :raises NotPlaceableError: if the note is not ours.
    """
    path = directory / NOTE
    try:
        note = read_note(path.read_bytes())
    except FileNotFoundError:
        return
    except ValueError as error:
        raise NotPlaceableError(f"{path} cannot be understood: remove it, and check its directory") from error
    _carry_out(
        directory, {name: noted.after for name, noted in note.items() if _is_old(directory, name, noted)}
    )
    remove(path)


def meant(note: Note, name: str, data: bytes | None) -> bytes | None:
    """What a file counts as that has this content now."""
    noted = note.get(name)
    return noted.after if noted is not None and _digest(data) == noted.before else data


def read_note(data: bytes) -> Note:
    """:raises ValueError: if that is not a note."""
    value = json.loads(data)
    try:
        if value["format_version"] != _FORMAT:
            raise ValueError("a note of another version")
        return {
            entry["name"]: Noted(
                before=entry["before"],
                after=None if entry["after"] is None else base64.b64decode(entry["after"], validate=True),
            )
            for entry in value["files"]
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("not a note") from error


def _render(changes: Iterable[Change]) -> bytes:
    entries = [
        {
            "name": change.name,
            "before": _digest(change.before),
            "after": None if change.after is None else base64.b64encode(change.after).decode("ascii"),
        }
        for change in changes
    ]
    return json.dumps({"format_version": _FORMAT, "files": entries}).encode()


def _carry_out(directory: Path, contents: Mapping[str, bytes | None]) -> None:
    # A directory without any state file is unreadable, so what is new comes before what is old goes.
    for name, data in contents.items():
        if data is not None:
            place(directory / name, data, like=_sibling(directory, name))
    for name, data in contents.items():
        if data is None:
            remove(directory / name)


def _sibling(directory: Path, name: str) -> Path | None:
    """A file whose owner and mode suit a new one of that name: one of its kind, beside it."""
    with suppress(OSError):
        suffix = Path(name).suffix
        kin = (path for path in sorted(directory.iterdir()) if path.suffix == suffix and path.name[0] != ".")
        return next(kin, None)
    return None


def _is_old(directory: Path, name: str, noted: Noted) -> bool:
    try:
        data = (directory / name).read_bytes()
    except FileNotFoundError:
        data = None
    return _digest(data) == noted.before


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()
