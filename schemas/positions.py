"""Where the values of a document stand in its text.

Rule: a position is only ever asked for to blame something, so looking one up
never fails: a path that leads nowhere gives the deepest place on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from .errors import Place, Problem
from .quoting import quote

#: Line and column, both counted from 1; columns are characters.
Spot: TypeAlias = tuple[int, int]

#: From the whole document to a value: keys of mappings and indexes of lists.
Path: TypeAlias = tuple[str | int, ...]

#: Deeper than any state file needs, shallow enough for every recursive walk over a value.
MAX_DEPTH: Final = 64
TOO_DEEP: Final = f"this is nested more than {MAX_DEPTH} levels deep; a state file needs no more than five"


class Position:
    """Where one value starts, and where what is in it stands.

    Filled by the reader of a syntax, and never changed after that. A document
    has one for every value, so those of scalars hold no containers.
    """

    __slots__ = ("_entries", "_items", "spot")

    def __init__(self, spot: Spot) -> None:
        self.spot = spot
        self._entries: dict[str, tuple[Spot, Position]] | None = None  # of a mapping: key and value
        self._items: list[Position] | None = None  # of a list

    @property
    def is_list(self) -> bool:
        """Whether anything was appended."""
        return self._items is not None

    def put(self, key: str, at: Spot, position: Position) -> None:
        """Add an entry of a mapping. Given again, a key keeps its first place."""
        if self._entries is None:
            self._entries = {}
        first = self._entries.get(key)
        self._entries[key] = (at if first is None else first[0], position)

    def append(self, position: Position) -> None:
        """Add an item of a list."""
        if self._items is None:
            self._items = []
        self._items.append(position)

    def key(self, key: str) -> Spot | None:
        """Where a key of this mapping stands, None if there is none."""
        entry = None if self._entries is None else self._entries.get(key)
        return None if entry is None else entry[0]

    def child(self, step: str | int) -> Position | None:
        """What stands behind a key or at an index, which may be negative; None if nothing does."""
        if isinstance(step, str):
            entry = None if self._entries is None else self._entries.get(step)
            return None if entry is None else entry[1]
        items = self._items or ()
        return items[step] if -len(items) <= step < len(items) else None

    def find(self, path: Path, *, key: bool = False) -> Spot:
        """Where the value at ``path`` starts, or with ``key`` its key in the mapping that holds it."""
        at = self
        for depth, step in enumerate(path):
            if key and depth == len(path) - 1 and isinstance(step, str):
                return at.key(step) or at.spot
            inner = at.child(step)
            if inner is None:
                break
            at = inner
        return at.spot


def spot_at(text: str, index: int) -> Spot:
    """The spot of a character, given its index in the text."""
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def end_spot(text: str) -> Spot:
    """The spot just behind the last character."""
    return spot_at(text, len(text))


def place(file: str, spot: Spot) -> Place:
    """A spot in a named file."""
    return Place(file, *spot)


def duplicate_key(file: str, key: str, first: Spot, second: Spot) -> Problem:
    """The problem that one mapping holds a key twice."""
    return Problem(
        place(file, second),
        f"the key {quote(key)} stands here a second time; keep one",
        see=place(file, first),
    )


def walk(value: object) -> Iterator[tuple[Path, object]]:
    """Every value in a document with its path, outermost first, without recursion.

    Nothing below ``MAX_DEPTH`` is entered, so that a caller may stop there.
    """
    pending: list[tuple[Path, object]] = [((), value)]
    while pending:
        path, at = pending.pop()
        yield path, at
        if len(path) > MAX_DEPTH:
            continue
        if isinstance(at, dict):
            pending.extend(((*path, step), inner) for step, inner in reversed(at.items()))
        elif isinstance(at, list):
            pending.extend(((*path, step), inner) for step, inner in reversed(list(enumerate(at))))
