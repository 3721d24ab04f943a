"""Files that somebody thinks of putting in the place of a state.

Rule: relative paths in them start where the state is, and not where they lie now: that
is what they will mean once they are in its place.

Everything here blocks on the disk.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconcile.reading import StateText
from schemas.errors import TidegateError

from .offline import read_texts


def candidate(new: Path, *, to: Path | None) -> tuple[StateText, ...]:
    """The texts of ``new``, a file or a directory of fragments, in the place of ``to``.

    :param to: the state they would replace; None if ``new`` is the state itself.
    :raises TidegateError: if there is nothing to read, or a file would replace a directory.
    """
    texts = read_texts(new)
    if to is None:
        return texts
    if to.is_dir() != new.is_dir() and to.exists():
        raise TidegateError(
            f"{new} is {_kind(new)} and {to} is {_kind(to)}: one replaces the other only if both are the same"
        )
    directory = str(to if new.is_dir() else to.parent)
    return tuple(replace(text, directory=directory) for text in texts)


def _kind(path: Path) -> str:
    return "a directory" if path.is_dir() else "a file"
