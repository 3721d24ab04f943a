"""The last good states, on disk.

Rule: this file alone numbers and keeps what was accepted. Numbers only grow, over
restarts too, and the same content as last time keeps its number. Each generation is
one file, placed whole, so that a reader finds whole generations only; what is damaged
is told and left out. A disk that takes nothing costs the history and nothing else: what
could not be kept is counted all the same, and kept as soon as there is room.

A generation is a file of lines, each a JSON value: a head, and then a line for each
file of the state. The head is enough to list it. Their order is that of the numbers:
clocks jump. Beside them is the last number that was given and what it was given to, in a
file that is written over in place, for which there is room on a full disk.

Files may hold inline keys, so only the user of the agent may look into the directory.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, Final

import structlog

from schemas.errors import TidegateError
from schemas.state import State

from .difference import difference
from .journal import read_access, render_access
from .placing import PRIVATE, place, sync_directory
from .reading import StateText, digest_of

MOST_KEPT: Final = 20
"""Generations."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all generations together, but the last two are kept whatever their size."""

_ALWAYS_KEPT: Final = 2  # the one in force, and the one to return to
_NAME: Final = re.compile(r"(\d{8,18})\.json", re.ASCII)
_LAST: Final = "last"
_LAST_LINE: Final = re.compile(rb"(\d{18}) ([0-9a-f]{64})\n")
_MOST: Final = 10**17  # a number that is larger was not counted
_LONGEST_HEAD: Final = 4096
_PIECE: Final = 1 << 15  # characters that are encoded at once, in a tenth of a millisecond

_log: Any = structlog.get_logger("history")


