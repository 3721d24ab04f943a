"""Waiting for what tells nobody when it happens."""

from __future__ import annotations

import anyio
import pytest

from agent.process.looking import until

pytestmark = pytest.mark.anyio


async def test_what_is_so_already_is_not_waited_for() -> None:
    with anyio.move_on_after(0) as scope:
        await until(lambda: True)
    assert not scope.cancelled_caught


async def test_it_is_looked_at_until_it_is_so() -> None:
    looks: list[int] = []

    def is_so() -> bool:
        looks.append(len(looks))
        return len(looks) == 3

    with anyio.fail_after(5):
        await until(is_so)

    assert looks == [0, 1, 2]
