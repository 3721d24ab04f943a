"""Writers that are killed in the middle: ``kill -9`` between any two things they do to the disk."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

# What changes a disk, or makes a change last. A process that dies inside one of them has done it or not.
CHANGES: Final = ("open", "fsync", "fchmod", "fchown", "replace", "rename", "unlink", "mkdir", "rmdir")
MOST: Final = 500  # of such calls in one write: a guard against a writer that never ends


def deaths(
    directory: Path, prepare: Callable[[Path], None], write: Callable[[Path], None]
) -> Iterator[tuple[int, Path]]:
    """A prepared directory for every moment at which the writer can die, after it did.

    Both functions are called in other processes, so they must be known by name. The last directory is one
    in which the writer came to its end.
    """
    # Only a process without threads may fork, and that is a new one.
    process = multiprocessing.get_context("spawn").Process(
        target=_kill_often, args=(directory, prepare, write)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    for step in itertools.count(1):
        place = directory / str(step)
        if not place.exists():
            return
        yield step, place


def dying_program(step: int, trigger: Path, *arguments: str) -> list[str]:
    """The command line of ``tidegate`` with these arguments, killed before its so manyth change.

    :param trigger: while there is no such file, changes are not counted.
    """
    program = (
        "import pathlib\nfrom tests.support.dying import die_at\nfrom agent.cli import main\n"
        f"die_at({step}, pathlib.Path({str(trigger)!r}).exists)\nmain({list(arguments)!r})"
    )
    return [sys.executable, "-c", program]


def die_at(step: int, counts: Callable[[], bool] = lambda: True) -> None:
    """From now on, let this process be killed before its so manyth change.

    :param counts: says whether changes are counted.
    """
    made = itertools.count(1)

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            is_change = call is not opening or bool(arguments[1] & os.O_CREAT)
            if is_change and counts() and next(made) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return instead

    opening = os.open
    for name in CHANGES:
        setattr(os, name, dying(getattr(os, name)))


def _kill_often(directory: Path, prepare: Callable[[Path], None], write: Callable[[Path], None]) -> None:
    for step in range(1, MOST):
        place = directory / str(step)
        place.mkdir()
        prepare(place)
        child = os.fork()
        if child == 0:
            die_at(step)
            write(place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))
    sys.exit(f"it has not come to its end after {MOST} changes")
