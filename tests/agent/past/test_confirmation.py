"""Changes that have to be confirmed: the stages, the clocks, and what is told of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.past import confirmation as confirmation_module
from agent.past.confirmation import Confirmation, NotArmedError, NotPendingError
from agent.past.undoing import note_path, read_pending
from reconcile.journal import NOTE
from reconcile.placing import place
from reconcile.reading import StateText
from reconcile.together import Change, replace_together
from schemas.confirmation import ConfirmationRequest, ConfirmedFile, Stage
from tests.support.journal import Journal

pytestmark = pytest.mark.anyio

START = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)
OLD, NEW = b"old\n", b"new\n"


class WallClock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(OLD)
    return path


def content(state: Path) -> bytes:
    return state.read_bytes()


def is_noted(state: Path) -> bool:
    return note_path(state).exists()


def damage(path: Path) -> None:
    path.write_bytes(b"?")


def request(within: float = 60.0, before: bytes = OLD) -> ConfirmationRequest:
    before_digest, after_digest = (hashlib.sha256(data).hexdigest() for data in (before, NEW))
    file = ConfirmedFile(name="gateway.yaml", before=before_digest, after=after_digest)
    return ConfirmationRequest(within=within, files=(file,))


class Agent:
    """What an agent does with a confirmation."""

    def __init__(self, state: Path, clock: WallClock) -> None:
        self.confirmation = Confirmation(state, clock=clock)
        self.excused: list[Sequence[StateText]] = []
        self.rung = anyio.Event()


@asynccontextmanager
async def running(state: Path, clock: WallClock) -> AsyncIterator[Agent]:
    agent = Agent(state, clock)
    await agent.confirmation.begin()
    async with anyio.create_task_group() as tasks:
        run = partial(agent.confirmation.run, excuse=agent.excused.append, ring=lambda: agent.rung.set())
        tasks.start_soon(run)
        yield agent
        tasks.cancel_scope.cancel()


async def test_what_is_confirmed_stays(state: Path, clock: WallClock, journal: Journal) -> None:
    async with running(state, clock) as agent:
        pending = await agent.confirmation.arm(request())
        place(state, NEW)
        assert (pending.stage, pending.deadline) == (Stage.PENDING, START + timedelta(seconds=60))
        assert agent.confirmation.warnings == (
            "gateway.yaml must be confirmed by 2026-05-17 12:01:00 UTC, or the old state comes back: "
            "keep the new one with tidegate confirm",
        )

        confirmed = await agent.confirmation.confirm()
        assert (confirmed.stage, list(agent.confirmation.warnings)) == (Stage.CONFIRMED, [])
    assert (content(state), is_noted(state)) == (NEW, False)
    assert journal.find("confirmation_pending")
    assert journal.find("change_confirmed", files=["gateway.yaml"])


async def test_what_nobody_confirms_is_undone_and_told(
    state: Path, clock: WallClock, journal: Journal
) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request(within=1.0))
        place(state, NEW)
        await agent.rung.wait()

        assert content(state) == OLD
        assert [[text.data for text in texts] for texts in agent.excused] == [[OLD]]
        assert agent.confirmation.report().stage is Stage.RESTORED
        assert agent.confirmation.warnings == (
            "the change of gateway.yaml was undone, for nobody confirmed it in time: the old state is back "
            "since 2026-05-17 12:00:00 UTC",
        )
        with pytest.raises(NotPendingError, match="nobody confirmed it in time: the old state is back"):
            await agent.confirmation.confirm()
    assert journal.find("change_undone")


async def test_what_somebody_changed_since_stays_and_that_is_told(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request(within=1.0))
        place(state, b"somebody's\n")
        await agent.rung.wait()

        assert content(state) == b"somebody's\n"
        assert agent.confirmation.report().stage is Stage.LEFT
        (warning,) = agent.confirmation.warnings
        assert "was not undone, for somebody has changed the files since: they stay as they are" in warning


async def test_it_need_not_be_waited_for(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        place(state, NEW)

        assert (await agent.confirmation.undo()).stage is Stage.RESTORED
        assert agent.confirmation.warnings == ()  # whoever asked for it knows
        assert content(state) == OLD
        with pytest.raises(NotPendingError):
            await agent.confirmation.undo()


async def test_a_second_change_is_refused_while_one_is_pending(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        with pytest.raises(NotArmedError, match=r"another change is to be confirmed by .* tidegate rollback"):
            await agent.confirmation.arm(request())

        place(state, NEW)
        await agent.confirmation.confirm()
        assert (await agent.confirmation.arm(request(before=NEW))).stage is Stage.PENDING


async def test_what_is_not_in_place_cannot_be_confirmed(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        with pytest.raises(NotPendingError, match="is not in place, so it cannot be confirmed"):
            await agent.confirmation.confirm()

        assert agent.confirmation.report().stage is Stage.PENDING
        place(state, NEW)
        assert (await agent.confirmation.confirm()).stage is Stage.CONFIRMED


async def test_what_another_process_has_undone_cannot_be_confirmed(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        place(state, NEW)
        ahead = WallClock()
        ahead.now += timedelta(hours=1)
        await Confirmation(state, clock=ahead).begin()

        with pytest.raises(NotPendingError, match="another process has ended it: look which files are there"):
            await agent.confirmation.confirm()
        assert agent.confirmation.report().stage is Stage.LEFT
    assert content(state) == OLD


async def test_nothing_is_pending_at_first(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        assert agent.confirmation.report().stage is Stage.NONE
        with pytest.raises(NotPendingError, match="no change is waiting to be confirmed"):
            await agent.confirmation.confirm()


async def test_a_change_that_could_not_be_undone_is_not_taken_on(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        with pytest.raises(
            NotArmedError, match=r"the agent could not put the old files back: .* has just been"
        ):
            await agent.confirmation.arm(request(before=b"another\n"))

        assert agent.confirmation.report().stage is Stage.NONE


async def test_at_a_start_after_the_deadline_the_old_file_is_back_before_anything_is_read(
    state: Path, clock: WallClock
) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        place(state, NEW)
    clock.now += timedelta(seconds=61)

    next_one = Confirmation(state, clock=clock)
    await next_one.begin()
    assert content(state) == OLD
    assert next_one.report().stage is Stage.RESTORED
    assert not is_noted(state)


@pytest.mark.parametrize(("passed", "left"), [(20, 40.0), (-100_000, 60.0)], ids=["forward", "backward"])
async def test_at_a_start_before_it_the_rest_is_counted_and_never_more(
    state: Path, clock: WallClock, passed: int, left: float
) -> None:
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        place(state, NEW)
    clock.now += timedelta(seconds=passed)

    async with running(state, clock) as agent:
        report = agent.confirmation.report()
        assert report.stage is Stage.PENDING
        assert report.seconds_left is not None
        assert left - 30 < report.seconds_left <= left
        assert (await agent.confirmation.confirm()).stage is Stage.CONFIRMED
    assert content(state) == NEW


async def test_a_disk_that_does_not_take_the_old_file_is_told_and_tried_again(
    state: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(confirmation_module, "_RETRY", 0.01)
    async with running(state, clock) as agent:
        await agent.confirmation.arm(request())
        place(state, NEW)
        with monkeypatch.context() as patched:
            patched.setattr(confirmation_module, "put_back", full)
            assert (await agent.confirmation.undo()).stage is Stage.RESTORING
            (warning,) = agent.confirmation.warnings
            assert "and cannot be: [Errno 28] No space left on device" in warning
        while agent.confirmation.report().stage is Stage.RESTORING:
            await agent.rung.wait()
            agent.rung = anyio.Event()
    assert content(state) == OLD


async def test_a_caller_who_goes_away_leaves_disk_and_memory_agreed(state: Path, clock: WallClock) -> None:
    async with running(state, clock) as agent:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await agent.confirmation.arm(request())
        assert (agent.confirmation.report().stage, read_pending(state) is None) in (
            (Stage.PENDING, False),
            (Stage.NONE, True),
        )


async def test_a_note_that_is_damaged_keeps_no_agent_from_starting(
    state: Path, clock: WallClock, journal: Journal
) -> None:
    damage(note_path(state))
    async with running(state, clock) as agent:
        assert agent.confirmation.report().stage is Stage.NONE
    assert journal.find("confirmation_unreadable")


@pytest.mark.parametrize("note", [".tidegate.confirmation", NOTE])
@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"format_version": 1, "files": [{"name": "a\\u0000"}]}'])
async def test_no_note_whatever_it_says_keeps_an_agent_from_starting(
    tmp_path: Path, clock: WallClock, journal: Journal, note: str, data: bytes
) -> None:
    (tmp_path / "a.yaml").write_bytes(OLD)
    (tmp_path / note).write_bytes(data)

    await Confirmation(tmp_path, clock=clock).begin()
    assert journal.find("replacing_not_finished" if note == NOTE else "confirmation_unreadable")


async def test_a_half_done_change_that_nobody_confirmed_in_time_is_never_done(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_bytes(OLD)
    before, after = hashlib.sha256(OLD).hexdigest(), hashlib.sha256(NEW).hexdigest()
    files = (
        ConfirmedFile(name="a.yaml", before=before, after=None),
        ConfirmedFile(name="b.yaml", before=None, after=after),
    )
    await Confirmation(tmp_path, clock=clock).arm(ConfirmationRequest(within=60.0, files=files))
    replace_half(tmp_path, monkeypatch)
    (tmp_path / "b.yaml").write_bytes(b"mended\n")
    clock.now += timedelta(seconds=61)

    next_one = Confirmation(tmp_path, clock=clock)
    await next_one.begin()
    assert next_one.report().stage is Stage.LEFT
    assert contents(tmp_path) == {"a.yaml": OLD, "b.yaml": b"mended\n"}


async def test_files_that_a_process_has_half_replaced_are_all_replaced_at_the_next_start(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_half(tmp_path, monkeypatch)
    assert sorted(names(tmp_path)) == [NOTE, "a.yaml", "b.yaml"]

    await Confirmation(tmp_path, clock=clock).begin()
    assert names(tmp_path) == ["b.yaml"]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def names(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def replace_half(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a.yaml by b.yaml, and die before a.yaml goes."""

    def die(path: Path) -> None:
        raise InterruptedError

    (directory / "a.yaml").write_bytes(OLD)
    changes = [Change(name="a.yaml", before=OLD, after=None), Change(name="b.yaml", before=None, after=NEW)]
    with monkeypatch.context() as patched:
        patched.setattr("reconcile.together.remove", die)
        with pytest.raises(InterruptedError):
            replace_together(directory, changes)


