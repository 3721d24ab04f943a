"""Where the values of a document stand in its text.

Rule: a position is only ever asked for to blame something, so looking one up
never fails: a path that leads nowhere gives the deepest place on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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


@dataclass(slots=True, eq=False)
class Position:
    """Where one value starts, and where what is in it stands.

    ``keys`` is where the keys of a mapping stand, ``children`` where the values
    of a mapping or a list do. It is filled by the reader of a syntax and
    never changed after that.
    """

    spot: Spot
    keys: dict[str, Spot] = field(default_factory=dict)
    children: dict[str | int, Position] = field(default_factory=dict)

    def find(self, path: Path, *, key: bool = False) -> Spot:
        """Where the value at ``path`` starts, or with ``key`` its key in the mapping that holds it."""
        at = self
        for depth, step in enumerate(path):
            if key and depth == len(path) - 1 and isinstance(step, str) and step in at.keys:
                return at.keys[step]
            if step not in at.children:
                break
            at = at.children[step]
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
