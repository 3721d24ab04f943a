"""A status as JSON: in pieces, and the same."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from agent.status_json import PIECE, status_json
from schemas.status import AgentStatus
from tests.support import statuses

pytestmark = pytest.mark.anyio


def many() -> AgentStatus:
    return statuses.gateway(*(statuses.tunnel(f"tunnel-{number}") for number in range(5 * PIECE + 1)))


@pytest.mark.parametrize("status", [statuses.three(), statuses.gateway(), statuses.client(), many()])
async def test_the_pieces_together_are_what_pydantic_writes(status: AgentStatus) -> None:
    assert (await status_json(status)).decode() == status.model_dump_json()


async def test_others_come_in_between() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        await status_json(many())
        tasks.cancel_scope.cancel()

    assert turns > 4