class NotKeptError(TidegateError):
    """There is no such generation to return to; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A state that was accepted."""

    number: int
    accepted_at: datetime
    digest: str
    changed: str  # against the one before, in one line
    own: str  # digest of the operator's files among its files, which are what one returns to


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What a directory holds: the generations in their order, and what cannot be read any more."""

    generations: tuple[Generation, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unkept:
    """A generation that is to be kept as soon as that can be done."""

    number: int
    digest: str
    texts: Sequence[StateText]
    before: State | None
    state: State


class FileHistory:
    """A ``History`` that keeps what it counts in a directory.

    :param understand: what kept texts say, None if they say nothing any more.
    """

    def __init__(
        self,
        directory: Path,
        *,
        understand: Callable[[Sequence[StateText]], State | None],
        clock: Callable[[], datetime],
        most_kept: int = MOST_KEPT,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.directory = directory
        self._understand = understand
        self._clock = clock
        self._most_kept = most_kept
        self._most_bytes = most_bytes
        self._number = 0  # of the last one
        self._has_looked = False  # at what is in the directory
        self._digest = ""
        self._state: State | None = None
        self._damaged: tuple[str, ...] = ()
        self._trouble = ""
        self._is_kept = True  # the last one
        self._unkept: _Unkept | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be kept, or was not kept well."""
        return (*self._damaged, *([self._trouble] if self._trouble else []))

    def keep(self, texts: Sequence[StateText], state: State) -> int:
        """The generation of what has just been accepted."""
        with self._one_at_a_time:
            if not self._has_looked:
                self._look()
            number = self._number
            digest = digest_of(texts)
            is_new = digest != self._digest or number == 0
            if is_new or not self._is_kept:
                before = self._state or self._last_state(number)
                number += is_new
                one = _Unkept(number=number, digest=digest, texts=tuple(texts), before=before, state=state)
                self._write(one)
            self._number, self._digest, self._state = number, digest, state
            return number

    def retry(self) -> bool:
        """Keep the last one, if it could not be kept when it was accepted; whether it is kept by that."""
        with self._one_at_a_time:
            one = self._unkept
            if one is None:
                return False
            if not self._has_looked:
                self._look()
                if self._number > one.number:  # it has the number of another that is kept
                    self._unkept = None
                    return False
            self._write(one)
            return self._unkept is None

    def _look(self) -> None:
        """Go on from the last generation that is there, if that can be found out."""
        try:
            shelf = list_generations(self.directory)
            numbers = [number for number, _ in _files(self.directory)]
            given, digest = _read_last(self.directory)
        except OSError as error:
            self._note_trouble(
                f"nothing can be kept in {self.directory}: {error.strerror or error}; "
                "tidegate rollback cannot return to what is in force now"
            )
            return
        self._has_looked = True
        self._damaged = shelf.damaged
        for message in shelf.damaged:
            _log.warning("history_damaged", reason=message)
        last = max(numbers, default=0)  # a damaged one was counted, too
        if last > self._number and shelf.generations and shelf.generations[-1].number == last:
            self._digest = shelf.generations[-1].digest
        if given > max(self._number, last):
            self._digest, self._is_kept = digest, False
        self._number = max(self._number, last, given)

    def _last_state(self, number: int) -> State | None:
        try:
            return self._understand(read_generation(self.directory, number)[1])
        except Exception:  # noqa: BLE001 - it is only to say what changed
            return None

    def _write(self, one: _Unkept) -> None:
        self._is_kept, self._unkept = False, one
        if not self._has_looked:
            return  # it could take the place of another
        try:
            generation = Generation(
                number=one.number,
                accepted_at=self._clock(),
                digest=one.digest,
                changed=difference(one.before, one.state),
                own=digest_of([text for text in one.texts if not text.owned]),
            )
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                place(_path(self.directory, one.number), _render(generation, one.texts), mode=PRIVATE)
            finally:
                _write_last(self.directory, one.number, one.digest)
            self._remove_old()
        except Exception as error:  # noqa: BLE001 - whatever is wrong here, the state comes into force
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._note_trouble(
                f"generation {one.number} could not be kept in {self.directory}: {why}; "
                "tidegate rollback cannot return to it"
            )
        else:
            self._trouble = ""
            self._is_kept, self._unkept = True, None

    def _remove_old(self) -> None:
        sizes = {number: path.stat().st_size for number, path in _files(self.directory)}
        for number in self._least_wanted(list(sizes)):
            if len(sizes) <= self._most_kept and sum(sizes.values()) <= self._most_bytes:
                break
            _path(self.directory, number).unlink(missing_ok=True)
            del sizes[number]
        sync_directory(self.directory)

    def _least_wanted(self, numbers: Sequence[int]) -> Sequence[int]:
        """Those that may go, in that order: first what differs from the next one only by what was declared
        through the API. Else a program that declares often would leave nothing to return to.
        """
        own = {one.number: one.own for one in list_generations(self.directory).generations}
        old = numbers[: -min(_ALWAYS_KEPT, self._most_kept)]
        is_between = {
            number: number in own and own[number] == own.get(newer) for number, newer in pairwise(numbers)
        }
        return sorted(old, key=lambda number: (not is_between[number], number))

    def _note_trouble(self, message: str) -> None:
        if message != self._trouble:  # or it is only tried again
            _log.warning("history_not_kept", reason=message)
        self._trouble = message


def list_generations(directory: Path) -> Shelf:
    """What is kept in that directory; nothing if there is none.

    :raises OSError: if it cannot be looked into.
    """
    generations: list[Generation] = []
    damaged: list[str] = []
    for number, path in _files(directory):
        try:
            generations.append(_read_head(path, number))
        except FileNotFoundError:
            continue  # it has just become too old
        except (OSError, ValueError):
            damaged.append(f"{path} is damaged, and left out of the history: remove it")
    return Shelf(generations=tuple(generations), damaged=tuple(damaged))


