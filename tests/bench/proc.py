"""What the kernel says of a running process: its CPU time and its memory, from /proc.

Rule: a process is counted together with everything it started. Linux only, see proc(5).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_FORGET_PEAK: Final = "5"  # written to clear_refs, sets VmHWM to what is resident now


def parse_stat(text: str) -> tuple[int, float]:
    """The parent, and the CPU seconds of a process and of its children that have ended.

    The name in parentheses may hold spaces and parentheses, so fields are counted from the last one.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def parse_status(text: str) -> dict[str, int]:
    """The sizes in /proc/PID/status, in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1:] == ["kB"]}


def cpu_seconds(process: int) -> float:
    """User and kernel time so far."""
    return sum(seconds for _, seconds in _family(process).values())


def resident(process: int) -> int:
    """Bytes resident now."""
    return _size(process, "VmRSS")


def peak(process: int) -> int:
    """The most bytes resident since :func:`forget_peak`."""
    return _size(process, "VmHWM")


def proportional(process: int) -> int:
    """Bytes resident now, where a page that several processes share counts once, a part for each of them."""
    total = 0
    for member in _family(process):
        with suppress(OSError):  # it has just ended
            total += parse_status((_PROC / str(member) / "smaps_rollup").read_text()).get("Pss", 0)
    return total


def forget_peak(process: int) -> None:
    for member in _family(process):
        with suppress(OSError):  # an older kernel counts from the start of the process then
            (_PROC / str(member) / "clear_refs").write_text(_FORGET_PEAK)


def _size(process: int, key: str) -> int:
    total = 0
    for member in _family(process):
        with suppress(OSError):  # it has just ended
            total += parse_status((_PROC / str(member) / "status").read_text()).get(key, 0)
    return total


def _family(process: int) -> dict[int, tuple[int, float]]:
    """A process and all that descend from it: number -> what :func:`parse_stat` found."""
    found: dict[int, tuple[int, float]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                found[int(entry.name)] = parse_stat((entry / "stat").read_text())
    family = {process} & found.keys()
    while grown := {one for one, (parent, _) in found.items() if parent in family} - family:
        family |= grown
    return {one: found[one] for one in family}
