"""Fixtures for the agent room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.journal import Journal, journal_kept
from tests.support.peers import program_sockets, until


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The log of the test."""
    with journal_kept() as kept:
        yield kept


@pytest.fixture
async def nothing_left_open() -> AsyncIterator[None]:
    """After the test, every socket that the program opened in it is closed."""
    before = program_sockets()
    yield
    await until(lambda: program_sockets() <= before)
