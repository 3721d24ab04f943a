"""What went wrong, said to a person.

Rule: every exception Tidegate raises is a ``TidegateError``, and its text can be
printed as it is: it says whose fault it is and what to do next, and it never
holds a secret.

::

    TidegateError           one line for a person
    └── StateError          a state file that cannot be used, with every problem in it

The other rooms add their own branches beside ``StateError``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class TidegateError(Exception):
    """The root of every exception that Tidegate raises. ``str()`` is one line for a person."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file: line and column count from 1, and columns are characters."""

    file: str
    line: int
    col: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.

    ``place`` is None when no file is to blame. ``see`` is the other place of a
    clash, for example where a name was used first.
    """

    place: Place | None
    message: str
    see: Place | None = None

    def __str__(self) -> str:
        start = "" if self.place is None else f"{self.place}: "
        end = "" if self.see is None else f" (see {self.see})"
        return f"{start}{self.message}{end}"


class StateError(TidegateError):
    """The state cannot be used. ``problems`` lists every reason and is never empty.

    ``str()`` is one line a problem. ``advice`` says what to do about all of them.
    """

    def __init__(self, problems: Iterable[Problem], *, advice: str = "mend it, then try again") -> None:
        self.advice = advice
        self.problems: tuple[Problem, ...] = tuple(problems)
        if not self.problems:
            raise ValueError("a StateError needs at least one problem")
        super().__init__("\n".join(str(problem) for problem in self.problems))