class Steps:
    """Everything that can happen to a change, in any order; time is up only where that is said."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "gateway.yaml"
        self.state.write_bytes(OLD)
        self.clock = WallClock()

    async def take(self, steps: list[str]) -> None:
        confirmation = await self.start()
        for step in steps:
            before = confirmation.report().stage
            match step:
                case "arm" if before not in (Stage.PENDING, Stage.RESTORING):
                    self.state.write_bytes(OLD)
                    await confirmation.arm(request())
                case "place" if before is Stage.PENDING:
                    place(self.state, NEW)
                case "confirm" if before is Stage.PENDING and content(self.state) == NEW:
                    await confirmation.confirm()
                case "restart":
                    confirmation = await self.start()
                    assert (confirmation.report().stage is Stage.PENDING) == (before is Stage.PENDING)
                case "late restart":
                    self.clock.now += timedelta(seconds=60)
                    confirmation = await self.start()
                    if before is Stage.PENDING:
                        assert (confirmation.report().stage, content(self.state)) == (Stage.RESTORED, OLD)
                case _:
                    continue
            assert (confirmation.report().stage is Stage.PENDING) == is_noted(self.state)

    async def start(self) -> Confirmation:
        confirmation = Confirmation(self.state, clock=self.clock)
        await confirmation.begin()
        return confirmation


STEPS = st.lists(st.sampled_from(["arm", "place", "confirm", "restart", "late restart"]), max_size=8)


@given(steps=STEPS)
def test_whatever_happens_in_whichever_order_the_note_is_there_exactly_while_it_is_pending(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    anyio.run(Steps(tmp_path_factory.mktemp("steps")).take, steps)
