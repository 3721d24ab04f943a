"""An agent runs, drains and stops, and never goes back."""

from __future__ import annotations

import anyio
import pytest

from agent.process.lifetime import Lifetime
from schemas.status import Life

pytestmark = pytest.mark.anyio


def test_an_agent_runs_until_it_drains_and_then_stops() -> None:
    lifetime = Lifetime()
    assert (lifetime.life, lifetime.is_running) == (Life.RUNNING, True)

    lifetime.drain()
    assert (lifetime.life, lifetime.is_running) == (Life.DRAINING, False)

    lifetime.stop()
    assert (lifetime.life, lifetime.is_running) == (Life.STOPPED, False)


def test_an_agent_that_has_stopped_does_not_drain() -> None:
    lifetime = Lifetime()
    lifetime.stop()
    lifetime.drain()

    assert lifetime.life is Life.STOPPED


def test_asking_an_agent_to_stop_changes_nothing_by_itself() -> None:
    lifetime = Lifetime()
    lifetime.ask_to_stop()

    assert lifetime.is_running


async def test_whoever_asks_first_is_heard_by_whoever_waits_later() -> None:
    lifetime = Lifetime()
    lifetime.ask_to_stop()
    lifetime.ask_to_stop()

    with anyio.fail_after(5):
        await lifetime.wait_asked()
