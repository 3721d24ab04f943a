"""A crowd under the benchmark: a hundred clients here, all of which must be back."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import reconnect

pytestmark = pytest.mark.anyio

CLIENTS = 100


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


async def test_all_clients_are_back_after_a_restart_and_none_was_refused_for_load(tmp_path: Path) -> None:
    outcome = await reconnect.measure(tmp_path, CLIENTS)

    assert len(outcome.times) == CLIENTS
    assert outcome.trouble == ()
    # Chance has it when each comes: not all in one moment, whatever the machine does.
    assert len({round(time, 2) for time in outcome.times}) > CLIENTS // 10
    assert outcome.memory_after > outcome.memory_alone
    assert str(outcome).startswith(f"{CLIENTS} clients are back ")
