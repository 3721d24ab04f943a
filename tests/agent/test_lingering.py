"""Half-closed connections are dropped when they stand still, and only then."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.lingering import _LOOKS, Lingering


class Connection:
    """Counts what happens to it."""

    def __init__(self, lingering: Lingering) -> None:
        self.progress = 0
        self.aborted = 0
        self._lingering = lingering

    def abort(self) -> None:
        self.aborted += 1
        self._lingering.discard(self)  # as the owner of a relay does when it has ended


def make(limit: float = 300.0) -> tuple[Lingering, Connection]:
    lingering = Lingering(limit)
    connection = Connection(lingering)
    lingering.add(connection)
    return lingering, connection


def look(lingering: Lingering, times: int) -> None:
    for _ in range(times):
        lingering.look()


def test_what_stands_still_for_the_limit_is_dropped_once() -> None:
    lingering, connection = make()

    # Added between two looks: the first look may come a moment later and proves nothing.
    look(lingering, 1 + _LOOKS)
    assert connection.aborted == 1

    look(lingering, 2 * _LOOKS)
    assert connection.aborted == 1


def test_nothing_is_dropped_before_the_limit() -> None:
    lingering, connection = make()

    look(lingering, _LOOKS)

    assert connection.aborted == 0


def test_what_moves_is_given_the_whole_limit_again() -> None:
    lingering, connection = make()
    look(lingering, _LOOKS)
    connection.progress += 1
    lingering.look()  # sees that it has moved

    look(lingering, _LOOKS - 1)
    assert connection.aborted == 0

    lingering.look()
    assert connection.aborted == 1


@given(st.lists(st.booleans(), max_size=40))
def test_a_connection_lives_as_long_as_it_moves_within_every_limit(moves: list[bool]) -> None:
    lingering, connection = make()
    still = -1
    for moved in moves:
        connection.progress += moved
        still = 0 if moved else still + 1
        lingering.look()
        if still == _LOOKS:
            break

    assert connection.aborted == (still == _LOOKS)


def test_what_has_ended_by_itself_is_forgotten() -> None:
    lingering, connection = make()
    lingering.discard(connection)

    look(lingering, 2 * _LOOKS)

    assert connection.aborted == 0


def test_forgetting_what_was_never_half_closed_is_harmless() -> None:
    lingering = Lingering(300.0)

    lingering.discard(Connection(lingering))


def test_dropping_one_connection_may_end_another_that_was_to_be_dropped_too() -> None:
    lingering = Lingering(300.0)
    first, second = Connection(lingering), Connection(lingering)
    lingering.add(first)
    lingering.add(second)
    first.abort()

    look(lingering, 2 * _LOOKS)

    assert (first.aborted, second.aborted) == (1, 1)


@pytest.mark.anyio
async def test_it_looks_by_itself() -> None:
    lingering, connection = make(limit=0.01)
    dropped = anyio.Event()
    connection.abort = dropped.set  # type: ignore[method-assign] # the test waits for just this call

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lingering.run)
            await dropped.wait()
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_behind_the_end_of_a_session_it_looks_until_there_is_nothing_left() -> None:
    lingering, connection = make(limit=0.01)

    with anyio.fail_after(20):
        await lingering.run_out()

    assert connection.aborted == 1


@pytest.mark.anyio
async def test_a_shorter_limit_holds_at_once() -> None:
    """Nobody waits for the look that the longer one had set."""
    lingering, connection = make(limit=3600.0)
    dropped = anyio.Event()
    connection.abort = dropped.set  # type: ignore[method-assign] # the test waits for just this call

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lingering.run)
            await anyio.lowlevel.checkpoint()
            lingering.set_limit(0.01)
            await dropped.wait()
            tasks.cancel_scope.cancel()
