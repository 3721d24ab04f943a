"""How a change of an operator's files is undone: what is written down before, and what is done with it.

Rule: the note of a change is on the disk before anything is changed, and goes when the
change is kept or undone, so that at any moment a process may die: what is undone twice
is the same. Old files are put back only if every file is still what the change made of
it, or what it was before; otherwise somebody has changed one since, and all of them stay.
What of a change nobody confirmed is not done yet is never done.

The note is beside the state file, or in the directory of fragments, and begins with a
dot. So it is found by whoever knows where the state is, and needs not understand it.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from reconcile.journal import (
    NOTE,
    NOTE_LIMIT,
    Entry,
    Kept,
    Note,
    Side,
    Terms,
    digest_of_bytes,
    is_state_name,
    read_note,
    render_note,
)
from reconcile.placing import PRIVATE, NotPlaceableError, access_of, check_placeable, explain, place, remove
from reconcile.reading import StateText, UnreadableError, files_directory, read_regular, take_snapshot
from reconcile.taking_turns import TurnHeldError, turn
from reconcile.together import Change, finish, replace_instead, replace_together
from schemas.confirmation import ConfirmationRequest

from .paths import owned_name

_HOLDER: Final = "the agent, because nobody confirmed a change"
_KEEPER: Final = "the agent, because somebody confirmed a change"
_FINISHER: Final = "the agent, because a command died that was changing it"
_TURN_PATIENCE: Final = 10.0  # seconds for whoever is just putting the new files in place


class Undone(Enum):
    """What came of it."""

    RESTORED = "restored"
    LEFT = "left"  # somebody has changed the files since


class Keeping(Enum):
    """What came of a change that somebody wants to keep."""

    KEPT = "kept"
    NOT_THERE = "not there"  # a file is as it was before the change
    ENDED = "ended"  # another process has kept or undone it


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A change that can be undone."""

    terms: Terms
    files: tuple[Entry, ...]

    @property
    def names(self) -> list[str]:
        return [file.name for file in self.files]


def note_path(state: Path) -> Path:
    """Where a noted change is written down."""
    return (
        state / ".tidegate.confirmation" if state.is_dir() else state.with_name(f".{state.name}.confirmation")
    )


def has_left(state: Path) -> bool:
    """Whether somebody has left a change that can be undone, or that is not carried out."""
    return note_path(state).exists() or _is_unfinished(state)


def finish_others(state: Path) -> None:
    """Carry out what somebody has begun who died while he replaced several files, if nobody is to confirm it.

    :raises OSError: if the disk does not take it.
    :raises TidegateError: the same, in words.
    """
    if _is_unfinished(state) and not note_path(state).exists():
        finish(state)


def finish_orphan(state: Path) -> bool:
    """The same, unless whoever replaces the files is still at it.

    :returns: whether there was anything to do.
    :raises OSError: as ``finish_others``.
    :raises TidegateError: as ``finish_others``.
    """
    if _is_unfinished(state) and not note_path(state).exists():
        with suppress(TurnHeldError), turn(state, holder=_FINISHER):
            finish_others(state)
            return True
    return False


def write_note(state: Path, request: ConfirmationRequest, terms: Terms) -> Noted:
    """Write down how the change can be undone.

    :raises NotPlaceableError: if it could not be.
    """
    directory = files_directory(state)
    files: list[Entry] = []
    for wanted in request.files:
        path = directory / wanted.name
        if not _is_ours(state, wanted.name):
            raise NotPlaceableError(f"{path} is no file of this agent's state: name one that is")
        check_placeable(path)
        before, access = _read(path), access_of(path)
        digest = None if before is None else digest_of_bytes(before)
        if digest != wanted.before:
            raise NotPlaceableError(f"{path} has just been changed: look at it, then try again")
        files.append(
            Entry(
                name=wanted.name,
                before=None if digest is None else Side(digest=digest, data=before, access=access),
                after=None if wanted.after is None else Side(digest=wanted.after),
            )
        )
    noted = Noted(terms=terms, files=tuple(files))
    try:
        data = render_note(Note(files=noted.files, terms=terms))
        if len(data) > NOTE_LIMIT:
            limit = f"{NOTE_LIMIT >> 20} MiB"
            raise NotPlaceableError(f"the old files are more than {limit}: replace some at a time")
        place(note_path(state), data, mode=PRIVATE)
    except OSError as error:
        raise explain(note_path(state), error) from error
    return noted


def keep(state: Path, noted: Noted) -> Keeping:
    """Keep the change, if it is there.

    :raises OSError: if the disk does not take that.
    :raises TidegateError: the same, in words; or if somebody else is at it.
    """
    with turn(state, holder=_KEEPER, patience=_TURN_PATIENCE):
        try:
            is_noted = read_pending(state) == noted
        except ValueError:
            is_noted = False
        if not is_noted:
            return Keeping.ENDED
        if _is_unfinished(state):
            finish(state)
        directory = files_directory(state)
        if any(_digest(_read(directory / file.name)) == _digests(file)[0] for file in noted.files):
            return Keeping.NOT_THERE
        try:
            remove(note_path(state))
        except OSError as error:
            raise explain(note_path(state), error) from error
    return Keeping.KEPT


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
    directory = files_directory(state)
    found = {file.name: _read(directory / file.name) for file in noted.files}
    is_ours = all(_digest(found[file.name]) in _digests(file) for file in noted.files)
    changes: list[Change] = []
    if is_ours:
        before = {file.name: None if file.before is None else file.before.data for file in noted.files}
        changes = [
            Change(
                name=file.name,
                before=found[file.name],
                after=before[file.name],
                access=None if file.before is None else file.before.access,
            )
            for file in noted.files
            if found[file.name] != before[file.name]
        ]
        excuse(_as_restored(state, before))
    if state.is_dir():
        replace_instead(directory, changes)
    elif changes:
        replace_together(directory, changes)
    remove(note_path(state))
    return Undone.RESTORED if is_ours else Undone.LEFT


def _as_restored(state: Path, before: Mapping[str, bytes | None]) -> tuple[StateText, ...]:
    """The operator's files as they will be."""
    directory = files_directory(state)
    kept: dict[str, bytes] = {}
    if state.is_dir():
        own = owned_name(state)
        names = ((Path(text.name).name, text.data) for text in take_snapshot(state).texts)
        kept = {name: data for name, data in names if name != own}
    contents = {**kept, **before}
    return tuple(
        StateText(name=str(directory / name), directory=str(directory), data=data)
        for name, data in sorted(contents.items())
        if data is not None
    )


def read_pending(state: Path) -> Noted | None:
    """What an earlier process has written down.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is damaged.
    """
    path = note_path(state)
    try:
        data, _ = read_regular(path, name=str(path), limit=NOTE_LIMIT)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        raise OSError(error.problem.message) from error
    note = read_note(data, kept=Kept.BEFORE)
    if note.terms is None or not all(_is_ours(state, file.name) for file in note.files):
        raise ValueError("it is not what Tidegate writes there")
    return Noted(terms=note.terms, files=note.files)


def _is_unfinished(state: Path) -> bool:
    """Whether files are just being replaced, or somebody died at it."""
    return state.is_dir() and (state / NOTE).exists()


def _is_ours(state: Path, name: str) -> bool:
    """Whether that is a file of this state."""
    return is_state_name(name) and (state.is_dir() or name == state.name)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _digest(data: bytes | None) -> str | None:
    return None if data is None else digest_of_bytes(data)


def _digests(file: Entry) -> tuple[str | None, ...]:
    """Of the file before the change, and after it."""
    return tuple(None if side is None else side.digest for side in (file.before, file.after))
