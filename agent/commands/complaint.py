"""What a person reads when a command fails.

Rule: one line on stderr that begins ``tidegate: error:`` and says what to do next,
after the problems of a state file, each on a line that an editor can jump to. No
traceback, unless the environment asks for one. Where ``--json`` was typed, stdout has one
JSON object all the same: the report of the command, or else that of its failure.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import typer

from agent.reports import problem_status
from schemas.errors import Problem, StateError, TidegateError
from schemas.failure_report import FailureReport

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130  # as agent.signals has it

TRACEBACK: Final = "TIDEGATE_TRACEBACK"


class ToldError(TidegateError):
    """Something went wrong, and the report of the command, which was printed, says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Complaint:
    """What there is to say of an error. ``message``: "" if there is nobody to be told."""

    status: int = FAILED
    message: str = ""
    problems: tuple[Problem, ...] = ()
    is_news: bool = True  # to whoever reads stderr
    is_told: bool = False  # on stdout


def complain(error: BaseException, *, arguments: Sequence[str] = ()) -> int:
    """Say what went wrong: on stderr, and as JSON on stdout if that was asked for.

    :param arguments: the words that were typed.
    :returns: the exit status that goes with it.
    """
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    complaints = [_explained(single) for single in _singles(error)]
    for complaint in complaints:
        for problem in complaint.problems:
            print(problem, file=sys.stderr)
        if complaint.message and complaint.is_news:
            print(f"tidegate: error: {complaint.message}", file=sys.stderr)
    try:
        if _wants_json(arguments):
            _print_json([one for one in complaints if one.message and not one.is_told])
        sys.stdout.flush()
    except OSError:  # told above, and to be told once more by Python at the end
        _forget_stdout()
    return complaints[-1].status if complaints else FAILED


def _wants_json(arguments: Sequence[str]) -> bool:
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _print_json(complaints: Sequence[_Complaint]) -> None:
    """On one line, which is what ``tidegate status --watch --json`` prints of anything."""
    if not complaints:
        return
    problems = [
        problem
        for complaint in complaints
        for problem in complaint.problems or (Problem(None, complaint.message),)
    ]
    report = FailureReport(
        error="; ".join(complaint.message for complaint in complaints),
        problems=tuple(map(problem_status, problems)),
    )
    print(report.model_dump_json())


def _one_line(text: str) -> str:
    """For texts of others, which may begin like a sentence or not end like one."""
    return " ".join(text.split())


def _explained(error: BaseException) -> _Complaint:
    match error:
        case StateError(problems=problems, advice=advice):
            found = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            message = f"the state has {found} and is not used: {advice}"
            return _Complaint(message=message, problems=tuple(problems))
        case TidegateError():
            return _Complaint(message=_one_line(str(error)), is_told=isinstance(error, ToldError))
        case typer.TyperException(exit_code=status):
            command = getattr(getattr(error, "ctx", None), "command_path", "tidegate")
            # Status 2 says that there are changes, where that is the question.
            return _Complaint(
                message=_usage(error, command), status=FAILED if command == "tidegate plan" else status
            )
        case KeyboardInterrupt():
            return _Complaint(message="interrupted", status=INTERRUPTED, is_news=False)
        case BrokenPipeError() | SystemExit():  # Rich turns the one into the other
            _forget_stdout()
            return _Complaint()
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return _Complaint(message=_one_line(f"{where}{error.strerror or error}"))
        case _:
            what = _one_line(f"{type(error).__name__}: {error}")
            return _Complaint(message=f"this is a bug in Tidegate, please report it: {what}; {_advice()}")


def _forget_stdout() -> None:
    """``tidegate status | head`` is nobody's mistake; what is still in a buffer has nowhere to go."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException, command: str) -> str:
    message = error.format_message().rstrip(".").replace("Value error, ", "")  # pydantic's, through Typer
    return _one_line(f"{message[:1].lower()}{message[1:]} (see {command} --help)")


def _advice() -> str:
    if os.environ.get(TRACEBACK):
        return "the traceback is above"
    return f"set {TRACEBACK}=1 and try again to see where"


def _singles(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, however deep, each kind and text once."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    told = set()
    for member in error.exceptions:
        for single in _singles(member):
            if (key := (type(single), str(single))) not in told:
                told.add(key)
                yield single
