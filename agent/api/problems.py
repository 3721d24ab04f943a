"""What is wrong with a request, said to whoever sent it.

Rule: every answer that is not a success is one ``ApiError``, and names everything
that is wrong, not only the first thing, up to a number that somebody may read. What
is beyond it is not even worked out. A part of the body is named as its sender
knows it, ``[2].ListenPort`` for the port of the third entry; a part of a state
file by its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, TypeAlias

from schemas.errors import Place, Problem, TidegateError

#: How messages call the body of a request.
BODY: Final = "request body"

#: The media type of every error, RFC 9457.
PROBLEM_JSON: Final = "application/problem+json"

#: An answer is for somebody to read; a body of a megabyte can be wrong in half a million places.
MAX_PROBLEMS: Final = 1_000

#: From the body to a value in it: indexes of lists and keys of mappings.
Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProblem:
    """One thing to mend.

    :param path: the part of the body that is to blame, None if it is not the body.
    :param place: where that is, in the body or in a state file, if it is known.
    :param see: the other side of a clash, in words.
    """

    message: str
    path: Path | None = None
    place: Place | None = None
    see: str | None = None

    @classmethod
    def of(cls, problem: Problem) -> RequestProblem:
        """A problem of a file, as it is."""
        see = None if problem.see is None else str(problem.see)
        return cls(message=problem.message, place=problem.place, see=see)

    def __str__(self) -> str:
        """The whole problem on one line."""
        start = f"{self.place}: " if self.place is not None else ""
        if self.path:
            start = f"{spell(self.path)}: "
        end = f" (see {self.see})" if self.see is not None else ""
        return f"{start}{self.message}{end}"

    def to_json(self) -> dict[str, Any]:
        """``pointer`` is an RFC 6901 pointer into the body, null if the body is not to blame."""
        return {
            "text": str(self),
            "message": self.message,
            "pointer": None if self.path is None else _pointer(self.path),
            "file": None if self.place is None else self.place.file,
            "line": None if self.place is None else self.place.line,
            "col": None if self.place is None else self.place.col,
        }


class ApiError(TidegateError):
    """The request is refused. ``str()`` is the ``detail`` of the answer.

    :param headers: what the answer carries besides.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        problems: Iterable[RequestProblem] = (),
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.problems = limited(problems) or (RequestProblem(message=message),)

    def __reduce__(self) -> tuple[Any, ...]:
        """What a refusal is made of, for the way from one process to another."""
        return partial(ApiError, headers=self.headers), (self.status, str(self), self.problems)

    def to_json(self) -> dict[str, Any]:
        """The body of the answer, RFC 9457 section 3. A status code says which kind of error it is."""
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": str(self),
            "problems": [problem.to_json() for problem in self.problems],
        }


class PeerStalledError(TidegateError):
    """The peer does not take its answer; its connection is of no more use."""


def limited(problems: Iterable[RequestProblem]) -> tuple[RequestProblem, ...]:
    """As many of them as are told, and whether there are more. No further ones are asked for."""
    told = tuple(islice(problems, MAX_PROBLEMS + 1))
    if len(told) <= MAX_PROBLEMS:
        return told
    return (*told[:MAX_PROBLEMS], RequestProblem(message="and more problems; mend these first"))


def spell(path: Path) -> str:
    """``("2", "ListenPort")`` as a program would write it: ``[2].ListenPort``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _pointer(path: Path) -> str:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "".join(f"/{step}" for step in steps)