def read_generation(directory: Path, number: int) -> tuple[Generation, tuple[StateText, ...]]:
    """A generation with its files. Their names are as they were in their directory.

    :raises NotKeptError: if it is not there, or damaged.
    """
    path = _path(directory, number)
    try:
        generation = _read_head(path, number)
        lines = path.read_bytes().splitlines()[1:]
        texts = tuple(_read_text(line) for line in lines)
    except FileNotFoundError as error:
        raise NotKeptError(f"generation {number} is not kept: see which are with tidegate history") from error
    except PermissionError as error:
        raise NotKeptError(
            f"{path} may not be read: run this as the user of the agent, or with sudo"
        ) from error
    except (OSError, ValueError) as error:
        raise NotKeptError(f"generation {number} is damaged ({path}): choose another one") from error
    if digest_of(texts) != generation.digest:
        raise NotKeptError(f"generation {number} is damaged ({path}): choose another one")
    return generation, texts


def _path(directory: Path, number: int) -> Path:
    return directory / f"{number:08d}.json"


def _files(directory: Path) -> list[tuple[int, Path]]:
    """Every generation by its number, the last one last."""
    try:
        entries = list(directory.iterdir())
    except FileNotFoundError:
        return []
    found = ((_NAME.fullmatch(entry.name), entry) for entry in entries)
    return sorted((int(match[1]), entry) for match, entry in found if match is not None)


def _read_last(directory: Path) -> tuple[int, str]:
    """The last number that was given, and the digest of what has it; 0 if that cannot be told."""
    try:
        with (directory / _LAST).open("rb") as file:
            match = _LAST_LINE.fullmatch(file.read(_LONGEST_HEAD))
    except (FileNotFoundError, NotADirectoryError):
        return 0, ""
    if match is None or int(match[1]) > _MOST:
        return 0, ""
    return int(match[1]), match[2].decode("ascii")


def _write_last(directory: Path, number: int, digest: str) -> None:
    """Write it down where it was, which is within one block."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(directory / _LAST, flags, PRIVATE)
    try:
        length = os.pwrite(descriptor, f"{number:018d} {digest}\n".encode("ascii"), 0)
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(text: StateText) -> str:
    """A file as JSON. In pieces, because the encoder holds up every visitor until it is done with a text."""
    name = PurePath(text.name).name
    head = json.dumps({"name": name, "owned": text.owned, "access": render_access(text.access)})
    content = text.data.decode("utf-8", "surrogateescape")
    starts = range(0, len(content), _PIECE)
    pieces = (json.dumps(content[start : start + _PIECE])[1:-1] for start in starts)
    return f'{head[:-1]}, "text": "{"".join(pieces)}"}}'


def _render(generation: Generation, texts: Sequence[StateText]) -> bytes:
    body = b"".join(_line(text).encode("ascii") + b"\n" for text in texts)
    head = {
        "format_version": 1,
        "generation": generation.number,
        "accepted_at": generation.accepted_at.isoformat(),
        "digest": generation.digest,
        "changed": generation.changed,
        "own": generation.own,
        "bytes": len(body),  # so that one that was cut off is known without reading it
    }
    return json.dumps(head).encode("ascii") + b"\n" + body


def _read_head(path: Path, number: int) -> Generation:
    """:raises ValueError: if it is damaged."""
    with path.open("rb") as file:
        line = file.readline(_LONGEST_HEAD)
    match _parse(line):
        case {
            "format_version": 1,
            "generation": int(found),
            "accepted_at": str(accepted_at),
            "digest": str(digest),
            "changed": str(changed),
            "bytes": int(size),
            **more,
        } if found == number and size == path.stat().st_size - len(line):
            return Generation(
                number=number,
                accepted_at=datetime.fromisoformat(accepted_at).astimezone(UTC),
                digest=digest,
                changed=changed,
                own=str(more.get("own", digest)),
            )
    raise ValueError("not a whole generation")


def _read_text(line: bytes) -> StateText:
    """:raises ValueError: if it is damaged."""
    match _parse(line):
        case {"name": str(name), "owned": bool(owned), "access": access, "text": str(text)} if (
            name == PurePath(name).name
        ):
            return StateText(
                name=name,
                directory="",
                data=text.encode("utf-8", "surrogateescape"),
                owned=owned,
                access=read_access(access),
            )
    raise ValueError("not a file of a generation")


def _parse(line: bytes) -> object:
    try:
        value: object = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value
