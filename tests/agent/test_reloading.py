"""A reload reports on a turn that began after it was asked for."""

from __future__ import annotations

import anyio
import pytest

from agent.reloading import reload_and_report
from reconcile.loop import ReconcilerStoppedError
from schemas.errors import Problem
from schemas.reload_report import ReloadReport
from tests.reconcile.loops import BLOG, HOPELESS, MAIL, PROBLEM, TAKEN, WEB_PORT, Loop, running
from tests.reconcile.samples import gateway_state

pytestmark = pytest.mark.anyio

WRITTEN = Problem(place=None, message="somebody is still writing it")


async def no_trouble() -> tuple[str, ...]:
    return ()


async def test_keys_that_will_not_do_are_not_in_force() -> None:
    async def garbage() -> tuple[str, ...]:
        return ("it holds no certificate",)

    async with running(Loop(gateway_state(BLOG))) as loop:
        report = await reload_and_report(loop.reconciler, garbage)

    assert (report.accepted, report.in_force, report.observed_generation) == (True, False, 1)
    assert [(one.resource, one.message) for one in report.failed] == [("keys", "it holds no certificate")]


async def test_keys_that_nobody_could_look_at_in_time_are_not_in_force() -> None:
    async def hang() -> tuple[str, ...]:
        await anyio.sleep_forever()
        raise AssertionError

    async with running(Loop(gateway_state(BLOG))) as loop:
        report = await reload_and_report(loop.reconciler, hang, patience=0.0)

    assert (report.accepted, report.in_force) == (True, False)
    assert [one.resource for one in report.failed] == ["keys"]


async def test_what_was_changed_before_is_in_force_when_it_ends() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.put(gateway_state(BLOG, MAIL))
        report = await reload_and_report(loop.reconciler, no_trouble)

    assert (report.generation, report.observed_generation, report.digest) == (2, 2, "digest 2")
    assert (report.accepted, report.in_force, report.problems, report.failed) == (True, True, (), ())


async def test_a_refused_file_is_told_and_what_was_in_force_before_is() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.spoil()
        report = await reload_and_report(loop.reconciler, no_trouble)

    assert (report.accepted, report.in_force, report.generation) == (False, True, 1)
    assert [problem.text for problem in report.problems] == [str(PROBLEM)]


async def test_what_failed_is_named_and_tried_again_by_the_next_one() -> None:
    loop = Loop(gateway_state(BLOG))
    loop.actuator.break_key(WEB_PORT, HOPELESS)
    async with running(loop):
        await loop.reconciler.wait_turn(1)
        failed = await reload_and_report(loop.reconciler, no_trouble)
        loop.actuator.mend_all()
        mended = await reload_and_report(loop.reconciler, no_trouble)

    assert (failed.accepted, failed.in_force) == (True, False)
    assert [(one.resource, one.message) for one in failed.failed] == [("listener 0.0.0.0:443", str(TAKEN))]
    assert mended.in_force


async def test_who_is_just_writing_the_file_is_waited_for() -> None:
    reports: list[ReloadReport] = []
    loop = Loop(gateway_state(BLOG))

    async def ask() -> None:
        reports.append(await reload_and_report(loop.reconciler, no_trouble, patience=3600.0))

    async with running(loop), anyio.create_task_group() as tasks:
        await loop.reconciler.wait_turn(1)
        loop.source.unsettled = WRITTEN
        tasks.start_soon(ask)
        await loop.reconciler.wait_turn(2)
        await anyio.wait_all_tasks_blocked()
        assert reports == []
        loop.source.put(gateway_state(BLOG, MAIL))
        loop.source.unsettled = None
        loop.reconciler.ring()

    (report,) = reports
    assert (report.generation, report.accepted, report.in_force, report.problems) == (2, True, True, ())


async def test_who_does_not_finish_is_told_and_what_was_in_force_before_is() -> None:
    async with running(Loop(gateway_state(BLOG))) as loop:
        await loop.reconciler.wait_turn(1)
        loop.source.unsettled = WRITTEN
        report = await reload_and_report(loop.reconciler, no_trouble, patience=0.0)

    assert (report.accepted, report.in_force, report.generation) == (False, True, 1)
    assert [problem.text for problem in report.problems] == [str(WRITTEN)]


async def test_whoever_asks_an_agent_that_stops_is_told() -> None:
    loop = Loop(gateway_state(BLOG))
    async with running(loop):
        await loop.reconciler.wait_turn(1)
    with anyio.fail_after(10), pytest.raises(ReconcilerStoppedError):
        await reload_and_report(loop.reconciler, no_trouble)
