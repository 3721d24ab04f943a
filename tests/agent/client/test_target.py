"""A target leads to whoever listens there, whatever kind of socket it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.client.target import dial_target
from schemas.names import parse_target
from tests.support.peers import free_listen, service, unix_service
from tests.transport.world import RecordingOwner

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_target_is_reached(kind: str, tmp_path: Path) -> None:
    owner = RecordingOwner()
    with service() if kind == "tcp" else unix_service(tmp_path / "web.sock") as web:
        relay = await dial_target(parse_target(web.target), owner)
        caller = await web.accept()
        relay.refuse(b"hello")

        assert await caller.receive_exactly(5) == b"hello"
        relay.abort()
        await owner.until_all_ended()


async def test_where_nobody_listens_nothing_is_reached(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        await dial_target(parse_target(str(free_listen())), RecordingOwner())
    with pytest.raises(FileNotFoundError):
        await dial_target(parse_target(f"unix:{tmp_path}/none.sock"), RecordingOwner())
