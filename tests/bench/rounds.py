"""The order in which samples are taken.

Rule: interleaved. Every load goes through all systems before the next load, and every round through all loads
before the next round, so that whatever else the machine does for a while falls on all systems alike. Each
round begins with another system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from . import proc
from .figures import Sample
from .iperf import IperfError
from .loads import Load, LoadError
from .processes import StartError
from .systems import Running, cpu_seconds
from .wrk import WrkError

FAILURES = (IperfError, LoadError, StartError, WrkError, OSError)

T = TypeVar("T")
Failed = Callable[[str, str, Exception], None]  # quantity, system, what happened


def rotated(items: Sequence[T], by: int) -> list[T]:
    """The same items, begun with another one."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def one_round(
    loads: Sequence[Load], systems: Mapping[str, Running], *, number: int, seconds: float, failed: Failed
) -> Iterator[Sample]:
    """A sample of every load and system, but those that failed."""
    for load in loads:
        for name in rotated(tuple(systems), number):
            try:
                yield take(load, name, systems[name], number=number, seconds=seconds)
            except FAILURES as error:
                failed(load.quantity.key, name, error)


def take(load: Load, name: str, now: Running, *, number: int, seconds: float) -> Sample:
    """Run one load once, and count what the system's processes used meanwhile."""
    for process in now.processes.values():
        process.check()
        proc.forget_peak(process.pid)
    before = cpu_seconds(now)
    outcome = load.run(now, seconds)
    return Sample(
        quantity=load.quantity,
        system=name,
        number=number,
        value=outcome.value,
        done=outcome.done,
        cpu=cpu_seconds(now) - before,
        peak={
            side: sum(proc.peak(process.pid) for process in processes)
            for side, processes in now.sides.items()
        },
        details=outcome.details,
        remarks=outcome.remarks,
    )
