"""The order of samples, and what one of them counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import proc
from .figures import Quantity, Unit, Work
from .loads import Load, LoadError, Outcome
from .processes import Process, running
from .rounds import one_round, rotated, take
from .systems import Running

# Says when it has begun, and then works until it is stopped.
_BUSY = "import sys\nprint('on', flush=True)\nkept = bytearray(20_000_000)\nwhile True: sum(range(1000))"


def load(key: str, run: str = "") -> Load:
    def measure(now: Running, seconds: float) -> Outcome:
        if run == "fails":
            raise LoadError("on purpose")
        return Outcome(value=seconds, done=4)

    quantity = Quantity(key=key, title=key, unit=Unit.REQUESTS, work=Work.REQUESTS)
    return Load(family=key, quantity=quantity, run=measure)


def unexpected(key: str, system: str, error: Exception) -> None:
    raise AssertionError(key, system) from error


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Process]:
    with running("busy", [sys.executable, "-c", _BUSY], tmp_path) as process:
        while not process.last_words:
            process.check()
        yield process


def test_each_round_begins_with_another_system() -> None:
    assert [rotated("abc", by) for by in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_every_load_goes_through_all_systems_before_the_next_load() -> None:
    systems = dict.fromkeys("xy", Running(public={}, processes={}))

    samples = list(one_round([load("one"), load("two")], systems, number=1, seconds=2, failed=unexpected))

    assert [(sample.quantity.key, sample.system) for sample in samples] == [
        ("one", "y"),
        ("one", "x"),
        ("two", "y"),
        ("two", "x"),
    ]


def test_a_load_that_fails_costs_its_own_sample_and_no_other() -> None:
    failures: list[tuple[str, str, str]] = []

    samples = list(
        one_round(
            [load("one", "fails"), load("two")],
            {"x": Running(public={}, processes={})},
            number=0,
            seconds=2,
            failed=lambda key, system, error: failures.append((key, system, str(error))),
        )
    )

    assert [sample.quantity.key for sample in samples] == ["two"]
    assert failures == [("one", "x", "on purpose")]


def test_a_sample_counts_the_time_and_the_memory_of_the_systems_processes(busy: Process) -> None:
    def until_it_has_worked(now: Running, seconds: float) -> Outcome:
        before = proc.cpu_seconds(busy.pid)
        while proc.cpu_seconds(busy.pid) < before + 0.05:
            pass
        return Outcome(value=1, done=2)

    quantity = Quantity(key="work", title="work", unit=Unit.REQUESTS)
    now = Running(public={}, processes={"server": busy, "client": busy})

    sample = take(
        Load(family="work", quantity=quantity, run=until_it_has_worked), "x", now, number=0, seconds=1
    )

    assert sample.cpu >= 0.05
    assert {side: size > 20_000_000 for side, size in sample.peak.items()} == {
        "gateway": True,
        "client": True,
    }


def test_a_system_whose_process_has_ended_is_not_measured(tmp_path: Path) -> None:
    failures: list[str] = []
    with running("brief", [sys.executable, "-c", "raise SystemExit('out of luck')"], tmp_path) as process:
        process.wait()
        now = {"x": Running(public={}, processes={"server": process})}
        samples = list(
            one_round(
                [load("one")],
                now,
                number=0,
                seconds=1,
                failed=lambda key, system, error: failures.append(str(error)),
            )
        )

    assert samples == []
    assert failures == ["brief ended with status 1\n  out of luck"]
