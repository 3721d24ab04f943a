"""How a change of an operator's files is undone: what is written down before, and what is done with it.

Rule: the note of a change is on the disk before anything is changed, and goes when the
change is kept or undone, so that at any moment a process may die: what is undone twice
is the same. Old files are put back only if every file is still what the change made of
it, or what it was before; otherwise somebody has changed one since, and all of them stay.

The note is beside the state file, or in the directory of fragments, and begins with a
dot. So it is found by whoever knows where the state is, and needs not understand it.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Final

from reconcile.placing import PRIVATE, NotPlaceableError, check_placeable, explain, place, remove
from reconcile.reading import StateText, take_snapshot
from reconcile.taking_turns import TurnHeldError, turn
from reconcile.together import Change, finish, replace_together
from schemas.confirmation import ConfirmationRequest

from .paths import owned_name

_HOLDER: Final = "the agent, because nobody confirmed a change"
_TURN_PATIENCE: Final = 10.0  # seconds for whoever is just putting the new files in place
_DAMAGED: Final = "it is not what Tidegate writes there"


class Undone(Enum):
    """What came of it."""

    RESTORED = "restored"
    LEFT = "left"  # somebody has changed the files since


@dataclass(frozen=True, slots=True, kw_only=True)
class OldFile:
    name: str
    before: bytes | None = field(repr=False)
    after: str | None  # the digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A change that can be undone."""

    deadline: datetime
    within: float
    files: tuple[OldFile, ...]


def note_path(state: Path) -> Path:
    """Where a noted change is written down."""
    return (
        state / ".tidegate.confirmation" if state.is_dir() else state.with_name(f".{state.name}.confirmation")
    )


def directory_of(state: Path) -> Path:
    """Where the files of a state are."""
    return state if state.is_dir() else state.parent


def digest_of_bytes(data: bytes | None) -> str | None:
    """SHA-256 in hex; None of nothing."""
    return None if data is None else hashlib.sha256(data).hexdigest()


def finish_others(state: Path) -> None:
    """Carry out what somebody has begun who died while he replaced several files.

    :raises OSError: if the disk does not take it.
    :raises TidegateError: the same, in words.
    """
    if state.is_dir():
        finish(state)


def write_note(state: Path, request: ConfirmationRequest, deadline: datetime) -> Noted:
    """Write down how the change can be undone.

    :raises NotPlaceableError: if it could not be.
    """
    directory = directory_of(state)
    files: list[OldFile] = []
    for wanted in request.files:
        path = directory / wanted.name
        if wanted.name.startswith(".") or not (state.is_dir() or wanted.name == state.name):
            raise NotPlaceableError(f"{path} is no file of this agent's state: name one that is")
        check_placeable(path)
        before = _read(path)
        if digest_of_bytes(before) != wanted.before:
            raise NotPlaceableError(f"{path} has just been changed: look at it, then try again")
        files.append(OldFile(name=wanted.name, before=before, after=wanted.after))
    noted = Noted(deadline=deadline, within=request.within, files=tuple(files))
    try:
        place(note_path(state), _render(noted), mode=PRIVATE)
    except OSError as error:
        raise explain(note_path(state), error) from error
    return noted


def forget(state: Path) -> None:
    """Keep the change.

    :raises NotPlaceableError: if the disk does not take that.
    """
    try:
        remove(note_path(state))
    except OSError as error:
        raise explain(note_path(state), error) from error


def put_back(state: Path, noted: Noted, excuse: Callable[[Sequence[StateText]], None]) -> Undone:
    """Undo the change.

    :param excuse: told the operator's files as they will be, for they are no accident.
    :raises OSError: if the disk does not take the old files.
    :raises TidegateError: the same, in words.
    """
    try:
        with turn(state, holder=_HOLDER, patience=_TURN_PATIENCE):
            return _put_back(state, noted, excuse)
    except TurnHeldError:  # by one that hangs; whoever hangs while it places finds out when it goes on
        return _put_back(state, noted, excuse)


def _put_back(state: Path, noted: Noted, excuse: Callable[[Sequence[StateText]], None]) -> Undone:
    directory = directory_of(state)
    finish_others(state)
    found = {file.name: _read(directory / file.name) for file in noted.files}
    is_ours = all(
        digest_of_bytes(found[file.name]) in (file.after, digest_of_bytes(file.before))
        for file in noted.files
    )
    if is_ours:
        changes = [
            Change(name=file.name, before=found[file.name], after=file.before)
            for file in noted.files
            if found[file.name] != file.before
        ]
        if changes:
            excuse(_as_restored(state, changes))
            replace_together(directory, changes)
    remove(note_path(state))
    return Undone.RESTORED if is_ours else Undone.LEFT


def _as_restored(state: Path, changes: Iterable[Change]) -> tuple[StateText, ...]:
    """The operator's files as they will be."""
    directory = directory_of(state)
    after = {change.name: change.after for change in changes}
    kept: dict[str, bytes] = {}
    if state.is_dir():
        own = owned_name(state)
        names = ((Path(text.name).name, text.data) for text in take_snapshot(state).texts)
        kept = {name: data for name, data in names if name != own}
    contents = {**kept, **after}
    return tuple(
        StateText(name=str(directory / name), directory=str(directory), data=data)
        for name, data in sorted(contents.items())
        if data is not None
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def read_note(state: Path) -> Noted | None:
    """What an earlier process has written down.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is damaged.
    """
    data = _read(note_path(state))
    if data is None:
        return None
    match json.loads(data):
        case {
            "format_version": 1,
            "deadline": str(deadline),
            "within": float(within),
            "files": [*files],
        }:
            return Noted(
                deadline=datetime.fromisoformat(deadline).astimezone(UTC),
                within=within,
                files=tuple(_old_file(file) for file in files),
            )
    raise ValueError(_DAMAGED)


def _old_file(value: object) -> OldFile:
    match value:
        case {"name": str(name), "before": None | str() as before, "after": None | str() as after}:
            data = None if before is None else base64.b64decode(before, validate=True)
            return OldFile(name=name, before=data, after=after)
    raise ValueError(_DAMAGED)


def _render(noted: Noted) -> bytes:
    return json.dumps(
        {
            "format_version": 1,
            "deadline": noted.deadline.isoformat(),
            "within": noted.within,
            "files": [
                {
                    "name": file.name,
                    "before": None if file.before is None else base64.b64encode(file.before).decode("ascii"),
                    "after": file.after,
                }
                for file in noted.files
            ],
        }
    ).encode("ascii")
