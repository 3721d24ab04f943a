"""CPU time and memory, as the kernel of this machine tells them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from . import proc
from .processes import Process, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")

# A process that starts another one; both take some memory and then say that they have it.
_PARENT = """
import subprocess, sys
kept = b"x" * 30_000_000
child = "kept = b'x' * 30_000_000; print('both', flush=True); input()"
subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE).wait()
"""
_ROSE_AND_FELL = """
import threading
kept = b"x" * 80_000_000
del kept
print("on", flush=True)
threading.Event().wait()
"""


def said(process: Process) -> None:
    while not process.last_words:
        process.check()


def test_a_name_may_hold_spaces_and_parentheses() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    numbers = " ".join(["0"] * 9 + ["100", "20", "3", "4"])

    parent, seconds = proc.parse_stat(f"42 (a) (odd name) S 7 {numbers} 0 0\n")

    assert parent == 7
    assert seconds == pytest.approx(127 / ticks)


def test_sizes_become_bytes_and_the_rest_is_left_out() -> None:
    sizes = proc.parse_status("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n")

    assert sizes == {"VmHWM": 2_097_152, "VmRSS": 1_048_576}


def test_time_that_is_spent_is_counted() -> None:
    before = proc.cpu_seconds(os.getpid())
    while proc.cpu_seconds(os.getpid()) == before:
        sum(range(1000))

    assert 0 < proc.cpu_seconds(os.getpid()) - before < 10


def test_what_a_process_started_is_counted_with_it(tmp_path: Path) -> None:
    with running("parent", [sys.executable, "-c", _PARENT], tmp_path) as process:
        said(process)

        assert proc.resident(process.pid) > 60_000_000
        assert proc.peak(process.pid) >= proc.resident(process.pid)


def test_a_peak_that_is_forgotten_begins_anew_where_the_process_is(tmp_path: Path) -> None:
    with running("peak", [sys.executable, "-c", _ROSE_AND_FELL], tmp_path) as process:
        said(process)
        highest = proc.peak(process.pid)
        proc.forget_peak(process.pid)

        assert highest > 80_000_000
        assert proc.peak(process.pid) < 80_000_000


def test_a_process_that_has_ended_has_nothing() -> None:
    assert (proc.cpu_seconds(1 << 30), proc.resident(1 << 30)) == (0, 0)


def test_a_page_that_is_shared_counts_in_parts() -> None:
    assert 0 < proc.proportional(os.getpid()) <= proc.resident(os.getpid())
