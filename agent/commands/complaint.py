"""What a person reads when a command fails.

Rule: one line on stderr that begins ``tidegate: error:`` and says what to do next,
after the problems of a state file, each on a line that an editor can jump to. No
traceback, unless the environment asks for one.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import typer

from schemas.errors import StateError, TidegateError

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130  # as agent.signals has it

TRACEBACK: Final = "TIDEGATE_TRACEBACK"


def complain(error: BaseException) -> int:
    """Say on stderr what went wrong.

    :returns: the exit status that goes with it.
    """
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    code = FAILED
    for single in _singles(error):
        lines, code = _explained(single)
        for line in lines:
            print(line, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # told above, and to be told once more by Python at the end
        _forget_stdout()
    return code


def error_line(message: str) -> str:
    """The line for a message, which may begin like a sentence or not end like one."""
    return f"tidegate: error: {' '.join(message.split())}"


def _explained(error: BaseException) -> tuple[list[str], int]:
    match error:
        case StateError(problems=problems, advice=advice):
            found = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            last = error_line(f"the state has {found} and is not used: {advice}")
            return [*map(str, problems), last], FAILED
        case TidegateError():
            return [error_line(str(error))], FAILED
        case typer.TyperException(exit_code=code):
            return [error_line(_usage(error))], code
        case KeyboardInterrupt():
            return [], INTERRUPTED
        case BrokenPipeError() | SystemExit():  # Rich turns the one into the other
            _forget_stdout()
            return [], FAILED
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return [error_line(f"{where}{error.strerror or error}")], FAILED
        case _:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            return [error_line(f"this is a bug in Tidegate, please report it: {what}; {_advice()}")], FAILED


def _forget_stdout() -> None:
    """``tidegate status | head`` is nobody's mistake; what is still in a buffer has nowhere to go."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException) -> str:
    message = error.format_message().rstrip(".").replace("Value error, ", "")  # pydantic's, through Typer
    command = getattr(getattr(error, "ctx", None), "command_path", "tidegate")
    return f"{message[:1].lower()}{message[1:]} (see {command} --help)"


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
