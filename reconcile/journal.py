"""The note of a change of several files: what each was before, and what becomes of it.

Rule: there is one format of such notes, and nothing in a note is trusted. It names files of
its own directory, each by a name that a state file may have, or it is no note at all.
Everything that was written down is in the words of this file: the notes of a change that
is just being made (see ``together``) and of one that can still be undone hold the same.

A file counts as still the old one if it has the old content and nobody has touched it
since. Whoever puts an old content back takes the whole change back: then every file
counts as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePath
from typing import Final, TypeAlias

from schemas.errors import StateError
from schemas.text import syntax_for

from .placing import Access

NOTE: Final = ".tidegate.placing.json"
"""The note of a change that is just being made, in the directory of its files."""

NOTE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes. Whoever has more in one directory replaces it in parts."""

_FORMAT: Final = 1
_MODES: Final = 0o777
_LAST_ID: Final = 2**32 - 2  # of users and groups
_SCHEMA: Final = ".schema.json"  # what `tidegate schema` prints is put beside state files, for editors


class Kept(Enum):
    """Of which side of its files a note holds the content."""

    BEFORE = "before"
    AFTER = "after"


Stamp: TypeAlias = tuple[int, int]
"""The inode of a file and its last change, in nanoseconds: others once anybody has touched it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A file before a change, or after it."""

    digest: str
    data: bytes | None = field(default=None, repr=False)  # if that is written down; it may hold inline keys
    access: Access | None = None  # if it is known
    stamp: Stamp | None = None  # of the one that was there


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a change. None is that there is none."""

    name: str  # in its directory
    before: Side | None
    after: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Until when a change must be confirmed."""

    deadline: datetime
    within: float  # seconds, at first


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A change that was written down."""

    files: tuple[Entry, ...] = ()
    terms: Terms | None = None  # if it is to be confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file as it is now."""

    data: bytes = field(repr=False)
    stamp: Stamp


def is_state_name(name: str) -> bool:
    """Whether a file of that name in a directory of fragments is one of them."""
    try:
        syntax_for(name)
        os.fsencode(name)
    except (StateError, ValueError):
        return False
    is_plain = name == PurePath(name).name and "\0" not in name
    return is_plain and not name.startswith(".") and not name.endswith(_SCHEMA)


def digest_of_bytes(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file that looks like this."""
    return status.st_ino, status.st_ctime_ns


def still_old(note: Note, seen: Mapping[str, Seen]) -> tuple[Entry, ...]:
    """The files of a note that are still to be replaced, if these are there now."""
    found = [(entry, _is_before(entry, seen), _is_touched(entry, seen)) for entry in note.files]
    if any(is_before and is_touched for _, is_before, is_touched in found):
        return ()  # somebody has taken it back
    return tuple(entry for entry, is_before, _ in found if is_before)


def meant(note: Note, seen: Mapping[str, Seen]) -> dict[str, bytes]:
    """What the files in a directory count as, of which these are there now."""
    contents = {name: one.data for name, one in seen.items()}
    for entry in still_old(note, seen):
        data = None if entry.after is None else entry.after.data
        if data is None:
            contents.pop(entry.name, None)
        else:
            contents[entry.name] = data
    return contents


def _is_before(entry: Entry, seen: Mapping[str, Seen]) -> bool:
    now = seen.get(entry.name)
    if now is None or entry.before is None:
        return now is None and entry.before is None
    return digest_of_bytes(now.data) == entry.before.digest


def _is_touched(entry: Entry, seen: Mapping[str, Seen]) -> bool:
    now = seen.get(entry.name)
    if now is None or entry.before is None or entry.before.stamp is None:
        return False
    return now.stamp != entry.before.stamp


# The format


def render_note(note: Note) -> bytes:
    """The note as it is on the disk."""
    value: dict[str, object] = {
        "format_version": _FORMAT,
        "files": [
            {"name": entry.name, "before": _render_side(entry.before), "after": _render_side(entry.after)}
            for entry in note.files
        ],
    }
    if note.terms is not None:
        value["terms"] = {"deadline": note.terms.deadline.isoformat(), "within": note.terms.within}
    return json.dumps(value).encode("ascii")


def read_note(data: bytes, *, kept: Kept) -> Note:
    """
    :param kept: the side of which it must hold the content.
    :raises ValueError: if that is not such a note, or a name in it is not that of a state file.
    """
    try:
        value: object = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    match value:
        case {"format_version": version, "files": [*files], **more} if version == _FORMAT:
            entries = tuple(_read_entry(file, kept) for file in files)
            if len({entry.name for entry in entries}) < len(entries):
                raise ValueError("it names a file twice")
            return Note(files=entries, terms=_read_terms(more.get("terms")))
    raise ValueError("it is not what Tidegate writes there")


def _render_side(one: Side | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {
        "digest": one.digest,
        "data": None if one.data is None else base64.b64encode(one.data).decode("ascii"),
        "access": render_access(one.access),
        "stamp": one.stamp,
    }


def _read_terms(value: object) -> Terms | None:
    match value:
        case None:
            return None
        case {"deadline": str(deadline), "within": float(within)} if within >= 0:
            try:
                return Terms(deadline=datetime.fromisoformat(deadline).astimezone(UTC), within=within)
            except OverflowError as error:
                raise ValueError("its deadline is in no year") from error
    raise ValueError("it does not say until when it is to be confirmed")


def _read_entry(value: object, kept: Kept) -> Entry:
    match value:
        case {"name": str(name), "before": before, "after": after} if is_state_name(name):
            sides = {Kept.BEFORE: _read_side(before), Kept.AFTER: _read_side(after)}
            held = sides[kept]
            if held is not None and held.data is None:
                raise ValueError("it does not hold the content of a file")
            return Entry(name=name, before=sides[Kept.BEFORE], after=sides[Kept.AFTER])
    raise ValueError("it names something that is no state file")


def _read_side(value: object) -> Side | None:
    match value:
        case None:
            return None
        case {
            "digest": str(digest),
            "data": None | str() as text,
            "access": access,
            "stamp": None | [int(), int()] as stamp,
        }:
            data = None if text is None else base64.b64decode(text, validate=True)
            if data is not None and digest_of_bytes(data) != digest:
                raise ValueError("a file in it is damaged")
            return Side(
                digest=digest,
                data=data,
                access=read_access(access),
                stamp=None if stamp is None else (stamp[0], stamp[1]),
            )
    raise ValueError("it does not say what becomes of a file")


def render_access(access: Access | None) -> list[int] | None:
    """Who may do what with a file, as a value of JSON."""
    return None if access is None else [access.mode, access.owner, access.group]


def read_access(value: object) -> Access | None:
    """:raises ValueError: if no file can have it."""
    match value:
        case None:
            return None
        case [int(mode), int(owner), int(group)] if (
            0 <= mode <= _MODES and 0 <= owner <= _LAST_ID and 0 <= group <= _LAST_ID
        ):
            return Access(mode=mode, owner=owner, group=group)
    raise ValueError("nobody could have such a file")
