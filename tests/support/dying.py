"""Writers that are killed in the middle: ``kill -9`` between any two things they do to the disk."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
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
    for step in itertools.count(1):
        place = directory / str(step)
        place.mkdir()
        prepare(place)
        ended = killed_at(step, write, place)
        yield step, place
        if ended:
            return
        assert step < MOST


def killed_at(step: int, function: Callable[..., None], *arguments: Any) -> bool:
    """Run the function in a process that is killed before its so manyth change; whether it ended before."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(step, function, arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def die_at(step: int) -> None:
    """From now on, let this process be killed before its so manyth change."""
    made = itertools.count(1)

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            if next(made) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return instead

    for name in CHANGES:
        setattr(os, name, dying(getattr(os, name)))


def _run(step: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    die_at(step)
    function(*arguments)
